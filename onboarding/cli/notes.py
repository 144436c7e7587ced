"""What happened to a run beside its attempts: consents, facts that an event contradicted, revocations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection

from onboarding.cli.printing import Column
from onboarding.store import consents, news, revocations

COLUMNS: Final = (Column("at"), Column("note"), Column("detail"))


@dataclass(frozen=True)
class Note:
    """One of them. `kind`: a word for programs."""

    at: datetime
    kind: str
    detail: str


def notes_of(db: Connection, row: Any) -> list[Note]:
    """Those of a run, in the order in which they happened."""
    notes = [_consent(line) for line in consents.of_contract(db, row.contract_id)]
    notes += [_alarm(each) for each in news.alarms(db, row.id)]
    notes += [_revocation(each) for each in revocations.of_contract(db, row.contract_id)]
    return sorted(notes, key=lambda note: note.at)


def objects(notes: Sequence[Note]) -> list[dict[str, Any]]:
    """As JSON has them."""
    return [{"at": note.at, "kind": note.kind, "detail": note.detail} for note in notes]


def _consent(line: Any) -> Note:
    kind = "consent_given" if line.given else "consent_withdrawn"
    proof = f"{line.version}, {line.evidence}, by {line.channel or 'an older release'}, recorded by {line.who}"
    return Note(line.decided_at or line.at, kind, proof)


def _alarm(event: Any) -> Note:
    words = ", ".join((event.differs or "").split())
    return Note(event.received_at, news.CHANGED_INPUT, f"{event.type} told another {words}; the run keeps its own")


def _revocation(wish: Any) -> Note:
    if wish.done_at is not None:
        return Note(wish.done_at, "revocation", f"{wish.why}: {(wish.result or '').replace('_', ' ')}")
    trouble = f", {wish.reason} after {wish.tries} tries" if wish.reason else ""
    what = "Deel is to confirm it" if wish.confirm else "Deel is to be told"
    return Note(wish.wanted_at, "revocation", f"{wish.why}: {what}{trouble}")
