"""The command `onboarding`: the domain's command line with Celery behind it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from onboarding.cli.main import cli

if TYPE_CHECKING:
    from socket import socket

    from onboarding.runs import Step
    from onboarding.settings import Settings


class CeleryShell:
    """Imports Celery when a command needs it, and not before."""

    def __init__(self) -> None:
        self._serving = False  # then the embedded broker is in this very process

    def nudge(self, run_id: str, contract_id: str, step: Step) -> bool:
        """Send a run's chain; False with the embedded broker, which no other process can reach."""
        if _settings().embedded:
            return False
        from tasks.publish import nudge  # noqa: PLC0415

        return nudge(run_id, contract_id, step)

    def publish_event(self, body: bytes, headers: Mapping[str, str], routing_key: str) -> None:
        """Put an HRIS message on the queue; with the embedded broker take it in right here."""
        settings = _settings()
        if settings.embedded and not self._serving:
            from onboarding.events import Message  # noqa: PLC0415
            from tasks.serve import intake_of  # noqa: PLC0415

            # no message can be sent from here: the reconciler of `onboarding up` looks at the new run at once
            intake_of(settings, lease_s=0).accept(Message(body, dict(headers), routing_key, "application/json"))
            return
        from tasks.publish import publish_event  # noqa: PLC0415

        with _broker_errors():
            publish_event(body, headers, routing_key)

    def declare(self) -> None:
        """Declare exchanges and queues; nothing to declare in memory."""
        settings = _settings()
        if settings.embedded:
            return
        from tasks.connect import declare  # noqa: PLC0415

        with _broker_errors():
            declare(settings)

    def serve_intake(self) -> None:
        """The intake process."""
        from tasks.serve import serve_intake  # noqa: PLC0415

        with _broker_errors():
            serve_intake(_settings())

    def serve_gateway(self, listener: socket, parts: Collection[str]) -> None:
        """The gateway."""
        from tasks.serve import serve_gateway  # noqa: PLC0415

        with _broker_errors():
            serve_gateway(_settings(), listener, parts)

    def serve_all(self, beside: Callable[[], None] | None = None) -> None:
        """All in one."""
        from tasks.serve import serve_all  # noqa: PLC0415

        self._serving = True
        with _broker_errors():
            serve_all(_settings(), beside)


@contextmanager
def _broker_errors() -> Iterator[None]:
    """What the layers below raise, as the command line tells it."""
    from onboarding.cli.refusal import Refusal  # noqa: PLC0415
    from onboarding.cli.shell import BrokerUnavailable  # noqa: PLC0415
    from onboarding.schema import UPGRADE, SchemaMissing  # noqa: PLC0415
    from tasks.connect import BROKER_ERRORS, BrokerRefuses, reason_of, refusal_in  # noqa: PLC0415

    try:
        yield
    except SchemaMissing as missing:
        raise Refusal("it was not started", str(missing), then=(UPGRADE,)) from None
    except BrokerRefuses as no:
        refusal = no
    except BROKER_ERRORS as error:
        found = refusal_in(error)
        if found is None:
            raise BrokerUnavailable(reason_of(error)) from None
        refusal = found
    else:
        return
    raise Refusal("the broker refuses", refusal.told, f"What to do: {refusal.hint}.", then=("onboarding doctor",))


def _settings() -> Settings:
    from onboarding.settings import load  # noqa: PLC0415

    return load()


def main() -> None:
    """The entry point."""
    cli(obj=CeleryShell())
