"""Our own requests: clients, timeouts, and how a notification target is reached.

Nothing is taken from the environment but SSL_CERT_FILE and SSL_CERT_DIR: a proxy would resolve names
itself, past the check of a target, and a .netrc would put credentials of its own into our requests.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Final, Literal

import httpcore
import httpx

from onboarding.dialling import Dialler, resolve, within
from onboarding.targets import TargetRefused, refuse_address, refuse_form

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator, Mapping

ALWAYS: Final = {"user-agent": "deel-onboarding", "accept": "*/*", "accept-encoding": "identity"}
MAX_TARGET_BYTES: Final = 64 << 10
MAX_CONNECTIONS: Final = 100  # no process has more calls under way: 5 a second, 20 s each at most
KEEP_S: Final = 60.0  # an idle connection; a new one costs a second slot of the budget where it takes long

# Both log URLs or headers below WARNING, and a URL can hold an e-mail address or a target's secret path.
for _name in ("httpx", "httpcore"):
    logging.getLogger(_name).setLevel(logging.WARNING)


Kind = Literal["connect", "busy", "timeout", "cut", "too_large"]


@dataclass(frozen=True)
class Reply:
    """What came back. Header names are lower case; Location and Set-Cookie are never among them."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


class NoReply(Exception):  # noqa: N818 - a fact about the other side
    """No usable answer: what the other side did with the request is unknown, unless nothing was sent.

    `connect`, `busy` (no connection came free): nothing was sent. `timeout`, `cut`: the answer did not come,
    or not whole. `too_large`.
    """

    def __init__(self, kind: Kind, host: str, detail: str = "") -> None:
        super().__init__(kind, host, detail)
        self.kind = kind
        self.host = host
        self.detail = detail  # the system's or TLS's own words for a failed connect, which quote no request

    def __str__(self) -> str:
        return f"no reply from {self.host}: {self.kind}" + (f" ({self.detail})" if self.detail else "")


@dataclass(frozen=True)
class CheckedTarget:
    """A URL and the addresses that were checked for it: only these are connected to."""

    url: str = field(repr=False)  # the path of a chat's webhook is its secret
    host: str
    addresses: tuple[str, ...]


@cache
def _tls(_cert_file: str | None, _cert_dir: str | None) -> ssl.SSLContext:
    """One for all clients of a process that trust the same authorities: to read their list takes 40 ms."""
    return httpx.create_ssl_context()


class Http:
    """A pool of connections. One per process, made after a fork; threads may share it. All times in seconds.

    `send` and `post_once` raise NoReply, and ValueError for what is no HTTP request (its text quotes nothing).
    No redirect is followed, no cookie kept, no body decoded: a compressed bomb stays its own few bytes.
    """

    def __init__(
        self,
        *,
        connect_s: float = 5.0,  # for all addresses of the name together
        read_s: float = 15.0,
        total_s: float = 20.0,
        max_bytes: int = 1 << 20,
    ) -> None:
        self.total_s = total_s
        self._timeout = {"connect": connect_s, "read": read_s, "write": read_s, "pool": connect_s}
        self._max_bytes = max_bytes
        self._tls = _tls(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))
        self._pooled = _Wire(self._tls)

    def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        content: bytes | None = None,
        before_sent: Callable[[], None] | None = None,
    ) -> Reply:
        """One request over a pooled connection; an answer beyond `max_bytes` is no reply.

        `before_sent` is called once there is a connection, right before the request goes out; what it raises
        is raised here, and nothing is sent.
        """
        request = self._request(method, url, headers, content)
        if before_sent is not None:
            request.extensions["trace"] = _before_headers(before_sent)
        reply = self._exchange(self._pooled, request, self._max_bytes)
        if len(reply.body) > self._max_bytes:
            raise NoReply("too_large", request.url.host)
        return reply

    def post_once(self, target: CheckedTarget, *, headers: Mapping[str, str], content: bytes) -> Reply:
        """One POST over a connection of its own, so that no connection outlives the check of its address.

        The name stays in URL, Host header and TLS's server name; only the dialler knows the address.
        The body is cut off at 64 KiB: a receiver that took the message and says so at length has taken it.
        """
        request = self._request("POST", target.url, headers, content)
        with _Wire(self._tls, target.addresses) as wire:
            reply = self._exchange(wire, request, MAX_TARGET_BYTES)
        return Reply(reply.status, reply.headers, reply.body[:MAX_TARGET_BYTES])

    def close(self) -> None:
        """Close every connection."""
        self._pooled.close()

    def _request(self, method: str, url: str, headers: Mapping[str, str], content: bytes | None) -> httpx.Request:
        try:
            request = httpx.Request(
                method, url, headers={**ALWAYS, **headers}, content=content, extensions={"timeout": self._timeout}
            )
        except (UnicodeError, httpx.InvalidURL):
            request = None
        if request is None or request.url.scheme not in ("http", "https") or not request.url.host:
            raise _unsendable()
        return request

    def _exchange(self, wire: _Wire, request: httpx.Request, max_bytes: int) -> Reply:
        try:
            with within(self.total_s):
                answer = wire.handle_request(request)
                try:
                    body = _read(answer, max_bytes)
                finally:
                    answer.close()
                headers = {name.lower(): value for name, value in answer.headers.items()}
                return Reply(answer.status_code, headers, body)
        except httpcore.LocalProtocolError:
            failure: Exception = _unsendable()
        except _FAILURES as error:
            failure = _no_reply(error, request.url.host)
        raise failure  # out here, so that it drags along no context, nor frames that hold the request


def check_target(url: str, *, allow_private: bool) -> CheckedTarget:
    """Resolve a notification target once and judge every address of it.

    Raises TargetRefused, and NoReply (`connect`) where the name does not resolve.
    """
    try:
        parsed = httpx.URL(url)
        host = parsed.raw_host.decode("ascii")
    except (httpx.InvalidURL, UnicodeError):
        parsed = None
    if parsed is None:
        raise TargetRefused("it is no URL")
    port = parsed.port or (80 if parsed.scheme == "http" else 443)
    refuse_form(parsed.scheme, host, port, has_user=bool(parsed.userinfo), allow_private=allow_private)
    try:
        addresses = resolve(host, port)
    except _FAILURES as error:
        failure = _no_reply(error, host)
    else:
        for address in addresses:
            refuse_address(host, address, allow_private=allow_private)
        return CheckedTarget(url, host, addresses)
    raise failure


def post_to_target(http: Http, url: str, *, headers: Mapping[str, str], content: bytes, allow_private: bool) -> Reply:
    """Check a notification target and POST to it, both within one call's total time.

    Raises TargetRefused or NoReply. Any status is a Reply: redirects are not followed.
    """
    with within(http.total_s):
        target = check_target(url, allow_private=allow_private)
        return http.post_once(target, headers=headers, content=content)


class _Wire(httpx.BaseTransport):
    """httpcore's pool: httpx's own transport does not let the dialler be chosen.

    There is no client above it: what one adds are cookies, redirects and log-ins, all of which we do without.
    """

    def __init__(self, tls: ssl.SSLContext, addresses: tuple[str, ...] | None = None) -> None:
        self._pool = httpcore.ConnectionPool(
            ssl_context=tls,
            max_connections=MAX_CONNECTIONS,
            keepalive_expiry=KEEP_S,
            network_backend=Dialler(addresses),
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        answer = self._pool.handle_request(
            httpcore.Request(
                request.method,
                httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
                headers=request.headers.raw,
                content=request.stream,
                extensions=request.extensions,
            )
        )
        # A worker's cookie must not travel with the organisation's token, and httpx parses every Location.
        kept = [(k, v) for k, v in answer.headers if k.lower() not in (b"set-cookie", b"location")]
        return httpx.Response(answer.status, headers=kept, stream=_Body(answer))

    def close(self) -> None:
        self._pool.close()


class _Body(httpx.SyncByteStream):
    def __init__(self, answer: httpcore.Response) -> None:
        self._answer = answer

    def __iter__(self) -> Iterator[bytes]:
        return self._answer.iter_stream()

    def close(self) -> None:
        """End the connection where something came behind the answer: it would be taken for the next one's."""
        if _has_more(self._answer):
            self._answer.extensions["network_stream"].close()
        self._answer.close()


def _has_more(answer: httpcore.Response) -> bool:
    """Whether bytes came in that are no part of the answer. httpcore keeps them, and tells nobody in public."""
    try:
        unread: bytes = answer.stream._stream._connection._h11_state.trailing_data[0]  # type: ignore[union-attr]  # noqa: SLF001
    except AttributeError:  # another httpcore: a connection that cannot be looked into serves one call
        return True
    return bool(unread)


def _before_headers(act: Callable[[], None]) -> Callable[[str, object], None]:
    """As httpcore's `trace` extension, which names each thing that it begins."""

    def trace(name: str, _info: object) -> None:
        if name == "http11.send_request_headers.started":
            act()

    return trace


def _unsendable() -> ValueError:
    return ValueError("the URL or a header is nothing that HTTP can carry")


def _read(answer: httpx.Response, max_bytes: int) -> bytes:
    """The body as it came; more than `max_bytes` long where there is more of it than that."""
    body = bytearray()
    for chunk in answer.iter_raw():
        body += chunk
        if len(body) > max_bytes:
            break
    return bytes(body)


_FAILURES: Final = (
    TimeoutError,
    httpcore.TimeoutException,
    httpcore.NetworkError,
    httpcore.ProtocolError,
)


def _no_reply(error: Exception, host: str) -> NoReply:
    match error:
        case httpcore.PoolTimeout():
            return NoReply("busy", host)
        case httpcore.ConnectError() | httpcore.ConnectTimeout():
            cause = error.args[0] if error.args else None  # httpcore drops __cause__ on the way
            detail = getattr(cause, "verify_message", None) or getattr(cause, "strerror", None) or ""
            return NoReply("connect", host, detail)
        case TimeoutError() | httpcore.TimeoutException():
            return NoReply("timeout", host)
        case _:
            return NoReply("cut", host)
