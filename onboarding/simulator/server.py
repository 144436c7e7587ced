"""The plumbing below simulator and sink: HTTP/1.1 on a free port of 127.0.0.1, quick to answer and to stop."""

from __future__ import annotations

import http.server
import socket
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Self, cast
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

JSON_TYPE = "application/json; charset=utf-8"
POLL_S = 0.005
"""How often the listener asks whether to stop: hundreds of tests stop one each."""
JOIN_S = 0.2
"""How long a stop waits, in all, for threads whose connections it has just closed."""


@dataclass(frozen=True)
class Request:
    """One request as it came in. Header names are lower case."""

    method: str
    target: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    arrived: float  # time.monotonic() when its first line had been read

    @cached_property
    def path(self) -> str:
        """As it was sent, without the query."""
        return urlsplit(self.target).path

    @cached_property
    def query(self) -> dict[str, list[str]]:
        """Each name with its values, in their order."""
        return parse_qs(urlsplit(self.target).query, keep_blank_values=True)


@dataclass(frozen=True)
class Response:
    """What goes back; written in one piece."""

    status: int
    body: bytes = field(default=b"", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    content_type: str = JSON_TYPE

    def on_the_wire(self) -> bytes:
        lines = [f"HTTP/1.1 {self.status} {_phrase(self.status)}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        if self.status != HTTPStatus.NO_CONTENT:
            lines += [f"Content-Type: {self.content_type}", f"Content-Length: {len(self.body)}"]
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + self.body


class Server:
    """Serves `answer` from daemon threads, one per connection. An answer of None cuts the connection."""

    def __init__(self, answer: Callable[[Request], Response | None]) -> None:
        self._answer = answer
        self._listener: _Listener | None = None
        self.port = 0  # known once started, and kept for the next start
        self.stopping = threading.Event()

    def start(self) -> Self:
        """Listen and serve. After a stop: on the same port as before."""
        if self._listener is None:
            self.stopping.clear()
            self._listener = _Listener(self.port, self._answer)
            self.port = self._listener.server_address[1]
            threading.Thread(target=self._listener.serve_forever, args=(POLL_S,), daemon=True).start()
        return self

    def stop(self) -> None:
        """Close everything, kept-alive connections too. Harmless when stopped already."""
        if self._listener is not None:
            self.stopping.set()
            self._listener.close_all()
            self._listener = None


class _Listener(http.server.ThreadingHTTPServer):
    request_queue_size = 256
    block_on_close = False  # close_all waits, and not for ever

    def __init__(self, port: int, answer: Callable[[Request], Response | None]) -> None:
        self.answer = answer
        self._open: dict[socket.socket, threading.Thread] = {}
        self._open_lock = threading.Lock()
        super().__init__(("127.0.0.1", port), _Connection)

    def server_bind(self) -> None:
        """As the parent's, without its reverse look-up of the host's name, which can take seconds."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Start the connection's thread, and remember both for the stop."""
        thread = threading.Thread(target=self.process_request_thread, args=(request, client_address), daemon=True)
        with self._open_lock:
            self._open[request] = thread
        thread.start()

    def shutdown_request(self, request: Any) -> None:
        """Called by the connection's own thread, last of all."""
        super().shutdown_request(request)
        with self._open_lock:
            self._open.pop(request, None)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no error of ours; anything else is shown."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)

    def close_all(self) -> None:
        self.shutdown()
        self.server_close()
        with self._open_lock:
            still_open = dict(self._open)
        for connection in still_open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        deadline = time.monotonic() + JOIN_S
        for thread in still_open.values():
            thread.join(max(0.0, deadline - time.monotonic()))


class _Connection(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # kept alive
    disable_nagle_algorithm = True

    def parse_request(self) -> bool:
        """Take the time of arrival before anything else."""
        self._arrived = time.monotonic()
        return super().parse_request()

    def _serve(self) -> None:
        if "Transfer-Encoding" in self.headers:  # its end could not be found, nor the next request
            self._write(Response(HTTPStatus.LENGTH_REQUIRED, headers={"Connection": "close"}))
            self.close_connection = True
            return
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        if len(body) < length:  # the client died on the way: nobody asked for anything
            self.close_connection = True
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.command, self.path, headers, body, self._arrived)
        response = cast("_Listener", self.server).answer(request)
        if response is None:
            self.close_connection = True
        else:
            self._write(response)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815 - http.server's names

    def _write(self, response: Response) -> None:
        self.wfile.write(response.on_the_wire())

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's name
        """Say nothing: the ledger and `received` are the log."""


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"
