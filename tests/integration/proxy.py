"""A TCP proxy that a test cuts, silences or slows: the server behind it is away, for who speaks through it."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import Self
from urllib.parse import urlsplit


class Proxy:
    """Listens on a loopback port of its own and passes bytes on, unless it is down."""

    def __init__(self, host: str, port: int, *, down: bool = False) -> None:
        self._target = (host, port)
        self._down = down
        self._passing = threading.Event()
        self._passing.set()
        self.delay_s = 0.0  # of each piece, either way
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._closed = False
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._closed = True
        self._passing.set()
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        self._thread.join(2)
        self._listener.close()
        self.cut()

    def cut(self) -> None:
        """Every connection breaks, and no new one gets through."""
        self._down = True
        pairs, self._pairs = self._pairs, []
        for pair in pairs:
            for end in pair:
                _close(end)

    def hold(self) -> None:
        """Connections are taken and stay open, and no byte comes through, either way."""
        self._passing.clear()

    def lose(self) -> None:
        """A host is gone: its connections stay silent for good, and new ones, to the next host, pass."""
        self._passing.clear()
        self._passing = threading.Event()
        self._passing.set()

    def restore(self) -> None:
        """The server is back."""
        self._down = False
        self._passing.set()

    def _accept(self) -> None:
        while not self._closed:
            near, _ = self._listener.accept()
            if self._down or self._closed:
                _close(near)
                continue
            try:
                far = socket.create_connection(self._target, timeout=5)
            except OSError:  # the server behind it is really away
                _close(near)
                continue
            far.settimeout(None)
            self._pairs.append((near, far))
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=_pump, args=(source, sink, self, self._passing), daemon=True).start()


def _pump(source: socket.socket, sink: socket.socket, proxy: Proxy, passing: threading.Event) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            passing.wait()
            time.sleep(proxy.delay_s)
            sink.sendall(data)
    passing.wait()
    _close(source)
    _close(sink)


def _close(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()


def proxied(url: str, proxy: Proxy) -> str:
    """The same server, through the proxy."""
    parts = urlsplit(url)
    user, at, _ = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{user}{at}127.0.0.1:{proxy.port}").geturl()


def proxy_to(url: str, *, down: bool = False) -> Proxy:
    """One before the server that a URL names."""
    parts = urlsplit(url)
    return Proxy(parts.hostname or "127.0.0.1", parts.port or 0, down=down)
