"""The shapes that an HRIS message may have, each opened into one envelope. Nothing in it is judged here."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_STRUCTURED: Final = "application/cloudevents+json"
_ATTRIBUTE_PREFIXES: Final = ("cloudevents:", "cloudevents_")


class Source(StrEnum):
    """Which shape a message had."""

    DEEL = "deel"
    CLOUDEVENTS = "cloudevents"
    PLAIN = "plain"
    BACKFILL = "backfill"  # no message: Deel's own list, asked for it
    UNKNOWN = "unknown"


class WrongShape(ValueError):  # noqa: N818 - says what the message has
    """None of the shapes, or one that lacks what makes it one. `source`: as far as it was recognised."""

    def __init__(self, source: Source) -> None:
        super().__init__(f"a message of source {source}")
        self.source = source


@dataclass(frozen=True)
class Envelope:
    """What every shape comes down to."""

    source: Source
    type: object
    elements: list[object]  # each stands for itself; never empty
    identity: list[str] | None  # what identifies the event, where its sender said so
    organization_id: object = None  # of all elements; None: each may name its own
    subject: object = None  # the contract id of an element that names none
    time: object = None  # of the occurrence, as a CloudEvent has it
    simulated: bool = False
    signed: bool = False


def attributes_of(headers: Mapping[str, object]) -> dict[str, object]:
    """Collect the attributes of a CloudEvent in the binary form; none of any other shape.

    `headers`: their names in lower case. Source: CloudEvents 1.0, AMQP protocol binding.
    """
    return {
        name[len(_ATTRIBUTE_PREFIXES[0]) :]: value
        for name, value in headers.items()
        if name.startswith(_ATTRIBUTE_PREFIXES)
    }


def open_envelope(
    document: object, content_type: str | None, attributes: Mapping[str, object], *, proven: bool
) -> Envelope:
    """Recognise the shape of a parsed body. `proven`: its signature is right.

    Raises WrongShape.
    """
    structured = (content_type or "").partition(";")[0].strip().lower() == _STRUCTURED
    if attributes and not structured:
        return _cloud_event(attributes, document)
    fields: dict[str, Any] = document if isinstance(document, dict) else {}
    if structured or "specversion" in fields:
        return _cloud_event(fields, fields.get("data"))
    match fields:
        case {"data": {"resource": _} | {"meta": _}}:
            return _deel_webhook(fields, proven=proven)
        case {"type": _} | {"contract_id": _}:
            return _plain(fields)
        case _:
            raise WrongShape(Source.UNKNOWN)


def absent(value: object) -> bool:
    """Deel writes "" where others write null or nothing."""
    return value is None or value == ""


def _cloud_event(attributes: Mapping[str, object], data: object) -> Envelope:
    if attributes.get("specversion") != "1.0":
        raise WrongShape(Source.CLOUDEVENTS)
    source, subject, time = (_word(attributes.get(name)) or "" for name in ("source", "subject", "time"))
    event_id = _word(attributes.get("id"))
    occurrence = ["about", source, subject, time] if time else None
    return Envelope(
        source=Source.CLOUDEVENTS,
        type=attributes.get("type"),
        elements=_elements({} if data is None else data),
        identity=["id", source, event_id] if event_id else occurrence,
        subject=attributes.get("subject"),
        time=time or None,
    )


def _deel_webhook(document: dict[str, Any], *, proven: bool) -> Envelope:
    """Source: Deel's API, webhooks and events pages.

    `event_id` is in newer envelopes only. `event_type_id` names the type, not the event; whether
    `tracking_id` stays the same when Deel tries again is said nowhere.
    """
    meta = document["data"].get("meta") or {}
    if not isinstance(meta, dict):
        raise WrongShape(Source.DEEL)
    event_id = _word(meta.get("event_id")) or _word(document.get("event_id"))
    return Envelope(
        source=Source.DEEL,
        type=meta.get("event_type"),
        elements=_elements(document["data"].get("resource")),
        identity=["id", event_id] if event_id else None,
        organization_id=meta.get("organization_id"),
        simulated=not _denied(meta.get("is_simulation")),
        # The routing key is not signed: a body that leaves the type to it proves nothing.
        signed=proven and not absent(meta.get("event_type")),
    )


def _plain(document: dict[str, Any]) -> Envelope:
    event_id = _word(document.get("id"))
    return Envelope(
        source=Source.PLAIN,
        type=document.get("type"),
        elements=[document],
        identity=["id", event_id] if event_id else None,
    )


def _elements(resource: object) -> list[object]:
    """At least one, so that an empty array is answered too."""
    return (resource or [None]) if isinstance(resource, list) else [resource]


def _word(value: object) -> str | None:
    """An id's text. Ids come as text or as whole numbers; what is neither is no id."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    return str(value) or None


def _denied(flag: object) -> bool:
    """Anything but a clear no counts as a yes: a simulation must not reach Deel."""
    return absent(flag) or str(flag).lower() in ("false", "0", "no")
