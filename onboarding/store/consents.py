"""Workers' consents: append-only, the newest line of a contract counts."""

from __future__ import annotations

from sqlalchemy import Connection, insert, select, update

from onboarding.runs import Reason, State
from onboarding.store.sql import from_now
from onboarding.store.tables import consents, runs

_NUDGE = (
    update(runs)
    .where(runs.c.state == State.WAITING, runs.c.reason == Reason.CONSENT_MISSING)
    .values(nudge_at=from_now(), nudges=0)
)

_NUDGE_ALL = _NUDGE.where(runs.c.nudge_at.is_(None))


def record(db: Connection, contract_id: str, *, evidence: str, version: str, who: str, given: bool = True) -> None:
    """Put a consent, or its withdrawal, on record; a run that waited for it goes on."""
    # the run's row first: a step that finds no consent at this moment records its wait before us or after us
    db.execute(select(runs.c.id).where(runs.c.contract_id == contract_id).with_for_update()).one_or_none()
    db.execute(
        insert(consents).values(
            contract_id=contract_id, evidence=evidence[:500], version=version[:100], who=who[:128], given=given
        )
    )
    if given:
        nudge(db, contract_id)


def given(db: Connection, contract_id: str) -> bool:
    """Whether the worker's consent is on record and not withdrawn."""
    newest = select(consents.c.given).where(consents.c.contract_id == contract_id).order_by(consents.c.id.desc())
    return bool(db.execute(newest.limit(1)).scalar_one_or_none())


def nudge(db: Connection, contract_id: str) -> None:
    """Let a run that waits for a consent be looked at now."""
    db.execute(_NUDGE.where(runs.c.contract_id == contract_id))


def nudge_all(db: Connection) -> None:
    """No consent is asked for any more: whoever waits for one goes on."""
    db.execute(_NUDGE_ALL)
