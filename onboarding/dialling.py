"""Opening and reading connections so that a call ends by its deadline, whatever the other side does.

httpx and httpcore bound each read, not the call: a server that drips a byte a second, of headers or of body,
holds its caller for ever. Here each operation gets what is left of the call at most.
"""

from __future__ import annotations

import errno
import math
import queue
import socket
import threading
import time
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import zip_longest
from typing import TYPE_CHECKING, Final

import httpcore

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable, Iterator

RESOLVE_S: Final = 5.0
LEAST_S: Final = 0.05  # for an address, where those before it took longer than their share

_deadline: ContextVar[float] = ContextVar("deadline", default=math.inf)  # of the call, on the monotonic clock


@contextmanager
def within(total_s: float) -> Iterator[None]:
    """What happens inside ends `total_s` seconds after its outermost beginning."""
    token = _deadline.set(min(_deadline.get(), time.monotonic() + total_s))
    try:
        yield
    finally:
        _deadline.reset(token)


def time_left() -> float:
    """Seconds until what happens now has to end; infinite where nothing bounds it."""
    return _deadline.get() - time.monotonic()


def _left(limit_s: float | None) -> float:
    """Seconds that one operation may take. Raises TimeoutError once the call's time is up."""
    left = time_left()
    if left <= 0:
        raise TimeoutError
    return min(left, threading.TIMEOUT_MAX if limit_s is None else limit_s)


def resolve(host: str, port: int) -> tuple[str, ...]:
    """Every address of a name, in the system's order. Raises httpcore's ConnectError and ConnectTimeout.

    In a thread, as the system's resolver takes no timeout; one that is late is left to end by itself.
    """
    answer: queue.SimpleQueue[tuple[str, ...] | Exception] = queue.SimpleQueue()

    def ask() -> None:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            answer.put(tuple(dict.fromkeys(str(entry[4][0]) for entry in found)))
        except (OSError, UnicodeError) as error:
            answer.put(error)

    try:
        threading.Thread(target=ask, daemon=True, name="resolve").start()
    except RuntimeError:  # this process may have no more of them
        raise httpcore.ConnectError(OSError(errno.EAGAIN, "no thread for a look-up")) from None
    try:
        addresses = answer.get(timeout=_left(RESOLVE_S))
    except (queue.Empty, TimeoutError):
        raise httpcore.ConnectTimeout from None
    if isinstance(addresses, Exception):
        raise httpcore.ConnectError(addresses)
    return addresses


class Dialler(httpcore.NetworkBackend):
    """Opens connections: to the given addresses and no others, or, without any given, to those of the name."""

    def __init__(self, addresses: tuple[str, ...] | None) -> None:
        self._addresses = addresses
        self._sockets = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """One address after the other: each gets its share of what is left, so that a dead one costs no more."""
        failure: Exception = httpcore.ConnectError()
        addresses = _alternating(resolve(host, port) if self._addresses is None else self._addresses)
        try:
            ends_at = time.monotonic() + _left(timeout)
            for place, address in enumerate(addresses):
                share = _left(max((ends_at - time.monotonic()) / (len(addresses) - place), LEAST_S))
                try:
                    return _Stream(self._sockets.connect_tcp(address, port, share, local_address, socket_options))
                except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                    failure = error
        except TimeoutError:
            raise httpcore.ConnectTimeout from None
        raise failure


def _alternating(addresses: tuple[str, ...]) -> tuple[str, ...]:
    """IPv6 and IPv4 in turns, the system's first one first: where one of the two leads nowhere, all of it does."""
    families: dict[bool, list[str]] = {}
    for address in addresses:
        families.setdefault(":" in address, []).append(address)
    turns = zip_longest(*families.values())
    return tuple(address for turn in turns for address in turn if address is not None)


class _Stream(httpcore.NetworkStream):
    """A connection whose every operation ends by the deadline of the call that it serves."""

    def __init__(self, inner: httpcore.NetworkStream) -> None:
        self._inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, _left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, _left(timeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        try:
            timeout = _left(timeout)
        except TimeoutError:
            self.close()
            raise httpcore.ConnectTimeout from None
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> object:
        return self._inner.get_extra_info(info)
