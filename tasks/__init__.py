"""The Celery shell around the onboarding domain: it carries messages and takes no decision."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from celery import Celery

    app: Celery


def __getattr__(name: str) -> Any:
    # `celery -A tasks` looks for `app` here; made on demand, so that the command line can do without Celery
    if name == "app":
        from tasks.application import app  # noqa: PLC0415

        return app
    raise AttributeError(name)
