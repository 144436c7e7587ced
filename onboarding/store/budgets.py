"""The slots of a request budget: one row per Deel token, whose lock is the waiting line."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, Float, Integer, bindparam, case, literal, or_, select, update

from onboarding.store.sql import epoch, first_of, length_of, turned
from onboarding.store.tables import budgets
from onboarding.store.upsert import insert_or_ignore

FIRST_SLOWER_S: Final = 0.25
"""By so much a window is longer after the first refusal: five calls in 1.27 s are 3.9 a second."""
SLOWEST_S: Final = 4.0
SLOW_FOR_S: Final = 5.0
"""So long without a refusal, and the pace is the old one."""
LATENESS_COUNTS: Final = 1.5
"""By so many times what a process was late a window is longer: the machine is busy, and Deel counts arrivals."""
ONE_REFUSAL_S: Final = 1.0
"""Calls that were under way together are refused together: that is one refusal, not four."""

_BUDGET = budgets.c.fingerprint == bindparam("budget")
_NOW, _LEAD = epoch(), bindparam("lead_s", type_=Float)
_FREE = first_of(budgets.c.free_at)  # the slot that was taken longest ago
_BEGIN = case((_FREE > _NOW + _LEAD, _FREE), else_=_NOW + _LEAD)
# not where it was written before the clock jumped back
_IS_SLOW = (budgets.c.slow_until > _NOW) & (budgets.c.slow_until <= _NOW + literal(SLOW_FOR_S))
_SLOWER = case((_IS_SLOW, budgets.c.slower_s), else_=0.0)
# One statement, so that its commit is all that the next in line waits for. PostgreSQL computes it anew where it had
# to wait for one that changed the row.
_TAKE = (
    update(budgets)
    .where(
        _BUDGET,
        length_of(budgets.c.free_at) == bindparam("slots", type_=Integer),
        bindparam("patience_s", type_=Float) >= _FREE - _NOW,
    )
    .values(
        begins_at=_BEGIN,
        free_at=turned(budgets.c.free_at, _BEGIN + bindparam("window_s", type_=Float) + _SLOWER),
    )
    .returning(budgets.c.begins_at, _NOW, _SLOWER)
)
_ALLOW = (
    update(budgets)
    .where(_BUDGET, or_(~_IS_SLOW, budgets.c.slower_s <= bindparam("late_s", type_=Float)))
    .values(slower_s=bindparam("late_s", type_=Float), slow_until=_NOW + bindparam("for_s", type_=Float))
)
_CLOCK = select(_NOW)
_LOOK = select(budgets, _NOW.label("now"), _SLOWER.label("slower_now_s")).where(_BUDGET)
_LOCK = _LOOK.with_for_update()
_LAY = update(budgets).where(_BUDGET).values(free_at=bindparam("slots_free_at"))


@dataclass(frozen=True)
class Pace:
    """How a budget is paced: `slots` requests in any `window_s` seconds, nobody waits longer than `longest_wait_s`."""

    slots: int
    window_s: float
    longest_wait_s: float


@dataclass(frozen=True, kw_only=True)
class Clock:
    """What the database's clock said: `asked` and `answered`, on this process's monotonic one, lie around it."""

    given_at: float
    asked: float
    answered: float


@dataclass(frozen=True, kw_only=True)
class Slot(Clock):
    """A slot: when it begins by the database's clock. By `slower_s` more than usual it is not given to another."""

    begins_at: float
    slower_s: float = 0.0


def look_at_clock(db: Connection) -> Clock:
    """Without a commit to wait for."""
    asked = time.monotonic()
    given_at = db.execute(_CLOCK).scalar_one()
    return Clock(given_at=given_at, asked=asked, answered=time.monotonic())


def reserve(db: Connection, fingerprint: str, pace: Pace, patience_s: float, lead_s: float = 0.0) -> Slot | None:
    """Take the slot that comes free first, to begin in `lead_s` at the earliest. One statement.

    None: nothing was taken, as it would be a longer wait than `patience_s`, or as the slots are to be laid out first.
    """
    asked = time.monotonic()
    wanted = {"budget": fingerprint, "slots": pace.slots, "window_s": pace.window_s}
    row = db.execute(_TAKE, wanted | {"patience_s": patience_s, "lead_s": lead_s}).one_or_none()
    if row is None:
        return None
    return Slot(begins_at=row[0], given_at=row[1], slower_s=row[2], asked=asked, answered=time.monotonic())


def lay_out(db: Connection, fingerprint: str, pace: Pace) -> float:
    """See that the row has a time for each slot; returns the seconds until the next one comes free.

    A slot that is taken for longer than anybody can have waited was written before the clock jumped back.
    """
    insert_or_ignore(db, budgets, fingerprint=fingerprint, free_at="[]")
    row = db.execute(_LOCK, {"budget": fingerprint}).one()
    free_at: list[float] = json.loads(row.free_at)
    longest_s = pace.longest_wait_s + pace.window_s + SLOWEST_S
    sound = [time if time <= row.now + longest_s else row.now + pace.window_s for time in free_at]
    laid = ([row.now] * pace.slots + sorted(sound))[-pace.slots :]
    if free_at != sound or len(free_at) != pace.slots:
        _lay(db, fingerprint, laid)
        free_at = laid
    waits: float = free_at[0] - row.now
    return max(0.0, waits)


def hold(db: Connection, fingerprint: str, pace: Pace, seconds: float) -> float | None:
    """Let nobody start for so many seconds, and then fewer for a while: somebody else spends the same budget.

    Returns by how many seconds a window is longer now; None where another refusal of this moment saw to that.
    """
    lay_out(db, fingerprint, pace)
    row = db.execute(_LOCK, {"budget": fingerprint}).one()
    until = row.now + min(seconds, pace.longest_wait_s)
    _lay(db, fingerprint, [max(time, until) for time in json.loads(row.free_at)])
    slower_s: float = row.slower_now_s
    if slower_s >= FIRST_SLOWER_S and row.slow_until > row.now + SLOW_FOR_S - ONE_REFUSAL_S:
        return None
    slower_s = min(SLOWEST_S, max(FIRST_SLOWER_S, slower_s * 2))
    slowed = {"slower_s": slower_s, "slow_until": row.now + SLOW_FOR_S}
    db.execute(update(budgets).where(budgets.c.fingerprint == fingerprint).values(**slowed))
    return slower_s


def allow_for(db: Connection, fingerprint: str, late_s: float) -> None:
    """A process was late by so much: for a while windows are longer, for those that were late and do not know it."""
    wider = {"budget": fingerprint, "late_s": min(late_s * LATENESS_COUNTS, FIRST_SLOWER_S), "for_s": SLOW_FOR_S}
    db.execute(_ALLOW, wider)


@dataclass(frozen=True)
class Use:
    """`in_use`: slots that are taken. `slower_s`: by how much a window is longer, since Deel refused a call."""

    in_use: int = 0
    slower_s: float = 0.0


def use(db: Connection, fingerprint: str) -> Use:
    """At this moment."""
    row = db.execute(_LOOK, {"budget": fingerprint}).one_or_none()
    if row is None:
        return Use()
    taken = sum(time > row.now for time in json.loads(row.free_at))
    return Use(taken, row.slower_now_s)


def _lay(db: Connection, fingerprint: str, free_at: list[float]) -> None:
    db.execute(_LAY, {"budget": fingerprint, "slots_free_at": json.dumps(free_at)})
