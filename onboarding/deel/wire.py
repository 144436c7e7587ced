"""Deel's answers as they are on the wire, no more of them than we use.

Strict in that; blind to the rest, so that a new field, status or type of contract breaks nothing.
Deel leaves out, sets to null or to "" what there is not: all three are read as none.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Generic, TypeVar

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
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


def _utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("beyond the calendar") from None


def _nothing(value: object) -> object:
    return None if value == "" else value


def _no_entries(value: object) -> object:
    return [] if value is None else value


Id = Annotated[str, Field(coerce_numbers_to_str=True), AfterValidator(_safe)]
MaybeId = Annotated[Id | None, BeforeValidator(_nothing)]
Several = Annotated[list[T], BeforeValidator(_no_entries)]


class Wire(BaseModel):
    """`data` and its like; unknown fields are ignored."""

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)


class One(Wire, Generic[T]):
    """What Deel wraps nearly every answer in."""

    data: T


class AlternateEmail(Wire):
    email: str | None = None
    is_verified: bool | None = Field(None, alias="isVerified")


class ContractWorker(Wire):
    """`id` is the HRIS profile's; there is none before the profile is."""

    id: MaybeId = None
    email: str | None = None
    expected_email: str | None = None
    alternate_email: Several[AlternateEmail] = []


class Invitations(Wire):
    worker_email: str | None = None


class Contract(Wire):
    id: Id
    type: str
    status: str | None = None
    worker: ContractWorker | None = None
    invitations: Invitations | None = None


class Cursor(Wire):
    cursor: str | None = Field(None, max_length=8192)


class ContractList(Wire):
    data: list[Any]
    page: Cursor | None = None


class Email(Wire):
    value: str | None = None


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
    expires_at: Annotated[AwareDatetime, AfterValidator(_utc)]


class Me(Wire):
    """Documented flat; seen in the wild within `data`."""

    email: str | None = None
    username: str | None = None
    organization_id: MaybeId = None
    profile_type: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _unwrapped(cls, value: object) -> object:
        return value["data"] if isinstance(value, dict) and isinstance(value.get("data"), dict) else value


class Organization(Wire):
    id: Id
