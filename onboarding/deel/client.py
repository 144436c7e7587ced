"""The calls. Each takes from the budget first, and ends as a typed value or as one of the three failures."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode, urlsplit
from uuid import uuid4

import structlog

from onboarding.deel import answers, wire
from onboarding.deel.answers import Identity, TokenRejected, receipt_of
from onboarding.deel.failures import (
    DeelFailure,
    ParkRun,
    PauseOrganisation,
    TryLater,
    error_texts,
    failure_of,
    field_names,
    is_deels,
    is_unknown_path,
    retry_after_s,
)
from onboarding.deel.given import SESSION_FIELDS, Budget, SessionField
from onboarding.deel.keys import field_key
from onboarding.runs import Reason
from onboarding.targets import deel_root
from onboarding.transport import NoReply

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pydantic import SecretStr

    from onboarding.deel.answers import Contract, ContractPage, PeoplePage, Profile, Receipt, Session
    from onboarding.transport import Http, Reply

log = structlog.get_logger(__name__)

API_VERSION: Final = "2026-01-01"
MAX_PER_PAGE: Final = 99  # Source: Deel's pagination page
PEOPLE_PER_PAGE: Final = 50  # a person is long, and a page has to stay below the transport's cap
WINDOW_S: Final = 1.0  # Deel counts requests in a rolling second. Source: Deel's rate limits page
LONGEST_HOLD_S: Final = 10.0


class Deel:
    """One organisation's token. Threads may share it.

    Every call may raise DeelFailure, and nothing else but what budget and session field raise themselves.

    `base_url` ends in /rest/v2, or in /rest: then the API's version travels in a header.
    Raises ValueError for a URL or a token that no request could carry; its text quotes neither.
    """

    def __init__(
        self, http: Http, *, base_url: str, token: SecretStr, budget: Budget, session_field: SessionField
    ) -> None:
        if not wire.sendable(token):
            raise ValueError("Deel's token holds characters that no header can carry")
        self._http = http
        self.url = deel_root(base_url)
        self.version = {"x-version": API_VERSION} if self.url.endswith("/rest") else {}
        self._token = token
        self._budget = budget
        self._session_field = session_field
        self._may_ask_organization = True

    def contract(self, contract_id: str) -> Contract:
        """GET /contracts/{contract_id}. A 404 is TryLater: a new contract can be invisible for a moment.

        So is another contract than the one that was asked for: its worker would get this one's token.
        """
        path = f"/contracts/{_in_path(contract_id)}"
        found = answers.contract_of(self._call("GET", path, not_found=Reason.CONTRACT_NOT_FOUND))
        if found.id != contract_id:
            raise TryLater(Reason.DEEL_UNAVAILABLE, found.receipt.status, found.receipt.request_id)
        return found

    def contracts(
        self, *, types: Sequence[str] = (), statuses: Sequence[str] = (), cursor: str | None = None
    ) -> ContractPage:
        """One page of GET /contracts, from `cursor` on, the newest first."""
        query = {"limit": MAX_PER_PAGE, "types": types, "statuses": statuses, "after_cursor": cursor}
        query["order_direction"] = "desc"
        return answers.contract_page_of(self._call("GET", f"/contracts{_query(query)}"))

    def people(self, *, search: str | None = None, offset: int = 0) -> PeoplePage:
        """One page of GET /people, from `offset` on. `search` travels in the query, as Deel wants it."""
        query = {"limit": PEOPLE_PER_PAGE, "offset": offset, "search": search}
        return answers.people_page_of(self._call("GET", f"/people{_query(query)}"), offset)

    def me(self, token: SecretStr) -> Identity | TokenRejected:
        """GET /people/me with a worker's token: whose it is, or that it is dead.

        A 404 is TryLater: the profile of a new worker may lag behind its token. So is a 401 that is not Deel's
        own: a gateway's page must not make us replace a token that works.
        """
        if not wire.sendable(token):
            raise ParkRun(Reason.REQUEST_REJECTED)
        reply = self._reply("GET", "/people/me", token=token)
        if reply.status == HTTPStatus.UNAUTHORIZED and is_deels(reply):
            return TokenRejected(receipt_of(reply))
        _refuse_failure(reply, not_found=Reason.PROFILE_NOT_FOUND, of_worker=True)
        return answers.identity_of(reply, of_worker=True)

    def whoami(self) -> Identity:
        """GET /people/me with the organisation's token."""
        return answers.identity_of(self._call("GET", "/people/me"), of_worker=False)

    def organization_id(self) -> str | None:
        """The id of the token's organisation, as GET /organizations has it; None where the token may not know it.

        Where it may not ask that, as GET /people/me has it: that is a number, not a uuid. None of the scopes
        that we need for all else opens either, so a refusal is no failure; it is not asked for a second time.
        """
        if self._may_ask_organization:
            found = self._unless_refused(lambda: answers.first_organization_id_of(self._call("GET", "/organizations")))
            found = found or self._unless_refused(lambda: self.whoami().organization_id)
            self._may_ask_organization = found is not None
            return found
        return None

    def create_worker(self, contract_id: str, *, idempotency_key: str) -> Profile:
        """POST /eor/worker. Deel documents 201, its guide 200; a 404 is TryLater, as for `contract`."""
        reply = self._call(
            "POST",
            "/eor/worker",
            body={"contract_id": _in_path(contract_id)},
            key=idempotency_key,
            not_found=Reason.CONTRACT_NOT_FOUND,
        )
        return answers.profile_of(reply)

    def create_session(self, hris_profile_id: str, *, idempotency_key: str) -> Session:
        """POST /workers/session: a token that lives 24 hours and ends the one before it.

        A 400 that names the other field is answered with the other field at once, and what Deel took is
        remembered. A 404 is TryLater: a new profile may lag.
        """
        profile, field = _in_path(hris_profile_id), self._session_field.get()
        other = SESSION_FIELDS[field == SESSION_FIELDS[0]]
        reply = self._ask_session(field, profile, idempotency_key)
        if reply.status == HTTPStatus.BAD_REQUEST and other in field_names(error_texts(reply.body)):
            reply = self._ask_session(other, profile, idempotency_key)
            if _succeeded(reply):
                self._session_field.remember(other)
        _refuse_failure(reply, not_found=Reason.PROFILE_NOT_FOUND)
        return answers.session_of(reply)

    def delete_session(self, hris_profile_id: str) -> Receipt:
        """DELETE /workers/{worker_id}/session: the token is dead when this returns. Deel's 404 is done as well."""
        reply = self._reply("DELETE", f"/workers/{_in_path(hris_profile_id)}/session")
        if reply.status != HTTPStatus.NOT_FOUND or is_unknown_path(reply) or not is_deels(reply):
            _refuse_failure(reply)
        return receipt_of(reply)

    @staticmethod
    def _unless_refused(ask: Callable[[], str | None]) -> str | None:
        try:
            return ask()
        except (ParkRun, PauseOrganisation) as failure:
            if failure.status not in (HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND):
                raise
        return None

    def _ask_session(self, field: str, profile: str, key: str) -> Reply:
        return self._reply("POST", "/workers/session", body={field: profile}, key=field_key(key, field))

    def _call(
        self,
        method: str,
        path: str,
        *,
        body: dict[str, str] | None = None,
        key: str | None = None,
        not_found: Reason | None = None,
    ) -> Reply:
        reply = self._reply(method, path, body=body, key=key)
        _refuse_failure(reply, not_found=not_found)
        return reply

    def _reply(
        self,
        method: str,
        path: str,
        *,
        body: dict[str, str] | None = None,
        key: str | None = None,
        token: SecretStr | None = None,
    ) -> Reply:
        """Deel's answer, whatever its status. Raises TryLater where there is none.

        Where Deel names no request id, ours stands for it: the timeline and Deel's support have one to go by.
        """
        request_id = str(uuid4())
        content = None if body is None else json.dumps({"data": body}).encode()
        headers = {
            "authorization": f"Bearer {(token or self._token).get_secret_value()}",
            "accept": "application/json",
            "x-request-id": request_id,
            **({"content-type": "application/json"} if content else {}),
            **({"idempotency-key": key} if key else {}),
            **self.version,
        }
        sent_by = self._budget.take()

        def before_sent() -> None:  # name, connection and handshake may have outlasted the slot: Deel counts arrivals
            if time.monotonic() > sent_by:
                self._budget.take()

        failure: DeelFailure
        try:
            reply = self._http.send(method, self.url + path, headers=headers, content=content, before_sent=before_sent)
        except TryLater as spent:
            failure = spent.with_traceback(None)  # its frames hold the request
        except NoReply as none:
            log.warning("deel_no_reply", kind=none.kind, detail=none.detail, host=none.host, request_id=request_id)
            failure = TryLater(Reason.DEEL_UNAVAILABLE, request_id=request_id)
        except ValueError:
            failure = ParkRun(Reason.REQUEST_REJECTED)
        else:
            self._heed(reply)
            return replace(reply, headers={"x-request-id": request_id, **reply.headers})
        raise failure

    def _heed(self, reply: Reply) -> None:
        """Tell of a wrong base URL, and hold the budget after a 429."""
        if is_unknown_path(reply):
            log.error("deel_path_unknown", host=urlsplit(self.url).netloc, check="ONBOARDING_DEEL_URL")
        hold_if_refused(self._budget, reply)


def hold_if_refused(budget: Budget, reply: Reply) -> None:
    """After a 429 nobody starts for a while, and not for long: it may be about one key in progress."""
    if reply.status == HTTPStatus.TOO_MANY_REQUESTS:
        budget.hold(min(retry_after_s(reply.headers) or WINDOW_S, LONGEST_HOLD_S))


def _succeeded(reply: Reply) -> bool:
    return HTTPStatus.OK <= reply.status < HTTPStatus.MULTIPLE_CHOICES


def _refuse_failure(reply: Reply, *, not_found: Reason | None = None, of_worker: bool = False) -> None:
    if not _succeeded(reply):
        raise failure_of(reply, not_found=not_found, of_worker=of_worker)


def _in_path(identifier: str) -> str:
    """The id as it stands in a path: what would have to be encoded is no id of Deel's."""
    if not wire.is_safe_id(identifier):
        raise ParkRun(Reason.REQUEST_REJECTED)
    return identifier


def _query(parameters: Mapping[str, object]) -> str:
    """Those that are set; a list's name once for each value, as Deel's OpenAPI has it."""
    given = {name: value for name, value in parameters.items() if value not in (None, (), [])}
    return "?" + urlencode(given, doseq=True, errors="replace")
