"""Who may send webhooks to the gateway: for each source how it signs, its keys, and what its bodies say.

A body in a shape that intake understands goes on as it is. One of an HRIS's own is read by the paths that its
source is given, and goes on as the plain form; it starts an onboarding only where it names a contract of Deel's.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from onboarding.signatures import DEEL, Encoding, Scheme

DEELS_NAME: Final = "deel"
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
_HEADER: Final = r"[A-Za-z0-9-]{1,64}"
_PATH: Final = r"[^.]{1,100}(\.[^.]{1,100}){0,9}"
_ID: Final = r"[A-Za-z0-9._~-]{1,128}"

STANDARD: Final = Scheme(
    "webhook-signature",
    "{id}.{timestamp}.{body}",
    encoding=Encoding.BASE64,
    prefix="v1,",
    several=True,
    id_header="webhook-id",
    timestamp_header="webhook-timestamp",
    base64_keys=True,
)


@dataclass(frozen=True)
class Profile:
    """How a product signs. `type`: where its bodies name their event; None: they go on as they are."""

    scheme: Scheme
    type: str | None = None


PROFILES: Final = {
    # Source: standard-webhooks.md, "Verifying webhook authenticity"; five minutes are its libraries'.
    "standard": Profile(STANDARD),
    # Whatever signs its body, in a header of its own: `header`, `prefix`, `algorithm` and `encoding` say how.
    "hmac": Profile(Scheme("")),
    # Source: documentation.bamboohr.com/docs/webhooks: the body, then the timestamp, nothing between.
    "bamboohr": Profile(
        Scheme("x-bamboohr-signature", "{body}{timestamp}", timestamp_header="x-bamboohr-timestamp"),
        "employees.action",
    ),
    # Source: apidocs.hibob.com/reference/getting-started-1, step 3.
    "hibob": Profile(Scheme("bob-signature", algorithm="sha512", encoding=Encoding.BASE64), "type"),
    # Source: docs.merge.dev/basics/webhooks/merge-webhooks, "Security".
    "merge": Profile(Scheme("x-merge-webhook-signature", encoding=Encoding.BASE64URL), "hook.event"),
    # Source: developer.tryfinch.com/developer-resources/Webhooks, and Finch's own libraries: as Standard Webhooks does.
    "finch": Profile(
        replace(
            STANDARD, header="finch-signature", id_header="finch-event-id", timestamp_header="finch-timestamp"
        ),
        "event_type",
    ),
    # Source: developers.greenhouse.io/onboarding_webhooks.html, "Authentication"; its recruiting webhooks do the same.
    "greenhouse": Profile(Scheme("signature", prefix="sha256 "), "action"),
}  # fmt: skip


@dataclass(frozen=True)
class Reading:
    """Where an HRIS's own body says what: names with dots between; a list on the way stands for each of its items."""

    type: tuple[str, ...]
    contract_id: tuple[str, ...]
    starting: frozenset[str]  # the types that start an onboarding

    def contracts(self, document: object) -> Iterator[tuple[object, object]]:
        """Event type and contract id of each pair that the body tells of, as they stand there."""
        return _pairs(document, self.type, self.contract_id)


@dataclass(frozen=True)
class WebhookSource:
    """`POST /webhooks/NAME`. `reading` None: the body goes on as it is."""

    name: str
    scheme: Scheme
    keys: Mapping[str, SecretStr]  # by label; while keys are changed, two
    reading: Reading | None = None
    organization_id: str | None = None  # of Deel's, to which the contracts belong; None: that of the settings' token


class Explained(ValueError):  # noqa: N818 - a fault of the settings that may be told: it holds no value
    """What is wrong with a source, by its name and the field's."""


class _Table(BaseModel):
    """A source as the settings write it."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    profile: Literal[tuple(PROFILES)]  # type: ignore[valid-type]
    keys: Annotated[dict[str, SecretStr], Field(min_length=1)]
    type: str | None = Field(None, pattern=rf"^{_PATH}$")
    types: tuple[str, ...] = ()
    contract_id: str | None = Field(None, pattern=rf"^{_PATH}$")
    organization_id: str | None = Field(None, pattern=rf"^{_ID}$")
    header: str | None = Field(None, pattern=rf"^{_HEADER}$")
    prefix: str = ""
    algorithm: Literal["sha256", "sha512"] = "sha256"
    encoding: Encoding = Encoding.HEX


def all_of(deels_keys: Mapping[str, SecretStr], others: tuple[WebhookSource, ...]) -> tuple[WebhookSource, ...]:
    """Deel too, where it has keys: those are a setting of their own, as the queue's signatures need them as well."""
    return (*([WebhookSource(DEELS_NAME, DEEL, deels_keys)] if deels_keys else []), *others)


def sources_of(text: object) -> object:
    """Read the setting: TOML, a table for each source. Raises Explained."""
    if not isinstance(text, str):
        return text
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        place = re.search(r"\(at [^)]*\)", str(error))
        raise Explained(f"is no TOML {place.group() if place else ''}".rstrip()) from None
    return tuple(_source(name, table) for name, table in tables.items())


def _source(name: str, fields: object) -> WebhookSource:
    if not isinstance(fields, dict):
        raise Explained("holds something that is no table: [NAME], and below it profile and keys")
    if not _NAME.fullmatch(name) or name == DEELS_NAME:
        raise Explained("a source's name is of a-z, 0-9 and -, and not deel, whose keys are ONBOARDING_WEBHOOK_SECRETS")
    try:
        table = _Table.model_validate(fields)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        where = "".join(f" {part}" for part in first["loc"][:1])
        raise Explained(f"[{name}]{where}: {first['msg']}") from None
    scheme, reading = _scheme(name, table), _reading(name, table)
    _check_keys(name, scheme, table.keys)
    return WebhookSource(name, scheme, table.keys, reading, table.organization_id)


def _scheme(name: str, table: _Table) -> Scheme:
    scheme = PROFILES[table.profile].scheme
    own = {"header", "prefix", "algorithm", "encoding"} & table.model_fields_set
    if table.profile != "hmac":
        if own:
            raise Explained(f"[{name}] {min(own)}: only a source of profile hmac has one")
        return scheme
    if table.header is None:
        raise Explained(f"[{name}] header: names the header in which its signature comes")
    return replace(
        scheme,
        header=table.header.lower(),
        prefix=table.prefix,
        algorithm=table.algorithm,
        encoding=table.encoding,
    )


def _reading(name: str, table: _Table) -> Reading | None:
    kind = table.type or PROFILES[table.profile].type
    if kind is None and table.contract_id is None and not table.types:
        if table.organization_id is not None:
            raise Explained(f"[{name}] organization_id: goes with contract_id; a body that goes on as it is names it")
        return None
    if table.contract_id is None:
        raise Explained(f'[{name}] contract_id: where its bodies name the contract at Deel, as in "data.deel_contract"')
    if kind is None:
        raise Explained(f'[{name}] type: where its bodies name the event, as in "event.type"')
    if not table.types:
        raise Explained(f'[{name}] types: which of its events start an onboarding, as in ["employee.created"]')
    return Reading(tuple(kind.split(".")), tuple(table.contract_id.split(".")), frozenset(table.types))


def _check_keys(name: str, scheme: Scheme, keys: Mapping[str, SecretStr]) -> None:
    for secret in keys.values():
        try:
            empty = not scheme.key(secret)
        except ValueError:
            raise Explained(f"[{name}] keys: a key of this profile is base64, maybe behind whsec_") from None
        if empty:
            raise Explained(f"[{name}] keys: one of them is empty")


def _pairs(node: object, kind: tuple[str, ...], contract: tuple[str, ...]) -> Iterator[tuple[object, object]]:
    """Where both paths go the same way, each item of a list has its own type and its own contract."""
    if isinstance(node, list):
        for item in node:
            yield from _pairs(item, kind, contract)
    elif kind[:1] == contract[:1] and kind:
        yield from _pairs(_child(node, kind[0]), kind[1:], contract[1:])
    else:
        named = next(_values(node, kind), None)
        for value in _values(node, contract):
            yield named, value


def _values(node: object, path: tuple[str, ...]) -> Iterator[object]:
    if isinstance(node, list):
        for item in node:
            yield from _values(item, path)
    elif path:
        yield from _values(_child(node, path[0]), path[1:])
    elif node is not None:
        yield node


def _child(node: object, name: str) -> Any:
    return node.get(name) if isinstance(node, dict) else None
