"""Deel's answers as frozen dataclasses, and how each is read from a reply that has a 2xx status.

What cannot be read is TryLater: a gateway's page or half a body passes, and nothing was learnt from it.
"""

from __future__ import annotations

from codecs import BOM_UTF8
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, TypeVar

import structlog
from pydantic import BaseModel, SecretStr, ValidationError

from onboarding.deel import wire
from onboarding.deel.failures import TryLater, request_id_of
from onboarding.deel_events import ENDED
from onboarding.masking import remember_secret
from onboarding.runs import Facts, Reason
from onboarding.told import address

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from onboarding.transport import Reply

log = structlog.get_logger(__name__)

LONGEST_LIFE: Final = timedelta(hours=25)  # Deel's tokens live 24 h, by a clock that is not ours

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True)
class Receipt:
    """How Deel answered; kept with the attempt."""

    status: int
    request_id: str | None


@dataclass(frozen=True)
class Contract:
    """`emails`: the worker's, lower case, the likeliest first. `hris_profile_id`: None until there is a profile."""

    id: str
    type: str
    status: str | None
    hris_profile_id: str | None
    emails: tuple[SecretStr, ...]
    created_at: datetime | None  # UTC
    receipt: Receipt
    ends_at: datetime | None = None  # UTC: the day of a termination begins then

    def has_ended(self, now: datetime) -> bool:
        """Whether no worker is employed by it any more, or ever will be."""
        return self.status in ENDED or (self.ends_at is not None and self.ends_at <= now)

    def facts(self) -> Facts:
        """What a run needs to know of it."""
        return Facts(self.type, self.emails, self.hris_profile_id)


@dataclass(frozen=True)
class ContractPage:
    """`skipped`: how many entries could not be read. The others stand for themselves."""

    contracts: tuple[Contract, ...]
    next_cursor: str | None
    skipped: int


@dataclass(frozen=True)
class Person:
    """One entry of the people list: profile, e-mail addresses (lower case) and contracts."""

    hris_profile_id: str
    emails: tuple[SecretStr, ...]
    contract_ids: tuple[str, ...]


@dataclass(frozen=True)
class PeoplePage:
    """`next_offset`: None on the last page. `skipped`: how many entries could not be read."""

    people: tuple[Person, ...]
    next_offset: int | None
    skipped: int


@dataclass(frozen=True)
class Profile:
    """A worker's profile: the HRIS one, which is the one that sessions are made for."""

    hris_profile_id: str
    receipt: Receipt


@dataclass(frozen=True)
class Session:
    """A worker's token. `replayed`: an old answer sent again; its token may be dead, or nearly expired."""

    token: SecretStr
    expires_at: datetime  # UTC
    replayed: bool
    receipt: Receipt


@dataclass(frozen=True)
class Identity:
    """Whose token it is. `emails`: email and username, lower case."""

    emails: tuple[SecretStr, ...]
    organization_id: str | None
    receipt: Receipt


@dataclass(frozen=True)
class TokenRejected:
    """Deel does not know the token: superseded, revoked or expired."""

    receipt: Receipt


@dataclass(frozen=True)
class Subscription:
    """A webhook subscription. `label`: what Deel calls its name, and sends as `x-deel-hmac-label`."""

    id: str
    label: str | None
    status: str | None
    url: str | None
    events: tuple[str, ...]
    signing_key: SecretStr | None = None

    @property
    def enabled(self) -> bool:
        """Deel disables it by itself, after the tenth delivery in a row that nobody took."""
        return self.status == "enabled"


def receipt_of(reply: Reply) -> Receipt:
    """Status and Deel's id of the request."""
    return Receipt(reply.status, request_id_of(reply))


def contract_of(reply: Reply) -> Contract:
    """GET /contracts/{contract_id}."""
    return _contract(_read(wire.One[wire.Contract], reply).data, receipt_of(reply))


def contract_page_of(reply: Reply) -> ContractPage:
    """GET /contracts. An empty page is the last, whatever cursor it names."""
    found = _read(wire.ContractList, reply)
    receipt = receipt_of(reply)
    contracts = tuple(_contract(entry, receipt) for entry in _each(wire.Contract, found.data))
    cursor = found.page.cursor if found.page and found.data else None
    return ContractPage(contracts, cursor or None, len(found.data) - len(contracts))


def people_page_of(reply: Reply, offset: int) -> PeoplePage:
    """GET /people, asked from `offset`."""
    found = _read(wire.PeopleList, reply)
    people = tuple(_person(entry) for entry in _each(wire.Person, found.data))
    following = offset + len(found.data)
    more = bool(found.data) and found.page is not None and following < found.page.total_rows
    return PeoplePage(people, following if more else None, len(found.data) - len(people))


def profile_of(reply: Reply) -> Profile:
    """POST /eor/worker: never its `profile_id`, which is not what a session is made for."""
    return Profile(_read(wire.One[wire.Worker], reply).data.hris_profile_id, receipt_of(reply))


def session_of(reply: Reply) -> Session:
    """POST /workers/session. A replay is known by its header. Source: Deel's API, idempotency page.

    An end that lies beyond what a token can live is cut: a wrong year would keep a dead token for ever. One that
    is past stays so, and the step asks for the next number, three times at most: to make up a life for a token
    would hand out one that may be dead.
    """
    found = _read(wire.One[wire.Session], reply).data
    remember_secret(found.token)
    now = datetime.now(UTC)
    replayed = "x-original-request-id" in reply.headers
    if found.expires_at <= now and not replayed:
        past_s = round((now - found.expires_at).total_seconds())
        log.warning("deel_token_expired_when_issued", past_s=past_s, check="this machine's clock")
    return Session(found.token, min(found.expires_at, now + LONGEST_LIFE), replayed, receipt_of(reply))


def identity_of(reply: Reply, *, of_worker: bool) -> Identity:
    """GET /people/me. One that names nobody, or for us not even an organisation, cannot be read."""
    found = _read(wire.Me, reply)
    emails = _emails(found.email, found.username)
    if not (emails or (found.organization_id and not of_worker)):
        raise _unreadable(reply)
    return Identity(emails, found.organization_id, receipt_of(reply))


def first_organization_id_of(reply: Reply) -> str | None:
    """GET /organizations: None where the list is empty."""
    found = _read(wire.One[list[wire.Organization]], reply).data
    return found[0].id if found else None


def subscriptions_of(reply: Reply) -> tuple[Subscription, ...]:
    """GET /webhooks."""
    found = _read(wire.One[list[Any]], reply).data
    return tuple(_subscription(entry) for entry in _each(wire.Subscription, found))


def subscription_of(reply: Reply) -> Subscription:
    """POST /webhooks, and PATCH."""
    return _subscription(_read(wire.One[wire.Subscription], reply).data)


def _subscription(found: wire.Subscription) -> Subscription:
    if found.signing_key is not None:
        remember_secret(found.signing_key)
    events = tuple(sorted(found.events))
    return Subscription(found.id, found.name, found.status, found.url, events, found.signing_key)


def _contract(found: wire.Contract, receipt: Receipt) -> Contract:
    worker = found.worker or wire.ContractWorker()
    verified = [other.email for other in worker.alternate_email if other.is_verified]
    invited = found.invitations.worker_email if found.invitations else None
    emails = _emails(worker.email, worker.expected_email, *verified, invited)
    return Contract(
        found.id, found.type, found.status, worker.id, emails, found.created_at, receipt, found.termination_date
    )


def _person(found: wire.Person) -> Person:
    contract_ids = tuple(employment.id for employment in found.employments if employment.id)
    return Person(found.id, _emails(*(email.value for email in found.emails)), contract_ids)


def _emails(*found: str | None) -> tuple[SecretStr, ...]:
    """Each once, in the order given, by the rule that webhooks are read by: both are compared later."""
    read = (address(text) for text in found)
    return tuple(map(SecretStr, dict.fromkeys(each.get_secret_value() for each in read if each)))


def _read(model: type[M], reply: Reply) -> M:
    try:
        return model.model_validate_json(reply.body.removeprefix(BOM_UTF8))
    except ValidationError:
        failure = _unreadable(reply)
    raise failure  # out here: pydantic's error, which holds the body, does not come along


def _each(model: type[M], entries: Iterable[object]) -> Iterator[M]:
    """Those that can be read: one bad entry must not hide the rest of a list for ever."""
    for entry in entries:
        try:
            yield model.model_validate(entry)
        except ValidationError:
            continue


def _unreadable(reply: Reply) -> TryLater:
    return TryLater(Reason.DEEL_UNAVAILABLE, reply.status, request_id_of(reply))
