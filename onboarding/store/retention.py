"""What has been kept long enough goes: in batches, each a short transaction that waits for nobody's lock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Column, ColumnElement, Connection, delete, exists, or_, select, true

from onboarding.runs import State
from onboarding.store import data_keys, facts, notifications, tokens
from onboarding.store.sql import from_now
from onboarding.store.tables import attempts, dead_letters, events, runs

DAY_S: Final = 86_400.0
TRACES_KEPT_DAYS: Final = 90
OPEN_KEPT_S: Final = 30 * DAY_S
"""So much longer a run is kept for a notification that was never settled: that of a cancelled run never will be."""
BATCH: Final = 500

_ENDED: Final = (State.COMPLETED, State.CANCELLED)


@dataclass(frozen=True)
class Retention:
    """How many days ended runs are kept. What leads to them (events, dead letters, attempts) never outlives them."""

    days: int = 400

    @property
    def runs_s(self) -> float:
        """In seconds."""
        return self.days * DAY_S

    @property
    def traces_s(self) -> float:
        """In seconds."""
        return min(self.days, TRACES_KEPT_DAYS) * DAY_S


@dataclass(frozen=True)
class Batch:
    """So many rows went. `after`: the next batch looks at what is not older than that; None: nothing is left."""

    deleted: int
    after: datetime | None


def retire_runs(db: Connection, retention: Retention, after: datetime | None = None) -> Batch:
    """Ended runs, with all that is theirs alone: attempts, notifications, and the key of the contract's facts.

    One stays while a token of its worker's is live, as it tells where that came from.
    """
    told = or_(~notifications.open_of(runs.c.id), runs.c.updated_at < from_now(-retention.runs_s - OPEN_KEPT_S))
    free = runs.c.state.in_(_ENDED) & told & ~tokens.live_of(runs.c.hris_profile_id)
    old = Old(runs.c.id, runs.c.updated_at, retention.runs_s, free)
    looked = _look(db, old, after)
    going = _lock(db, old, looked, runs.c.id, runs.c.contract_id)
    if going:
        data_keys.erase(db, [facts.subject_of(row.contract_id) for row in going])
    return _delete(db, old, looked, going, after)


def retire_attempts(db: Connection, retention: Retention, after: datetime | None = None) -> Batch:
    """Attempts of ended runs: those of the others are somebody's work yet."""
    ended = exists().where(runs.c.id == attempts.c.run_id, runs.c.state.in_(_ENDED))
    return _retire(db, Old(attempts.c.id, attempts.c.started_at, retention.traces_s, ended), after)


def retire_events(db: Connection, retention: Retention, after: datetime | None = None) -> Batch:
    """What became of messages. Those of consents stay: one that was recorded and comes again is a repeat."""
    free = or_(events.c.reason.is_(None), events.c.reason.not_in(("consent_given", "consent_withdrawn")))
    return _retire(db, Old(events.c.id, events.c.received_at, retention.traces_s, free), after)


def retire_dead_letters(db: Connection, retention: Retention, after: datetime | None = None) -> Batch:
    """Messages that nobody could use."""
    return _retire(db, Old(dead_letters.c.id, dead_letters.c.received_at, retention.traces_s), after)


KINDS: Final = {
    "runs": retire_runs,
    "attempts": retire_attempts,
    "events": retire_events,
    "dead_letters": retire_dead_letters,
}


@dataclass(frozen=True)
class Old:
    """Rows of one table that may go: `at` says since when they are what they are, `free` what else must hold."""

    key: Column[Any]
    at: Column[Any]
    kept_s: float
    free: ColumnElement[bool] = field(default_factory=true)

    @property
    def is_old(self) -> ColumnElement[bool]:
        """Long enough."""
        return self.at < from_now(-self.kept_s)


def _retire(db: Connection, old: Old, after: datetime | None) -> Batch:
    looked = _look(db, old, after)
    return _delete(db, old, looked, _lock(db, old, looked, old.key), after)


def _look(db: Connection, old: Old, after: datetime | None) -> Sequence[Any]:
    """The oldest, by their index: however many have to stay, a batch looks at no more than BATCH."""
    looked = select(old.key, old.at).where(old.is_old).order_by(old.at).limit(BATCH)
    return db.execute(looked if after is None else looked.where(old.at >= after)).all()


def _lock(db: Connection, old: Old, looked: Sequence[Any], *columns: Column[Any]) -> Sequence[Any]:
    """Those of them that may go and that nobody holds. Asked anew: one may have been replayed since the look."""
    free = select(*columns).where(old.key.in_([row[0] for row in looked]), old.is_old, old.free)
    return db.execute(free.with_for_update(skip_locked=True)).all() if looked else []


def _delete(db: Connection, old: Old, looked: Sequence[Any], going: Sequence[Any], after: datetime | None) -> Batch:
    if going:
        db.execute(delete(old.key.table).where(old.key.in_([row[0] for row in going])))
    last = looked[-1][1] if len(looked) == BATCH else None
    return Batch(len(going), last if going or last != after else None)
