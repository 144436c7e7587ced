"""A receiver of our outgoing notifications, for the demo and for tests."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self

from standardwebhooks import Webhook, WebhookVerificationError

from onboarding.simulator.server import Response, Server

if TYPE_CHECKING:
    from onboarding.simulator.server import Request


@dataclass(frozen=True)
class Received:
    """One delivery, also one that was answered with an error."""

    id: str  # webhook-id: the same at every try
    body: dict[str, Any] = field(repr=False)  # empty where it was no JSON object
    raw: bytes = field(repr=False)
    headers: dict[str, str] = field(repr=False)  # names in lower case
    verified: bool  # signed with the sink's secret, per Standard Webhooks
    at: datetime
    at_monotonic: float
    status: int  # what it was answered with


class Sink:
    """Takes what is posted to `url` and answers 204, or as `answers` says."""

    def __init__(self, secret: str) -> None:
        self._verifier = Webhook(secret)
        self._arrived = threading.Condition()
        self._received: list[Received] = []
        self._scripted: list[tuple[str | None, int]] = []  # the type that it is for, the status
        self._server = Server(self._take)

    def __enter__(self) -> Self:
        """Start."""
        return self.start()

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self.stop()

    def start(self) -> Self:
        """Listen on 127.0.0.1."""
        self._server.start()
        return self

    def stop(self) -> None:
        """Close the port and every connection."""
        self._server.stop()

    @property
    def url(self) -> str:
        """Where to post to."""
        return f"http://127.0.0.1:{self._server.port}/hook"

    def answers(self, status: int, times: int = 1, *, to: str | None = None) -> None:
        """Answer the next deliveries so, of this type or of any; they are received all the same."""
        with self._arrived:
            self._scripted.extend([(to, status)] * times)

    @property
    def received(self) -> list[Received]:
        """All, in order of arrival."""
        with self._arrived:
            return list(self._received)

    def unique(self) -> list[Received]:
        """The first of each webhook-id: what a receiver that drops doubles has."""
        firsts: dict[str, Received] = {}
        for one in self.received:
            firsts.setdefault(one.id, one)
        return list(firsts.values())

    def wait_for(self, n: int, timeout_s: float = 5.0) -> list[Received]:
        """All received, once there are `n`. Raises TimeoutError where they do not come."""
        with self._arrived:
            if not self._arrived.wait_for(lambda: len(self._received) >= n, timeout_s):
                raise TimeoutError(f"{len(self._received)} of {n} notifications in {timeout_s} s")
            return list(self._received)

    def _take(self, request: Request) -> Response:
        headers = dict(request.headers)
        with self._arrived:
            body = _json(request.body)
            status = self._status_for(body.get("type"))
            self._received.append(
                Received(
                    id=headers.get("webhook-id", ""),
                    body=body,
                    raw=request.body,
                    headers=headers,
                    verified=self._verifies(request.body, headers),
                    at=datetime.now(UTC),
                    at_monotonic=time.monotonic(),
                    status=status,
                )
            )
            self._arrived.notify_all()
        return Response(status)

    def _status_for(self, kind: object) -> int:
        entry = next((entry for entry in self._scripted if entry[0] in (None, kind)), None)
        if entry is None:
            return 204
        self._scripted.remove(entry)
        return entry[1]

    def _verifies(self, body: bytes, headers: dict[str, str]) -> bool:
        try:
            self._verifier.verify(body, headers)
        except (WebhookVerificationError, ValueError):  # the library lets ValueError out on odd headers
            return False
        return True


def _json(body: bytes) -> dict[str, Any]:
    try:
        parsed = json.loads(body)
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}
