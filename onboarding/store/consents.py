"""Workers' consents: append-only (a trigger refuses all else), the latest decision of a contract counts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, bindparam, func, insert, select, update

from onboarding.runs import Reason, State
from onboarding.store.sql import clock, from_now
from onboarding.store.tables import consents, runs

ERASED: Final = "(erased)"
"""In place of the reference to a proof: the only change that the trigger lets pass."""

_NUDGE = (
    update(runs)
    .where(runs.c.state == State.WAITING, runs.c.reason == Reason.CONSENT_MISSING)
    .values(nudge_at=from_now(), nudges=0)
)
_NUDGE_ALL = _NUDGE.where(runs.c.nudge_at.is_(None))
_NEWEST = (
    select(consents.c.given)
    .where(consents.c.contract_id == bindparam("contract"))
    .order_by(func.coalesce(consents.c.decided_at, consents.c.at).desc(), consents.c.id.desc())
    .limit(1)
)


def record(
    db: Connection,
    contract_id: str,
    *,
    evidence: str,
    version: str,
    who: str,
    channel: str | None = None,
    decided_at: datetime | None = None,
    given: bool = True,
) -> None:
    """Put a consent, or its withdrawal, on record; a run that waited for it goes on.

    One of tomorrow is of now: else no withdrawal could ever come after it. Whoever withdraws wants more than this:
    `endings.decide`.
    """
    # the run's row first: a step that finds no consent at this moment records its wait before us or after us
    db.execute(select(runs.c.id).where(runs.c.contract_id == contract_id).with_for_update()).one_or_none()
    now: datetime = db.execute(select(clock())).scalar_one()
    at = min(decided_at or now, now)
    line = {"evidence": evidence[:500], "version": version[:100], "who": who[:128], "channel": channel}
    db.execute(insert(consents).values(contract_id=contract_id, given=given, at=now, decided_at=at, **line))
    if _given(db, contract_id):
        nudge(db, contract_id)


def given(db: Connection, contract_id: str) -> bool:
    """Whether the worker's consent is on record and not withdrawn."""
    return bool(_given(db, contract_id))


def withdrawn(db: Connection, contract_id: str) -> bool:
    """Whether there was one, or a word about it, and the worker took it back."""
    return _given(db, contract_id) is False


def of_contract(db: Connection, contract_id: str) -> Sequence[Any]:
    """Every line, as they came."""
    return db.execute(select(consents).where(consents.c.contract_id == contract_id).order_by(consents.c.id)).all()


def redact(db: Connection, contract_id: str) -> None:
    """Forget where the proofs lie; that there was a consent, and when, stays."""
    kept = consents.c.evidence != ERASED
    db.execute(update(consents).where(consents.c.contract_id == contract_id, kept).values(evidence=ERASED))


def nudge(db: Connection, contract_id: str) -> None:
    """Let a run that waits for a consent be looked at now."""
    db.execute(_NUDGE.where(runs.c.contract_id == contract_id))


def nudge_all(db: Connection) -> None:
    """No consent is asked for any more: whoever waits for one goes on."""
    db.execute(_NUDGE_ALL)


def _given(db: Connection, contract_id: str) -> bool | None:
    return db.execute(_NEWEST, {"contract": contract_id}).scalar_one_or_none()
