"""A worker's consent as an event tells it: {"contract_id", "evidence", "version", "channel"?, "who"?, "time"?}.

The time of the consent decides, not that of the message. What could be personal is not taken: evidence is a reference.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from onboarding.shapes import mask_shapes

if TYPE_CHECKING:
    from collections.abc import Mapping

SENDER: Final = "hris"
NOT_TAKEN: Final = "(none)"
"""In place of a withdrawal's evidence that is missing or no reference: it counts all the same."""
_LONGEST: Final = {"evidence": 200, "version": 100, "channel": 40, "who": 128}


@dataclass(frozen=True)
class Evidence:
    """Who recorded what, by what channel, about which text's version. `decided_at`: None where the event says none."""

    evidence: str
    version: str
    channel: str
    who: str
    decided_at: datetime | None = None


def evidence_of(fields: Mapping[str, object], time: object, *, given: bool) -> Evidence | None:
    """None: a consent without proof or version, or with something personal in it. A withdrawal is always taken."""
    evidence, version = _word(fields, "evidence"), _word(fields, "version")
    if given and (evidence is None or version is None):
        return None
    return Evidence(
        evidence=evidence or NOT_TAKEN,
        version=version or NOT_TAKEN,
        channel=_word(fields, "channel") or "event",
        who=_word(fields, "who") or SENDER,
        decided_at=_moment(fields.get("time")) or _moment(time),
    )


def _word(fields: Mapping[str, object], name: str) -> str | None:
    value = fields.get(name)
    text = value.strip() if isinstance(value, str) else ""
    if not text or len(text) > _LONGEST[name] or not text.isprintable() or "@" in text or mask_shapes(text) != text:
        return None
    return text


def _moment(value: object) -> datetime | None:
    """Without a zone it is read as UTC."""
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value.strip())
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
