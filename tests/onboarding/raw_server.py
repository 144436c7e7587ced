"""A server that says exactly the bytes a test gives it: HTTP, half of it, or none."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    import ssl


@dataclass(frozen=True)
class Asked:
    """A request as it came over the wire; header names in lower case."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    connection: int


Answer = Callable[[Asked], bytes | Iterable[bytes]]


def http(status: int, body: bytes = b"", **headers: str) -> bytes:
    """A well-formed last answer of a connection; `retry_after="1"` becomes the header retry-after."""
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in {"connection": "close", **headers}.items()]
    head = "\r\n".join([f"HTTP/1.1 {status} Said", f"content-length: {len(body)}", *lines])
    return head.encode("latin-1") + b"\r\n\r\n" + body


class RawServer:
    """Listens on 127.0.0.1. Answers each request with `answer`'s bytes; ends the connection unless `keep_alive`."""

    def __init__(self, answer: Answer, *, tls: ssl.SSLContext | None = None, keep_alive: bool = False) -> None:
        self.answer = answer
        self.asked: list[Asked] = []
        self._tls, self.keep_alive = tls, keep_alive
        self._connections = 0
        self._threads: list[threading.Thread] = []
        self._stopping = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(5)

    def _start(self, work: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=work, args=args, daemon=True)
        self._threads = [*(each for each in self._threads if each.is_alive()), thread]
        thread.start()

    def _accept(self) -> None:
        while not self._stopping.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._connections += 1
            self._start(self._serve, connection, self._connections)

    def _serve(self, connection: socket.socket, number: int) -> None:
        connection.settimeout(5)
        with contextlib.suppress(OSError), connection:
            if self._tls is None:
                self._speak(connection, number)
            else:
                with self._tls.wrap_socket(connection, server_side=True) as wrapped:
                    self._speak(wrapped, number)

    def _speak(self, connection: socket.socket, number: int) -> None:
        with connection.makefile("rb") as stream:
            while asked := _read(stream, number):
                self.asked.append(asked)
                answer = self.answer(asked)
                for piece in [answer] if isinstance(answer, bytes) else answer:
                    connection.sendall(piece)
                    if self._stopping.is_set():
                        return
                if not self.keep_alive:
                    return


def _read(stream, number: int) -> Asked | None:
    first = stream.readline().decode("latin-1").split()
    if not first:
        return None
    headers = {}
    while (line := stream.readline().decode("latin-1").strip()) != "":
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    return Asked(first[0], first[1], headers, stream.read(int(headers.get("content-length", "0"))), number)
