"""What the command line needs of the world of messages. The Celery shell gives it; the domain knows no Celery."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from socket import socket

    from onboarding.runs import Step


class BrokerUnavailable(Exception):  # noqa: N818 - a state of the world, named as it is
    """The broker cannot be reached, or did not confirm: nothing was published."""


class Shell(Protocol):
    """Publishing and serving. Every method may raise SettingsError; none needs a broker when made."""

    def nudge(self, run_id: str, contract_id: str, step: Step) -> bool:
        """Send a run's chain. False: nothing was sent (no broker to reach from here); the reconciler will."""

    def publish_event(self, body: bytes, headers: Mapping[str, str], routing_key: str) -> None:
        """Put an HRIS message on `hris.events`, confirmed. Raises BrokerUnavailable."""

    def declare(self) -> None:
        """Declare every exchange and queue. Raises BrokerUnavailable."""

    def serve_intake(self) -> None:
        """Take events off the queue until SIGTERM or Ctrl-C."""

    def serve_gateway(self, listener: socket, parts: Collection[str]) -> None:
        """Serve `webhooks`, `tokens` or both on a socket that listens, until SIGTERM or Ctrl-C."""

    def serve_all(self, beside: Callable[[], None] | None = None) -> None:
        """Worker, intake and upkeep in this process, until SIGTERM or Ctrl-C, or until `beside` returns.

        `beside` runs in a thread of its own, once everything is ready; what it raises is raised here.
        """
