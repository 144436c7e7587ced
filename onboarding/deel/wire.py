"""Deel's answers as they are on the wire, no more of them than we use.

Strict in ids, types and tokens; a detail that is not as it should be is none; blind to the rest, so that a
new field, status or type of contract breaks nothing. Deel leaves out, sets to null or to "" what there is not:
all three are read as none.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, Generic, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)

SAFE_ID: Final = r"^[A-Za-z0-9._~-]{1,128}$"
"""An id that may stand in a path as it is. Deel's have no fixed form: `mp4y66j`, uuids, `prf_...`."""

T = TypeVar("T")


def is_safe_id(text: str) -> bool:
    """Whether it may stand in a path: no separator, nothing to encode, no step up."""
    return re.fullmatch(SAFE_ID, text) is not None and text not in (".", "..")


def sendable(token: SecretStr) -> bool:
    """Whether a header can carry it."""
    return re.fullmatch(r"[\x21-\x7e]{1,8192}", token.get_secret_value()) is not None


def _safe(text: str) -> str:
    if not is_safe_id(text):
        raise ValueError("no safe id")
    return text


def _token(token: SecretStr) -> SecretStr:
    if not sendable(token):
        raise ValueError("no header can carry it")
    return token


def _iso(value: object) -> object:
    """In whichever form of ISO 8601: an unreadable end would have the same token asked for again for ever."""
    if not isinstance(value, str):
        return value
    text = re.sub(r"(:[0-5]\d:)60", r"\g<1>59", value.strip())  # a leap second
    midnight = re.sub(r"([T ])24(?=:?00)", r"\g<1>00", text)  # the end of a day
    try:
        return datetime.fromisoformat(midnight) + timedelta(days=midnight != text)
    except (ValueError, OverflowError):
        return value


def _utc(moment: datetime) -> datetime:
    """Without a zone it is read as UTC, which is what all of Deel's examples are in."""
    try:
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except OverflowError:  # beyond the calendar, at one of its ends
        return datetime.max.replace(tzinfo=UTC) if moment.year > 1 else datetime.min.replace(tzinfo=UTC)


def _nothing(value: object) -> object:
    return None if value == "" else value


def _or_none(value: object, read: ValidatorFunctionWrapHandler) -> Any:
    try:
        return read(value)
    except ValidationError:
        return None


def _entries(value: object) -> object:
    return value if isinstance(value, list) else []


def _there(values: list[T | None]) -> list[T]:
    return [value for value in values if value is not None]


Moment = Annotated[datetime, BeforeValidator(_iso), AfterValidator(_utc)]
Id = Annotated[str, Field(coerce_numbers_to_str=True), AfterValidator(_safe)]
MaybeId = Annotated[Id | None, BeforeValidator(_nothing)]
Detail = Annotated[T | None, WrapValidator(_or_none)]
Entry = Annotated[T, WrapValidator(_or_none)]
Several = Annotated[list[Entry[T]], BeforeValidator(_entries), AfterValidator(_there)]
"""Those that can be read; none of it where it is no list."""


class Wire(BaseModel):
    """`data` and its like; unknown fields are ignored."""

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)


class One(Wire, Generic[T]):
    """What Deel wraps nearly every answer in."""

    data: T


class AlternateEmail(Wire):
    email: Detail[str] = None
    is_verified: Detail[bool] = Field(None, alias="isVerified")


class ContractWorker(Wire):
    """`id` is the HRIS profile's; there is none before the profile is."""

    id: MaybeId = None
    email: Detail[str] = None
    expected_email: Detail[str] = None
    alternate_email: Several[AlternateEmail] = []


class Invitations(Wire):
    worker_email: Detail[str] = None


class Contract(Wire):
    id: Id
    type: str
    status: Detail[str] = None
    worker: ContractWorker | None = None
    invitations: Detail[Invitations] = None
    created_at: Detail[Moment] = None
    termination_date: Detail[Moment] = None


class Cursor(Wire):
    cursor: str | None = Field(None, max_length=8192)


class ContractList(Wire):
    data: list[Any]
    page: Cursor | None = None


class Email(Wire):
    value: Detail[str] = None


class Employment(Wire):
    """`id` is the contract's."""

    id: MaybeId = None


class Person(Wire):
    id: Id
    emails: Several[Email] = []
    employments: Several[Employment] = []


class Rows(Wire):
    total_rows: float


class PeopleList(Wire):
    data: list[Any]
    page: Rows | None = None


class Worker(Wire):
    """Of POST /eor/worker, which also names a `profile_id`: another thing, and of no use to us."""

    hris_profile_id: Id


class Session(Wire):
    token: Annotated[SecretStr, AfterValidator(_token)]
    expires_at: Moment


class Me(Wire):
    """Documented flat; seen in the wild within `data`."""

    email: Detail[str] = None
    username: Detail[str] = None
    organization_id: Detail[MaybeId] = None

    @model_validator(mode="before")
    @classmethod
    def _unwrapped(cls, value: object) -> object:
        return value["data"] if isinstance(value, dict) and isinstance(value.get("data"), dict) else value


class Organization(Wire):
    id: Id


class Subscription(Wire):
    """Of webhooks. Its signing key comes in the clear."""

    id: Id
    name: Detail[str] = None
    status: Detail[str] = None
    url: Detail[str] = None
    signing_key: Detail[SecretStr] = None
    events: Several[str] = []
