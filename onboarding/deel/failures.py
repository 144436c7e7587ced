"""What it means that Deel did not do what was asked. Decides from status, Retry-After and error texts."""

from __future__ import annotations

import re
import time
from codecs import BOM_UTF8
from datetime import UTC
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from pydantic_core import from_json

from onboarding.runs import Reason

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from onboarding.transport import Reply

LONGEST_WAIT_S: Final = 86_400.0

SCOPES: Final = (  # where a text names several, the first is told: an organisation's token never has worker's
    *("admin:worker", "people:read", "people:write"),
    *("contracts:read", "contracts:write", "organizations:read", "organizations:write", "forms:read"),
    *("webhooks:read", "webhooks:write", "worker:read", "worker:write"),
)
_LACK: Final = r"(?:missing|lack(?:s|ing)?|require[ds]?|insufficient|not[\W_]+(?:enabled|granted))"
_NO_SCOPE: Final = re.compile(  # "outside the scope of ..." and "Telescope Ltd" are about one contract
    rf"""(?<![^\W_]){_LACK}(?:[\W_]+[^\W_]+){{0,3}}?[\W_]+scopes?(?![^\W_])
    | (?<![^\W_])scopes?(?![^\W_])(?![\W_]+of\b)(?:[\W_]+[^\W_]+){{0,3}}?[\W_]+{_LACK}(?![^\W_])
    | adminscopes  # as in the flag orgsAllowedAdminScopesEnabled""",
    re.IGNORECASE | re.VERBOSE,
)


class DeelFailure(Exception):  # noqa: N818 - the word of the design
    """Deel did not do what was asked: one of the three below. `request_id` is Deel's, for its support."""

    def __init__(self, reason: Reason, status: int | None = None, request_id: str | None = None) -> None:
        super().__init__(reason, status, request_id)
        self.reason = reason
        self.status = status
        self.request_id = request_id

    def __str__(self) -> str:
        return f"{self.reason} (HTTP {self.status or '-'}, request {self.request_id or '-'})"


class TryLater(DeelFailure):
    """The run waits. `after_s`: what Retry-After asked for, in seconds from now; None where it was silent."""

    def __init__(
        self,
        reason: Reason,
        status: int | None = None,
        request_id: str | None = None,
        after_s: float | None = None,
    ) -> None:
        super().__init__(reason, status, request_id)
        self.after_s = after_s


class ParkRun(DeelFailure):
    """An engineer decides: asking again would change nothing."""


class PauseOrganisation(DeelFailure):
    """Every run of the organisation waits. `scope`: the missing one, where Deel named it."""

    def __init__(
        self,
        reason: Reason,
        status: int | None = None,
        request_id: str | None = None,
        scope: str | None = None,
    ) -> None:
        super().__init__(reason, status, request_id)
        self.scope = scope


def failure_of(reply: Reply, *, not_found: Reason | None, of_worker: bool = False) -> DeelFailure:
    """The failure that an answer without a 2xx status is.

    `not_found`: why a 404 of this call may pass by itself; None where it will not. `of_worker`: the call
    carried a worker's token, whose lack of a right says nothing about the organisation's.
    Only what Deel itself said parks a run: a gateway's page or a redirect to one would park every run there is.
    Retry classes: Deel's pages on HTTP statuses, rate limits and idempotency.
    """
    status, request_id, after_s = reply.status, request_id_of(reply), retry_after_s(reply.headers)
    match status:
        # Also where a gateway says so: a pause burns no try, is told once, and ends by itself when a probe gets
        # through. To take a rejected token for an outage would spend every run's tries on it, and tell nobody.
        case 401 if not of_worker:
            return PauseOrganisation(Reason.ORG_TOKEN_REJECTED, status, request_id)
        case 429:
            return TryLater(Reason.RATE_LIMITED, status, request_id, after_s)
        case 408 | 425:
            return TryLater(Reason.DEEL_UNAVAILABLE, status, request_id, after_s)
        case _ if not (HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR and is_deels(reply)):
            return TryLater(Reason.DEEL_UNAVAILABLE, status, request_id, after_s)
        case 403 if not of_worker and (texts := error_texts(reply.body)) and _names_scope(texts):
            return PauseOrganisation(Reason.SCOPE_MISSING, status, request_id, _scope_in(texts))
        case 404 if not_found is not None and not is_unknown_path(reply):
            return TryLater(not_found, status, request_id, after_s)
        case _:
            return ParkRun(Reason.REQUEST_REJECTED, status, request_id)


def is_deels(reply: Reply) -> bool:
    """Whether an error is Deel's own: each of its six shapes has `errors` or `error`, a gateway's page neither."""
    return not _document(reply.body).keys().isdisjoint(("errors", "error"))


def is_unknown_path(reply: Reply) -> bool:
    """A 404 about the path and not about what was asked for: our base URL is wrong.

    Source: Deel's guide, HTTP statuses.
    """
    return reply.status == HTTPStatus.NOT_FOUND and "path not found" in error_texts(reply.body)


def request_id_of(reply: Reply) -> str | None:
    """Deel's own id of a request: from the body of an error, else from the header, which may be the one that we
    sent. None where neither is sane.

    Source: `request.api_req_id` in Deel's ApiErrorContainer.
    """
    failed = reply.status >= HTTPStatus.MULTIPLE_CHOICES
    request = _document(reply.body).get("request") if failed else None
    in_body = request.get("api_req_id") if isinstance(request, dict) else None
    for candidate in (in_body, reply.headers.get("x-request-id")):
        if isinstance(candidate, str) and re.fullmatch(r"[A-Za-z0-9._:-]{1,128}", candidate):
            return candidate
    return None


def error_texts(body: bytes) -> tuple[str, ...]:
    """Every text of an error, in whichever of Deel's six shapes it came: messages, paths, codes.

    For a decision on the spot, never to be kept: a message may quote what was sent.
    """
    document = _document(body)
    return tuple(_strings([document.get(key) for key in ("errors", "error", "message")]))


def field_names(texts: tuple[str, ...]) -> frozenset[str]:
    """The whole words of an error's texts: `/data/profile_id` names `profile_id`, `hris_profile_id` does not."""
    return frozenset(word for text in texts for word in re.findall(r"\w+", text))


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds that Retry-After asks for, a day at most; None where it is absent, past or no such value."""
    value = headers.get("retry-after", "").strip()
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", value):
        return min(float(value), LONGEST_WAIT_S)
    then = _http_date(value)
    if then is None:
        return None
    now = _http_date(headers.get("date", "")) or time.time()  # Deel's clock first: ours may differ
    return min(then - now, LONGEST_WAIT_S) if then > now else None


def _http_date(value: str) -> float | None:
    try:
        moment = parsedate_to_datetime(value)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def _document(body: bytes) -> dict[object, object]:
    try:
        document = from_json(body.removeprefix(BOM_UTF8))
    except ValueError:  # also for what is nested too deep
        return {}
    return document if isinstance(document, dict) else {}


def _strings(value: object) -> Iterator[str]:
    match value:
        case str():
            yield value
        case dict():
            for inside in value.values():
                yield from _strings(inside)
        case list():
            for inside in value:
                yield from _strings(inside)


def _names_scope(texts: tuple[str, ...]) -> bool:
    return _scope_in(texts) is not None or any(map(_NO_SCOPE.search, texts))


def _scope_in(texts: tuple[str, ...]) -> str | None:
    return next((scope for text in texts for scope in SCOPES if _stands_in(scope, text.lower())), None)


def _stands_in(scope: str, text: str) -> bool:
    return re.search(rf"(?<!\w){scope}(?!\w)", text) is not None
