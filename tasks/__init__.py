"""The Celery shell around the onboarding domain: it carries messages and takes no decision."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from celery import Celery

    app: Celery


def __getattr__(name: str) -> Any:
    # `celery -A tasks` looks for `app` here; made on demand, so that the command line can do without Celery
    if name == "app":
        from tasks.application import app, settings  # noqa: PLC0415

        if settings.embedded:
            _no_process_alone(sys.argv[1:])
        return app
    raise AttributeError(name)


def _no_process_alone(words: list[str]) -> None:
    """A worker, beat or Flower on a broker in its own memory runs happily, and nothing ever reaches it."""
    started = [word for word in words if word in ("worker", "beat", "flower")]
    if started and "--help" not in words:
        sys.stderr.write(
            f"ONBOARDING_BROKER_URL: `celery {started[0]}` needs a broker that other processes reach too; for example"
            ' ONBOARDING_BROKER_URL="amqp://user:password@host:5672/vhost" (all in one process: `onboarding up`)\n'
        )
        sys.exit(2)
