"""A call of an app's, made as the worker: what of it goes to Deel, and what of the answer comes back.

No header goes or comes but those listed here; an answer is JSON, whole, or none. Deel's 401 means that the worker's
token is refused, twice: to the app, whose key is right, it is a failure behind us.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

from pydantic_core import from_json

from onboarding.access import Access
from onboarding.deel.failures import request_id_of
from onboarding.dialling import within
from onboarding.transport import Reply, TransportError
from onboarding.web.requests import Refused

TOTAL_S: Final = 60.0
"""The wait for the budget, the call, a renewal and the call again."""
MAX_KEY: Final = 255  # characters of an app's Idempotency-Key
_PASS: Final = ("content-type", "accept")
_VALUE: Final = re.compile(r"[\x20-\x7e]{1,1000}")
_KEYS: Final = uuid.UUID("5d3f1c1e-4a55-4f0e-9f0b-1d1f2b7a6c55")
_JSON: Final = re.compile(r"application/(?:[\w.+-]+\+)?json(?:\s*;.*)?", re.IGNORECASE)


@dataclass(frozen=True)
class Asked:
    """A call as an app asked for it. `target`: path and query."""

    method: str
    target: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


def headers_for_deel(given: Mapping[str, bytes], key_id: str, contract_id: str) -> dict[str, str]:
    """Those that pass. Raises Refused for one that no header should be.

    The Idempotency-Key becomes another one: Deel answers a known key with the answer that it gave before, whoever
    asks, and the keys of our own calls, to which it answered with tokens, can be computed.
    """
    named = {name: given[name].decode("latin-1") for name in (*_PASS, "idempotency-key") if name in given}
    if not all(map(_VALUE.fullmatch, named.values())):
        raise Refused(HTTPStatus.BAD_REQUEST, "bad_header")
    key = named.pop("idempotency-key", None)
    if key is not None:
        if len(key) > MAX_KEY:
            raise Refused(HTTPStatus.BAD_REQUEST, "bad_header")
        named["idempotency-key"] = str(uuid.uuid5(_KEYS, f"{key_id} {contract_id} {key}"))
    return named


def forward(access: Access, contract_id: str, asked: Asked, *, who: str, because: str) -> Reply:
    """Deel's answer, as it may be passed on. Raises Refused, NoToken, StoreUnavailable, VaultError."""
    failure: Refused
    try:
        with within(TOTAL_S), access.as_worker(contract_id, who=who, because=because) as deel:
            answer = deel.request(asked.method, asked.target, headers=asked.headers, content=asked.body or None)
            reply = Reply(answer.status_code, answer.headers, answer.content)
    except TransportError as error:
        slow = "timeout" in type(error).__name__.lower()
        status = HTTPStatus.GATEWAY_TIMEOUT if slow else HTTPStatus.BAD_GATEWAY
        failure = Refused(status, "deel_too_slow" if slow else "deel_gave_no_answer")
    except ValueError:  # what is no HTTP request; its text may quote it
        failure = Refused(HTTPStatus.BAD_REQUEST, "bad_request")
    else:
        return passed_on(reply)
    raise failure  # out here, so that it drags along no frame that holds what was asked


def passed_on(reply: Reply) -> Reply:
    """The answer without what is not the app's. Raises Refused for what is no answer to it."""
    status, kind = reply.status, reply.headers.get("content-type", "")
    if status == HTTPStatus.UNAUTHORIZED:
        raise Refused(HTTPStatus.BAD_GATEWAY, "deel_refuses_the_token")
    if not (HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES or 400 <= status < 500):  # noqa: PLR2004
        raise Refused(HTTPStatus.BAD_GATEWAY, "deel_failed")
    headers = {}
    if reply.body:
        if not _JSON.fullmatch(kind) or not _is_json(reply.body):
            raise Refused(HTTPStatus.BAD_GATEWAY, "deel_sent_no_json")
        headers["content-type"] = "application/json"
    request_id, again = request_id_of(reply), reply.headers.get("retry-after", "")
    if request_id:
        headers["x-deel-request-id"] = request_id
    if again.isdecimal():
        headers["retry-after"] = again[:6]
    return Reply(status, headers, reply.body)


def _is_json(body: bytes) -> bool:
    try:
        from_json(body, cache_strings=False)
    except ValueError:
        return False
    return True
