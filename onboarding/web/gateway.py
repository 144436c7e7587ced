"""The gateway: HRIS webhooks in over HTTP, onto the queue, and an answer of 2xx once the broker has confirmed.

It holds nothing: what is not confirmed is refused, and its sender sends it again. Doubles do no harm: intake knows
them. No answer is made of the request's Host, nor of its path; none redirects.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from http import HTTPStatus
from typing import Final, Protocol

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from onboarding.events import MAX_BODY_BYTES, Message
from onboarding.signatures import Verdict, judge
from onboarding.web.requests import Refused, named_headers, read_body
from onboarding.webhook_sources import WebhookSource
from onboarding.webhooks_in import Nothing, TooMany, to_queue

BODY_S: Final = 10.0
"""From the end of a request's head to the end of its body."""
CONFIRM_S: Final = 5.0
"""How long a sender waits for the broker: Deel gives us 30 s. What is confirmed later comes again, as a double."""
MAX_IN_HAND: Final = 256
"""Requests being read or waiting for the broker: 64 MiB of bodies at most."""

log = structlog.get_logger(__name__)


class NotConfirmed(Exception):  # noqa: N818 - a state of the world, named as it is
    """The broker is away, or did not confirm: the message may be on its queue all the same."""


class Publisher(Protocol):
    """Puts messages on `hris.events`. It blocks nobody who calls it."""

    def publish(self, messages: Sequence[Message]) -> Future[None]:
        """Done once every message is confirmed and on a queue. The future raises NotConfirmed."""

    @property
    def ready(self) -> bool:
        """Whether the broker answers."""


class Gateway:
    """What answers `POST /webhooks/{source}`."""

    def __init__(
        self, sources: Sequence[WebhookSource], publisher: Publisher, clock: Callable[[], float] = time.time
    ) -> None:
        self._sources = {source.name: source for source in sources}
        self._publisher, self._clock = publisher, clock
        self._in_hand = 0

    def app(self, beside: Sequence[BaseRoute] = ()) -> Starlette:
        """The routes, and those of who lives beside it.

        Without redirects: those would be made of the Host that the request names.
        """
        routes = [
            *beside,
            Route("/webhooks/{source}", self._receive, methods=["POST"]),
            Route("/healthz", self._healthz, methods=["GET"]),
            Route("/readyz", self._readyz, methods=["GET"]),
        ]
        app = Starlette(routes=routes, exception_handlers={HTTPException: _refusal})
        app.router.redirect_slashes = False
        return app

    async def _receive(self, request: Request) -> Response:
        source = self._sources.get(request.path_params["source"])
        if source is None:
            raise Refused(HTTPStatus.NOT_FOUND, "unknown_source")
        structlog.contextvars.bind_contextvars(source=source.name)  # of this request's task alone
        if self._in_hand >= MAX_IN_HAND:
            raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, "busy")
        self._in_hand += 1
        try:
            return await self._take(source, request)
        except ClientDisconnect:
            return Response(status_code=HTTPStatus.BAD_REQUEST)  # nobody is there to hear it
        finally:
            self._in_hand -= 1

    async def _take(self, source: WebhookSource, request: Request) -> Response:
        named = named_headers(request)
        body = await read_body(request, named, MAX_BODY_BYTES, BODY_S)
        verdict = judge(source.scheme, body, named, source.keys, self._clock)
        if verdict is not Verdict.RIGHT:
            raise Refused(HTTPStatus.UNAUTHORIZED, f"signature_{verdict.name.lower()}")
        try:
            messages = to_queue(source, body, named)
        except TooMany:
            raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too_many") from None
        if isinstance(messages, Nothing):
            log.info("webhook_ignored", reason=messages.why)
            return JSONResponse({"status": "ignored", "reason": messages.why})
        await self._publish(messages)
        return JSONResponse({"status": "queued"})

    async def _publish(self, messages: Sequence[Message]) -> None:
        sent = asyncio.wrap_future(self._publisher.publish(messages))
        try:
            await asyncio.wait_for(sent, CONFIRM_S)
        except (NotConfirmed, TimeoutError):
            raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, "not_confirmed") from None

    async def _healthz(self, _request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def _readyz(self, _request: Request) -> Response:
        """Not by a refusal: who asks every second would fill the log."""
        if self._publisher.ready:
            return JSONResponse({"status": "ok"})
        return JSONResponse({"status": "broker_unavailable"}, HTTPStatus.SERVICE_UNAVAILABLE)


async def _refusal(_request: Request, error: Exception) -> Response:
    """One line in the log, with nothing of the request in it; an answer that says no more than its status."""
    assert isinstance(error, HTTPException)
    status = HTTPStatus(error.status_code)
    reason = getattr(error, "reason", status.name.lower())
    log.warning("webhook_refused", status=status.value, reason=reason)
    return JSONResponse({"error": status.phrase}, status, error.headers)
