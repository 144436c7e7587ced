"""What an app gets that acts as a worker: a client of httpx, sync or async, whose requests go our way.

The token is made into a header on the wire alone, so that nothing in the app's hands holds it.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Generator, Mapping
from typing import TYPE_CHECKING, Final, Protocol

import anyio.to_thread
import httpx

from onboarding.transport.http import ALWAYS, Http, Kind, NoReply, Reply

if TYPE_CHECKING:
    from onboarding.store.tokens import LiveToken

Client = httpx.Client
AsyncClient = httpx.AsyncClient
TransportError = httpx.TransportError

_TOKEN: Final = "worker_token"  # noqa: S105 - an extension's name
_OF_THE_WIRE: Final = ("host", "content-length", "transfer-encoding", "connection", "authorization", "cookie")
_AS_HTTPX: Final[Mapping[Kind, type[httpx.TransportError]]] = {
    "connect": httpx.ConnectError,
    "busy": httpx.PoolTimeout,
    "timeout": httpx.ReadTimeout,
    "cut": httpx.RemoteProtocolError,
    "too_large": httpx.RemoteProtocolError,
}


class Acting(Protocol):
    """What makes a client a worker's: its token, and the budget of its organisation. Threads share it."""

    url: str  # Deel's root
    headers: Mapping[str, str]  # that go with every request

    def token(self) -> LiveToken:
        """One that lives."""

    def after(self, refused: LiveToken) -> LiveToken:
        """After Deel's 401 to this one: the next one; or the same, where Deel says that it works."""

    def take(self) -> float:
        """Wait for a request of the budget; it is to be on its way by then (monotonic)."""

    def heed(self, reply: Reply) -> None:
        """What Deel answered, for the budget."""


def client_of(http: Http, acting: Acting) -> httpx.Client:
    """A client that acts as a worker, over connections that outlive it."""
    transport, auth = _ToDeel(http, acting), _WorkerAuth(acting)
    return httpx.Client(base_url=acting.url, transport=transport, auth=auth, headers=ALWAYS, trust_env=False)


def async_client_of(http: Http, acting: Acting) -> httpx.AsyncClient:
    """The same for asyncio or trio: what waits does so in a thread."""
    transport, auth = _ToDeelInThread(http, acting), _WorkerAuth(acting)
    return httpx.AsyncClient(base_url=acting.url, transport=transport, auth=auth, headers=ALWAYS, trust_env=False)


class _WorkerAuth(httpx.Auth):
    """Gives each request the worker's token; where Deel refuses that, which does nothing then, it is sent once more.

    Not as a header: that is made on the wire alone, so that nothing in the app's hands holds it, no exception either.
    """

    def __init__(self, acting: Acting) -> None:
        self._acting = acting

    def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        live = request.extensions[_TOKEN] = self._acting.token()
        answer = yield request
        if answer.status_code == httpx.codes.UNAUTHORIZED:
            request.extensions[_TOKEN] = self._acting.after(live)
            yield request

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        live = request.extensions[_TOKEN] = await anyio.to_thread.run_sync(self._acting.token)
        answer = yield request
        if answer.status_code == httpx.codes.UNAUTHORIZED:
            request.extensions[_TOKEN] = await anyio.to_thread.run_sync(self._acting.after, live)
            yield request


class _ToDeel(httpx.BaseTransport):
    """Each request takes its turn in the budget, and none leaves for another host. A body is read whole."""

    def __init__(self, http: Http, acting: Acting) -> None:
        self._http, self._acting, self._root = http, acting, httpx.URL(acting.url)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        live: LiveToken | None = request.extensions.get(_TOKEN)
        if live is None or (request.url.scheme, request.url.netloc) != (self._root.scheme, self._root.netloc):
            raise ValueError("a worker's token goes to Deel alone, and nothing goes there without one")
        request.read()
        outcome = self._send(request, live)
        if isinstance(outcome, Exception):
            raise outcome  # out here: it drags no frame along that holds the token, or what was sent
        self._acting.heed(outcome)
        if outcome.headers.get("content-encoding", "identity") != "identity":
            raise httpx.RemoteProtocolError("the answer is packed, which nobody asked for", request=request)
        return httpx.Response(outcome.status, headers=dict(outcome.headers), content=outcome.body)

    def _send(self, request: httpx.Request, live: LiveToken) -> Reply | Exception:
        sent_by = self._acting.take()  # before there is anything in this frame

        def before_sent() -> None:  # as in onboarding/deel/client.py
            if time.monotonic() > sent_by:
                self._acting.take()

        headers = {name: value for name, value in request.headers.items() if name not in _OF_THE_WIRE}
        headers |= {**self._acting.headers, "authorization": f"Bearer {live.token.get_secret_value()}"}
        url, body = str(request.url), request.content
        try:
            return self._http.send(request.method, url, headers=headers, content=body, before_sent=before_sent)
        except NoReply as none:
            return _AS_HTTPX[none.kind](str(none), request=request)
        except Exception as error:  # noqa: BLE001 - raised again, by who has called
            return error.with_traceback(None)


class _ToDeelInThread(httpx.AsyncBaseTransport):
    def __init__(self, http: Http, acting: Acting) -> None:
        self._inner = _ToDeel(http, acting)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        return await anyio.to_thread.run_sync(self._inner.handle_request, request)
