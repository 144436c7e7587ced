"""The token service: worker tokens over HTTP, and a proxy that makes a call as the worker, for apps with a service key.

    POST /v1/workers/{contract_id}/token        a key with the scope `token`
    ANY  /v1/workers/{contract_id}/deel/...     any key

Who comes without a right key learns nothing. A contract of another organisation than the key's does not exist. What
waits for the store or for Deel does so in a thread; the webhooks that the same process takes in are not held up.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from http import HTTPStatus
from typing import Annotated, Any, Final, TypeVar

import structlog
from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints, ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route

from onboarding.access import Access
from onboarding.deel.wire import is_safe_id
from onboarding.service_keys import Scope
from onboarding.shapes import mask_shapes
from onboarding.web.allowed import MAX_UPLOAD, NotAllowed, WrongMethod, allowed
from onboarding.web.holders import Holder, Keys
from onboarding.web.proxy import Asked, forward, headers_for_deel
from onboarding.web.requests import Refused, named_headers, read_body, refuse_bad_host
from onboarding.web.troubles import TROUBLES, refusal_of

BODY_S: Final = 10.0
UPLOAD_S: Final = 60.0
MAX_ASK: Final = 4 << 10
MAX_IN_HAND: Final = 32
"""Requests with a right key at once: each may hold a body of 8 MiB, or an answer, and a thread."""
MAX_OF_ONE: Final = 8
"""Of one key, so that one app that waits for its organisation's budget does not take all places."""
MAX_ANSWER: Final = 8 << 20
OVER_HTTP: Final = "over HTTP"
"""For the audit, where the app gives no reason: the key's name says who it was."""
_METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")
_PRIVATE: Final = {"cache-control": "no-store", "x-content-type-options": "nosniff"}

T = TypeVar("T")
log = structlog.get_logger(__name__)


def _impersonal(text: str) -> str:
    if mask_shapes(text) != text:
        raise ValueError("no address, token or key: it lies in the audit")
    return text


class Ask(BaseModel):
    """The body of a request for a token."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)
    because: Annotated[
        str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500), AfterValidator(_impersonal)
    ] = OVER_HTTP


class _OfAnother(Refused):
    """A contract of another organisation: to who asks, it does not exist."""

    def __init__(self) -> None:
        super().__init__(HTTPStatus.NOT_FOUND, "contract_of_another_organisation")

    @property
    def told(self) -> str:
        """As of one that nobody knows."""
        return "unknown_contract"


class TokenService:
    """By an Access whose answers are no longer than MAX_ANSWER."""

    def __init__(self, access: Access) -> None:
        self._access, self._keys = access, Keys(access.store)
        self._threads = CapacityLimiter(MAX_IN_HAND)
        self._in_hand: Counter[str] = Counter()

    def routes(self) -> list[BaseRoute]:
        """To be included by the app that is served. They log and answer their own refusals."""
        within = Starlette(
            routes=[
                Route("/workers/{contract_id}/token", self._token, methods=["POST"]),
                Route("/workers/{contract_id}/deel/{path:path}", self._deel, methods=list(_METHODS)),
            ],
            exception_handlers={HTTPException: _refusal},
        )
        within.router.redirect_slashes = False
        return [Mount("/v1", app=within)]

    async def _token(self, request: Request) -> Response:
        refuse_bad_host(request)
        headers = named_headers(request)
        async with self._place(await self._keys.holder(headers, Scope.TOKEN)) as holder:
            body = await read_body(request, headers, MAX_ASK, BODY_S)
            answer = await self._in_thread(partial(self._hand_out, holder, _contract(request), _because(body)))
            return JSONResponse(answer, headers=_PRIVATE)

    async def _deel(self, request: Request) -> Response:
        refuse_bad_host(request)
        headers = named_headers(request)
        async with self._place(await self._keys.holder(headers, Scope.PROXY)) as holder:
            path = _plain_path(request)
            row = await self._in_thread(partial(self._run, holder, _contract(request)))
            own = {"contract_id": row.contract_id, "worker_id": row.hris_profile_id or ""}
            try:
                call = allowed(request.method, path, own)
            except WrongMethod as wrong:
                right = ", ".join(sorted(wrong.right))
                raise Refused(HTTPStatus.METHOD_NOT_ALLOWED, "method_not_allowed", {"allow": right}) from None
            except NotAllowed:
                raise Refused(HTTPStatus.FORBIDDEN, "path_not_allowed") from None
            passing = headers_for_deel(headers, holder.id, row.contract_id)
            within_s = UPLOAD_S if call.max_body == MAX_UPLOAD else BODY_S
            body = await read_body(request, headers, call.max_body, within_s)
            asked = Asked(request.method, _target(path, request), passing, body)
            act = partial(forward, self._access, row.contract_id, asked, who=holder.who, because=call.name)
            reply = await self._in_thread(act)
            return Response(reply.body, reply.status, {**reply.headers, **_PRIVATE})

    @asynccontextmanager
    async def _place(self, holder: Holder) -> AsyncIterator[Holder]:
        """One of the places for those with a right key. Raises Refused where there is none."""
        if self._in_hand[holder.id] >= MAX_OF_ONE:
            raise Refused(HTTPStatus.TOO_MANY_REQUESTS, "too_many_at_once", {"retry-after": "1"})
        if self._in_hand.total() >= MAX_IN_HAND:
            raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, "busy")
        self._in_hand[holder.id] += 1
        try:
            yield holder
        except ClientDisconnect:
            raise Refused(HTTPStatus.BAD_REQUEST, "hung_up") from None  # nobody is there to hear it
        finally:
            self._in_hand[holder.id] -= 1
            self._in_hand += Counter()  # forget those who hold none

    async def _in_thread(self, act: Callable[[], T]) -> T:
        """Raises Refused for all that is foreseen."""
        try:
            return await run_sync(act, limiter=self._threads)
        except TROUBLES as trouble:
            refused = refusal_of(trouble)
        raise refused  # out here: it drags along no frame that holds a token

    def _hand_out(self, holder: Holder, contract: str, because: str) -> Mapping[str, Any]:
        row = self._run(holder, contract)
        live = self._access.token(row.contract_id, who=holder.who, because=because)
        log.info("token_handed_out", contract_id=row.contract_id, run_id=row.id, issue_number=live.issue_number)
        return {
            "contract_id": row.contract_id,
            "hris_profile_id": row.hris_profile_id,
            "token": live.token.get_secret_value(),
            "expires_at": live.expires_at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        }

    def _run(self, holder: Holder, contract: str) -> Any:
        """Raises NoToken where there is no such contract; Refused where there is none for this key."""
        row = self._access.run(contract)
        if holder.organization_id is not None and row.organization_id != holder.organization_id:
            raise _OfAnother
        return row


def _contract(request: Request) -> str:
    name: str = request.path_params["contract_id"]
    if not is_safe_id(name):
        raise Refused(HTTPStatus.NOT_FOUND, "unknown_contract")
    structlog.contextvars.bind_contextvars(contract_id=name)  # of this request's task alone
    return name


def _plain_path(request: Request) -> str:
    """Of Deel's, as it was sent: what has to be decoded is on no list. Raises Refused."""
    if b"%" in request.scope["raw_path"]:
        raise Refused(HTTPStatus.BAD_REQUEST, "encoded_path")
    path = "/" + str(request.path_params["path"])
    if {".", "..", ""} & set(path[1:].split("/")):
        raise Refused(HTTPStatus.BAD_REQUEST, "no_plain_path")
    return path


def _target(path: str, request: Request) -> str:
    query = request.scope["query_string"].decode("latin-1")
    if not query.isascii():
        raise Refused(HTTPStatus.BAD_REQUEST, "bad_query")
    return f"{path}?{query}" if query else path


def _because(body: bytes) -> str:
    if not body:
        return OVER_HTTP
    try:
        return Ask.model_validate_json(body).because
    except ValidationError:
        pass
    raise Refused(HTTPStatus.BAD_REQUEST, "bad_body")


def app_of(routes: Sequence[BaseRoute]) -> Starlette:
    """An app with nothing beside them but what tells that the process turns."""
    app = Starlette(routes=[*routes, Route("/healthz", _healthz, methods=["GET"])])
    app.router.redirect_slashes = False
    return app


async def _healthz(_request: Request) -> Response:
    return JSONResponse({"status": "ok"})


async def _refusal(_request: Request, error: Exception) -> Response:
    """One line in the log; the same word in the answer: who gets here has a key, or is told nothing but the status."""
    assert isinstance(error, HTTPException)
    status = HTTPStatus(error.status_code)
    refused = error if isinstance(error, Refused) else Refused(status, status.name.lower(), error.headers)
    more = {"why": refused.why} if refused.why else {}
    log.warning("token_refused", status=status.value, reason=refused.reason, **more)
    return JSONResponse({"error": refused.told}, status, {**(refused.headers or {}), **_PRIVATE})
