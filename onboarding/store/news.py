"""What an event tells of a contract that has a run: a fact that was missing, one that differs, or an end to a wait.

A fact that differs changes nothing by itself: an alarm says which, never what it is, and an engineer has the run learn
its facts anew. Only what Deel signed is compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import structlog
from sqlalchemy import Boolean, Connection, Row, bindparam, distinct, func, or_, select, update

from onboarding.events import Ending, Event, News
from onboarding.runs import ACTIVE, Reason, State, Step
from onboarding.store import facts
from onboarding.store.claims import ANEW
from onboarding.store.sql import one_of
from onboarding.store.tables import events, runs
from onboarding.told import Told
from onboarding.vault import Keyring, VaultError

log = structlog.get_logger(__name__)

CHANGED_INPUT: Final = "changed_input"
HOME: Final = "home"
"""Stands for the organisation of the configured token until Deel has told its id."""

_RUN = select(runs).where(runs.c.id == bindparam("run"))
_BY_PROFILE = select(runs.c.id).where(runs.c.hris_profile_id == bindparam("profile")).order_by(runs.c.created_at)
_TAKE_PROFILE = (
    update(runs)
    .where(
        runs.c.id == bindparam("run"),
        runs.c.hris_profile_id.is_(None),
        runs.c.state.in_(ACTIVE),
        one_of(runs.c.step, (Step.CONTRACT_CREATED, Step.ENSURE_PROFILE)),
    )
    .values(hris_profile_id=bindparam("profile"))
)
# what Deel did not know a moment ago, it may know now
_LACKED: Final = (Reason.CONTRACT_NOT_FOUND, Reason.PROFILE_NOT_FOUND, Reason.FACTS_INCOMPLETE)
_WAKE = (
    update(runs)
    .where(
        runs.c.id == bindparam("run"),
        or_(
            runs.c.state == State.WAITING,
            (runs.c.state == State.FAILED) & bindparam("proven", type_=Boolean),
        ),
        one_of(runs.c.reason, _LACKED),
    )
    .values(**ANEW)
)
_SINCE_LEARNT = events.c.received_at > func.coalesce(runs.c.facts_at, runs.c.created_at)
_IS_CHANGED = one_of(events.c.reason, (CHANGED_INPUT,))
_OF_RUN = select(events).where(events.c.run_id == bindparam("of"), _IS_CHANGED).order_by(events.c.id)
_UNSETTLED = (
    select(func.count(distinct(events.c.run_id)))
    .select_from(events.join(runs, runs.c.id == events.c.run_id))
    .where(_IS_CHANGED, _SINCE_LEARNT)
)


@dataclass(frozen=True)
class ChangedInput:
    """An alarm: an event told other facts than the run has. Which ones, never what they are."""

    run_id: str
    contract_id: str
    organization_id: str
    facts: tuple[str, ...]  # of email, profile, type


def of_profile(db: Connection, profile: str) -> list[str]:
    """The runs of a worker, the oldest first."""
    return list(db.execute(_BY_PROFILE, {"profile": profile}).scalars())


def is_of(run: Any, event: Event | News | Ending) -> bool:
    """Whether the event is of the run's organisation: a contract keeps the one that it has."""
    return event.organization_id is None or run.organization_id in (event.organization_id, HOME)


def heed(db: Connection, keyring: Keyring, run_id: str, event: Event | News) -> ChangedInput | None:
    """Take what the run lacks, wake it where it waits for such a thing, and say which facts differ."""
    run = db.execute(_RUN, {"run": run_id}).one()
    proven = event.signed and is_of(run, event)
    told = event.told if proven else None
    if told is not None and told.hris_profile_id is not None and run.hris_profile_id is None:
        db.execute(_TAKE_PROFILE, {"run": run_id, "profile": told.hris_profile_id})
    db.execute(_WAKE, {"run": run_id, "proven": proven})
    differing = tuple(_differing(db, keyring, run, told)) if told is not None else ()
    return ChangedInput(run_id, run.contract_id, run.organization_id, differing) if differing else None


def mark(db: Connection, dedup_key: str, changed: ChangedInput) -> None:
    """Write the alarm beside its event."""
    row = update(events).where(events.c.dedup_key == dedup_key)
    db.execute(row.values(reason=CHANGED_INPUT, differs=" ".join(changed.facts)))


def count_changed(db: Connection) -> int:
    """How many runs have facts that an event contradicted since they were learnt."""
    return int(db.execute(_UNSETTLED).scalar_one())


def alarms(db: Connection, run_id: str) -> Sequence[Any]:
    """The events that told other facts than the run had, as they came; `differs` says which."""
    return db.execute(_OF_RUN, {"of": run_id}).all()


def is_settled(alarm: Any, run: Any) -> bool:
    """Whether the run has learnt its facts anew since."""
    return bool(alarm.received_at <= (run.facts_at or run.created_at))


def _differing(db: Connection, keyring: Keyring, run: Row[Any], told: Told) -> Iterator[str]:
    if told.contract_type is not None and run.contract_type not in (None, told.contract_type):
        yield "type"
    if told.hris_profile_id is not None and run.hris_profile_id not in (None, told.hris_profile_id):
        yield "profile"
    if told.emails and run.emails_sealed is not None and not _knows(db, keyring, run, told):
        yield "email"


def _knows(db: Connection, keyring: Keyring, run: Row[Any], told: Told) -> bool:
    """Whether the likeliest address is one of the run's. One that does not open is nobody's business here."""
    try:
        known = facts.emails_in(db, keyring, run)
    except VaultError as locked:
        log.warning("facts_not_compared", run_id=run.id, contract_id=run.contract_id, error=str(locked))
        return True
    return told.emails[0].get_secret_value() in known
