"""HRIS messages of every shape -> one event. Pure: bytes, headers and keys in, answers out; it never raises.

Accepted: Deel's webhook body as it is, a CloudEvent 1.0 (structured, or binary as the AMQP binding has it),
and the plain form {"type", "contract_id", "organization_id"?, "id"?}. Only `contract.created` starts a run.

Dedup keys: two messages may share one only if they mean the same, or a forged message could suppress a genuine
one. So a key is a digest of the kind of answer; source; signed or not; type, contract and organisation; and of what
identifies the event: its own id, else (of a CloudEvent) source, type, subject and time, else the raw body and
the place in it. A forged message with a genuine event's id is then either another event, or, unsigned as
both are, starts the very run that the genuine one would start.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Self

from onboarding import deel_events, signatures, strict_json
from onboarding.envelopes import Envelope, Source, WrongShape, absent, attributes_of, open_envelope
from onboarding.signatures import Verdict
from onboarding.told import Told, facts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import SecretStr

MAX_BODY_BYTES: Final = 256 * 1024
MAX_ELEMENTS: Final = 1000
"""Of one `resource` array: each may become a row."""

# No white space, no "@": neither a log line nor a column of ours can be made to hold something else.
_TYPE: Final = re.compile(r"[A-Za-z0-9._:/-]{1,128}")
_ID: Final = re.compile(r"(?!\.{1,2}\Z)[A-Za-z0-9._~-]{1,128}")  # safe as a part of a URL's path
_PLAIN_ENCODINGS: Final = ("", "utf-8", "utf8", "us-ascii", "ascii", "identity", "binary")


class Why(StrEnum):
    """Why a message starts no run, and what a tired engineer does about it."""

    advice: str

    def __new__(cls, word: str, advice: str) -> Self:
        """A member is its word; the advice goes with it."""
        member = str.__new__(cls, word)
        member._value_ = word
        member.advice = advice
        return member

    # ignored
    SIMULATION = "simulation", "A delivery that Deel simulated. Nothing to do: it must start no run."
    TYPE_NOT_USED = "type_not_used", "An event of Deel's that starts nothing here. Nothing to do."
    UNKNOWN_TYPE = (
        "unknown_type",
        "No event of Deel's. If it should start a run, its sender must write `contract.created`.",
    )
    # dead
    BAD_SIGNATURE = (
        "bad_signature",
        "Not signed with its label's key. Compare ONBOARDING_WEBHOOK_SECRETS with Deel, then have it sent again.",
    )
    TOO_LARGE = (
        "too_large",
        "Over 256 KiB. Let its sender send ids only: the facts are fetched from Deel.",
    )
    TOO_DEEP = "too_deep", "JSON nested over 50 levels: no HRIS needs that. Mend its sender."
    TOO_MANY = "too_many", "Over 1000 elements in one message. Let its sender send smaller ones."
    UNSUPPORTED_ENCODING = "unsupported_encoding", "Compressed, or not UTF-8. Let its sender send plain UTF-8."
    NOT_JSON = "not_json", "No JSON in UTF-8. Mend its sender."
    DUPLICATE_KEYS = "duplicate_keys", "An object has one key twice, so nobody knows which counts. Mend its sender."
    WRONG_SHAPE = (
        "wrong_shape",
        "Neither Deel's webhook body, a CloudEvent 1.0 nor the plain form, or it names no event type. Mend its sender.",
    )
    NO_CONTRACT_ID = "no_contract_id", "It names no contract. Mend its sender, or `onboarding send` it by hand."
    BAD_CONTRACT_ID = (
        "bad_contract_id",
        "Its contract id is none: 1 to 128 of letters, digits and . _ ~ - are. Mend its sender.",
    )
    BAD_ORGANIZATION_ID = (
        "bad_organization_id",
        "Its organisation id is none: 1 to 128 of letters, digits and . _ ~ - are. Mend its sender.",
    )


@dataclass(frozen=True, repr=False)
class Message:
    """One message as the broker delivered it. It may hold personal data: its repr shows none."""

    body: bytes
    headers: Mapping[str, object]  # AMQP application headers; names in any case, values str or bytes
    routing_key: str = ""
    content_type: str | None = None
    message_id: str | None = None  # names the transmission, not the event: no dedup key is made of it
    content_encoding: str | None = None

    def __repr__(self) -> str:
        """Size and routing key, no more."""
        return f"Message({len(self.body)} bytes, routing_key={self.routing_key!r})"


@dataclass(frozen=True)
class Event:
    """Starts a run, unless its contract has one."""

    dedup_key: str
    source: Source
    type: str
    contract_id: str
    organization_id: str | None  # None: the organisation of the configured token
    signed: bool  # by Deel, with a key that we know
    told: Told | None  # only when signed, or listed by Deel
    behind: bool = False  # the runs of other events go first


@dataclass(frozen=True)
class Ignored:
    """Understood, and nothing to do."""

    dedup_key: str
    source: Source
    type: str
    contract_id: str | None
    organization_id: str | None
    why: Why


@dataclass(frozen=True)
class Dead:
    """Not understood, or not believed: a dead letter."""

    dedup_key: str
    source: Source
    why: Why


Answer = Event | Ignored | Dead


class _Refused(Exception):  # noqa: N818 - what becomes of the message, no error of ours
    """The message is dead as a whole."""

    def __init__(self, why: Why, source: Source = Source.UNKNOWN) -> None:
        super().__init__(why)
        self.why, self.source = why, source


def read(message: Message, keys: Mapping[str, SecretStr]) -> list[Answer]:
    """Say what a message means: one answer, or one for each element of a `resource` array; never none.

    `keys`: Deel's signing keys by their label.
    """
    headers = {name.lower(): _decoded(value) for name, value in message.headers.items()}
    attributes = attributes_of(headers)
    # What the message consists of. In CloudEvents' binary form the attributes are a part of the event.
    origin = [hashlib.sha256(message.body).hexdigest(), repr(sorted(attributes.items(), key=lambda pair: pair[0]))]
    try:
        proven = _proven(message, headers, keys)
        # CloudEvents' binary form may do without data, and then has no body.
        document = _parsed(message.body) if message.body or not attributes else None
        envelope = _opened(document, message.content_type, attributes, proven=proven)
        event_type = _event_type(envelope, message.routing_key)
    except _Refused as refused:
        return [Dead(_key(refused.source, "dead", refused.why, origin), refused.source, refused.why)]
    return [_answer(envelope, event_type, element, [*origin, place]) for place, element in enumerate(envelope.elements)]


def type_named(body: bytes) -> str | None:
    """The event type that a body names, as `read` finds it; None where it names none or cannot be read."""
    try:
        return _event_type(_opened(_parsed(body), None, {}, proven=False), routing_key="")
    except _Refused:
        return None


def _decoded(value: object) -> object:
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else value


def _proven(message: Message, headers: Mapping[str, object], keys: Mapping[str, SecretStr]) -> bool:
    """Whether its signature is right. Refuses what is not worth parsing."""
    if len(message.body) > MAX_BODY_BYTES:
        raise _Refused(Why.TOO_LARGE)
    verdict = signatures.judge(signatures.DEEL, message.body, headers, keys)
    if verdict is Verdict.WRONG:  # whatever its shape
        raise _Refused(Why.BAD_SIGNATURE)
    for encoding in (message.content_encoding, headers.get("content-encoding")):
        if str(encoding or "").lower() not in _PLAIN_ENCODINGS:
            raise _Refused(Why.UNSUPPORTED_ENCODING)
    return verdict is Verdict.RIGHT


def _parsed(body: bytes) -> object:
    try:
        return strict_json.parse(body)
    except strict_json.DuplicateKeys:
        raise _Refused(Why.DUPLICATE_KEYS) from None
    except strict_json.TooDeep:
        raise _Refused(Why.TOO_DEEP) from None
    except strict_json.NotJson:
        raise _Refused(Why.NOT_JSON) from None


def _opened(document: object, content_type: str | None, attributes: Mapping[str, object], *, proven: bool) -> Envelope:
    try:
        envelope = open_envelope(document, content_type, attributes, proven=proven)
    except WrongShape as wrong:
        raise _Refused(Why.WRONG_SHAPE, wrong.source) from None
    if len(envelope.elements) > MAX_ELEMENTS:
        raise _Refused(Why.TOO_MANY, envelope.source)
    return envelope


def _event_type(envelope: Envelope, routing_key: str) -> str:
    """The body's type wins; the routing key serves where the body has none and the key is one of Deel's types."""
    if absent(envelope.type):
        named: object = routing_key if deel_events.known(routing_key) else None
    else:
        named = envelope.type
    if isinstance(named, str) and _TYPE.fullmatch(named):
        return named
    raise _Refused(Why.WRONG_SHAPE, envelope.source)


def _answer(envelope: Envelope, event_type: str, element: object, place: list[object]) -> Answer:
    source, fields = envelope.source, element if isinstance(element, dict) else {}
    named_contract = _named_contract(envelope, event_type, fields)
    named_organization = _first(envelope.organization_id, fields.get("organization_id"))
    contract_id, organization_id = _id(named_contract), _id(named_organization)
    # An id identifies the event only together with its contract: one message may tell of several.
    identity = envelope.identity if contract_id and envelope.identity else place
    about = (envelope.signed, event_type, contract_id, organization_id, identity)
    if why := _ignored(envelope, event_type):
        return Ignored(_key(source, "ignored", why, *about), source, event_type, contract_id, organization_id, why)
    if not isinstance(element, dict):
        why = Why.WRONG_SHAPE
    elif contract_id is None:
        why = Why.NO_CONTRACT_ID if absent(named_contract) else Why.BAD_CONTRACT_ID
    elif organization_id is None and not absent(named_organization):
        why = Why.BAD_ORGANIZATION_ID
    else:
        told = facts(element) if envelope.signed else None
        key = _key(source, "event", *about)
        return Event(key, source, event_type, contract_id, organization_id, envelope.signed, told)
    return Dead(_key(source, "dead", why, place), source, why)


def _ignored(envelope: Envelope, event_type: str) -> Why | None:
    if envelope.simulated:
        return Why.SIMULATION
    if event_type == deel_events.CONTRACT_CREATED:
        return None
    return Why.TYPE_NOT_USED if deel_events.known(event_type) else Why.UNKNOWN_TYPE


def _named_contract(envelope: Envelope, event_type: str, fields: Mapping[str, object]) -> object:
    """A contract's own events call its id `id`; in all others, and in the plain form, that is another thing's id.

    Source: Deel's API, webhook payloads (contract.created, eor.quote.created, the tax example) and events guide.
    """
    its_own = event_type.startswith("contract.") and envelope.source is not Source.PLAIN
    own_id = fields.get("id") if its_own else None
    return _first(fields.get("contract_id"), fields.get("contract_oid"), own_id, envelope.subject)


def _first(*values: object) -> object:
    return next((value for value in values if not absent(value)), None)


def _id(value: object) -> str | None:
    """An id of Deel's as it stands; None where it is none. Older webhooks write some as whole numbers."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    return str(value) if _ID.fullmatch(str(value)) else None


def _key(source: Source, *parts: object) -> str:
    """At most 76 characters, whatever a sender calls its events, and nothing personal in it."""
    return f"{source}:{hashlib.sha256(json.dumps(parts).encode()).hexdigest()}"
