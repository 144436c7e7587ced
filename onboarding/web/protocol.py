"""uvicorn's protocol with bounds on what comes before an application sees a request, and serving until a signal.

httptools bounds neither the size of a request's head nor the time that it takes to come, nor does uvicorn.
"""

from __future__ import annotations

import signal
import socket
from asyncio import BaseTransport, TimerHandle
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final

import structlog
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES: Final = 32 * 1024
MAX_FIELDS: Final = 100
HEAD_S: Final = 10.0
"""From a connection's first byte, or its opening, to the end of the request's head."""
LINGER_S: Final = 2.0
"""Who is refused while still sending gets the answer only if the connection is not closed at once."""
MAX_CONNECTIONS: Final = 800
RETRY_AFTER_S: Final = 5
KEEP_ALIVE_S: Final = 75
"""Longer than load balancers keep a connection (60 s): else they would post into one that is just being closed."""
GRACE_S: Final = 20
"""For what is in flight when the process is told to stop; what is not answered then is sent again."""
BACKLOG: Final = 1024

log = structlog.get_logger(__name__)


class _Excessive(Exception):  # noqa: N818 - says what the head is
    """More header fields, or longer ones, than anybody needs."""


class LimitedProtocol(HttpToolsProtocol):
    """Each refusal is one line in the log; nothing of the request is in it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._deadline: TimerHandle | None = None
        self._refused = False
        self._whole = True  # no request, or all of it, has come
        self._count_anew()

    def connection_made(self, transport: BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]
        if len(self.connections) > MAX_CONNECTIONS:
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, "too_many_connections")
            return
        self._within(HEAD_S, self._head_is_late)

    def connection_lost(self, exc: Exception | None) -> None:
        self._in_time()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused or self.transport.is_closing():
            return
        if self._in_head and self._deadline is None:
            self._within(HEAD_S, self._head_is_late)
        self._mixed = False
        super().data_received(data)
        if not self._mixed:
            self._kept_bytes += len(data)
            if self._kept_bytes > MAX_HEAD_BYTES:
                self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "head_too_large")

    def on_message_begin(self) -> None:
        self._count_anew()
        self._whole = False
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._count(url)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Of the head, or behind a body in chunks."""
        self._mixed = True
        self._fields += 1
        self._count(name, value)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_time()
        self._in_head = False
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._mixed = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._in_time()
        self._count_anew()
        self._whole = True

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self._whole and not self.transport.is_closing():
            self._within(LINGER_S, self.transport.close)

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's
        """The parser gave up: by itself, or because a field was one too many."""
        if self._excessive:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "head_too_large")
        else:
            self._refuse(HTTPStatus.BAD_REQUEST, "no_http")

    def _count_anew(self) -> None:
        """A head begins. `_mixed`: something came of a piece of data, so that not all of it is kept by the parser."""
        self._in_head = self._mixed = True
        self._kept_bytes = self._fields = self._field_bytes = 0

    def _count(self, *parts: bytes) -> None:
        self._field_bytes += sum(map(len, parts))
        if self._excessive:
            raise _Excessive

    @property
    def _excessive(self) -> bool:
        return self._fields > MAX_FIELDS or self._field_bytes > MAX_HEAD_BYTES

    def _head_is_late(self) -> None:
        self._deadline = None
        if self._whole and self._kept_bytes == 0:
            self.transport.close()  # it asked for nothing
        else:
            self._refuse(HTTPStatus.REQUEST_TIMEOUT, "head_too_slow")

    def _refuse(self, status: HTTPStatus, reason: str) -> None:
        """Once; what comes after it on this connection is not looked at."""
        if self._refused or self.transport.is_closing():
            return
        self._in_time()
        self._refused = True
        log.warning("request_refused", status=status.value, reason=reason)
        if self.cycle is not None and not self.cycle.response_complete and not self.cycle.more_body:
            self.cycle.keep_alive = False  # the whole request before this one is answered, and then it ends
            return
        if self.cycle is not None and self.cycle.response_complete and not (self._whole or self._in_head):
            self.transport.close()  # this request has its answer
            return
        again = f"retry-after: {RETRY_AFTER_S}\r\n" if status is HTTPStatus.SERVICE_UNAVAILABLE else ""
        head = f"HTTP/1.1 {status.value} {status.phrase}\r\n{again}content-length: 0\r\nconnection: close\r\n\r\n"
        self.transport.write(head.encode())
        self.transport.close()

    def _within(self, seconds: float, otherwise: Callable[[], None]) -> None:
        self._in_time()
        self._deadline = self.loop.call_later(seconds, otherwise)

    def _in_time(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def listen(host: str, port: int) -> socket.socket:
    """Raises OSError where nobody may listen there."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=BACKLOG)


def serve(app: ASGIApp, listener: socket.socket) -> None:
    """Serve until SIGTERM or Ctrl-C; then accept nothing more, answer what is in flight, and return."""
    server = server_for(app)

    def stop(*_: object) -> None:  # uvicorn raises its signals again at its end; until it has begun they come here
        server.should_exit = True

    before = {each: signal.signal(each, stop) for each in (signal.SIGTERM, signal.SIGINT)}
    try:
        server.run(sockets=[listener])
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def server_for(app: ASGIApp) -> uvicorn.Server:
    """uvicorn, as it is to be: it logs errors alone, and believes no header about who asks."""
    config = uvicorn.Config(
        app,
        http=LimitedProtocol,
        loop="auto",  # uvloop, where it is installed
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="error",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=GRACE_S,
    )
    return uvicorn.Server(config)
