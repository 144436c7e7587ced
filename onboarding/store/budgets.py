"""The slots of a request budget: one row per Deel token, whose lock is the waiting line."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Float, Integer, Row, bindparam, case, literal, select, update

from onboarding.store.sql import epoch, first_of, length_of, turned
from onboarding.store.tables import budgets
from onboarding.store.upsert import insert_or_ignore

FIRST_SLOWER_S: Final = 0.25
"""By so much a window is longer after the first refusal: five calls in 1.27 s are 3.9 a second."""
SLOWEST_S: Final = 4.0
SLOW_FOR_S: Final = 5.0
"""So long without a refusal, and the pace is nearly the old one."""
CAREFUL_S: Final = 0.088
"""At least by so much a window is longer unless all was calm for CAREFUL_FOR_S: what is on its way may be late."""
CAREFUL_FOR_S: Final = 595.0
"""And for so long after SLOW_FOR_S: ten minutes without a late call and without a refusal. Two were too few for the
storm of `make chaos`. A new budget begins so."""
LATENESS_COUNTS: Final = 1.5
"""By so many times what a process was late a window is longer: the machine is busy, and Deel counts arrivals."""
ONE_REFUSAL_S: Final = 1.0
"""Calls that were under way together are refused together: that is one refusal, not four."""

_BUDGET = budgets.c.fingerprint == bindparam("budget")
_NOW, _LEAD = epoch(), bindparam("lead_s", type_=Float)
_FREE = first_of(budgets.c.free_at)  # the slot that was taken longest ago
_BEGIN = case((_FREE > _NOW + _LEAD, _FREE), else_=_NOW + _LEAD)
_SLOWER = case(
    (budgets.c.slow_until > _NOW + literal(SLOW_FOR_S), 0.0),  # written before the clock jumped back
    (budgets.c.slow_until > _NOW, budgets.c.slower_s),
    (budgets.c.slow_until <= _NOW - literal(CAREFUL_FOR_S), 0.0),
    (budgets.c.slower_s < literal(CAREFUL_S), budgets.c.slower_s),
    else_=literal(CAREFUL_S),
)
# nobody waits for it, so the next one in it may as well begin later, and this one be slow to leave
_UNHURRIED = case((_FREE > _NOW + _LEAD, 0.0), else_=bindparam("unhurried_s", type_=Float))
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
        free_at=turned(budgets.c.free_at, _BEGIN + bindparam("window_s", type_=Float) + _SLOWER + _UNHURRIED),
    )
    .returning(budgets.c.begins_at, _NOW, budgets.c.free_at)
)
_CLOCK = select(_NOW)
_LOOK = select(budgets, _NOW.label("now"), _SLOWER.label("slower_now_s")).where(_BUDGET)
_LOCK = _LOOK.with_for_update()
_BEGIN_CAREFUL = update(budgets).where(_BUDGET).values(slow_until=_NOW)
_LAY = update(budgets).where(_BUDGET).values(free_at=bindparam("slots_free_at"))


@dataclass(frozen=True)
class Pace:
    """How a budget is paced: `slots` requests in any `window_s` seconds, nobody waits longer than `longest_wait_s`.

    A slot that is free when it is asked for lasts `unhurried_s` longer.
    """

    slots: int
    window_s: float
    longest_wait_s: float
    unhurried_s: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Clock:
    """What the database's clock said: `asked` and `answered`, on this process's monotonic one, lie around it."""

    given_at: float
    asked: float
    answered: float


@dataclass(frozen=True, kw_only=True)
class Slot(Clock):
    """A slot: when it begins by the database's clock, and when the next one in it does."""

    begins_at: float
    ends_at: float


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
    wanted |= {"unhurried_s": pace.unhurried_s, "patience_s": patience_s, "lead_s": lead_s}
    row = db.execute(_TAKE, wanted).one_or_none()
    if row is None:
        return None
    ends_at = json.loads(row.free_at)[-1]
    return Slot(begins_at=row[0], ends_at=ends_at, given_at=row[1], asked=asked, answered=time.monotonic())


def lay_out(db: Connection, fingerprint: str, pace: Pace) -> float:
    """See that the row has a time for each slot; returns the seconds until the next one comes free.

    A slot that is taken for longer than anybody can have waited was written before the clock jumped back.
    """
    if insert_or_ignore(db, budgets, fingerprint=fingerprint, free_at="[]", slower_s=CAREFUL_S):
        db.execute(_BEGIN_CAREFUL, {"budget": fingerprint})
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
    slower_s: float = row.slower_now_s
    free_at, slowed_s = json.loads(row.free_at), None
    if slower_s < FIRST_SLOWER_S or row.slow_until <= row.now + SLOW_FOR_S - ONE_REFUSAL_S:
        slowed_s = min(SLOWEST_S, max(FIRST_SLOWER_S, slower_s * 2))
        free_at = _slow_down(db, fingerprint, row, slowed_s)
    _lay(db, fingerprint, [max(time, until) for time in free_at])
    return slowed_s


def allow_for(db: Connection, fingerprint: str, late_s: float) -> None:
    """A process was late by so much: for a while windows are longer, for those that were late and do not know it."""
    row = db.execute(_LOCK, {"budget": fingerprint}).one()
    wider_s = min(max(CAREFUL_S, late_s * LATENESS_COUNTS), FIRST_SLOWER_S)
    if row.slow_until <= row.now or row.slower_s <= wider_s:
        _lay(db, fingerprint, _slow_down(db, fingerprint, row, wider_s))


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


def _slow_down(db: Connection, fingerprint: str, row: Row[Any], slower_s: float) -> list[float]:
    """Windows are longer by so much from now on; returns when the slots come free, those under way later as well."""
    slowed = {"slower_s": slower_s, "slow_until": row.now + SLOW_FOR_S}
    db.execute(update(budgets).where(budgets.c.fingerprint == fingerprint).values(**slowed))
    more_s = max(0.0, slower_s - row.slower_now_s)
    return [time + more_s if time > row.now else time for time in json.loads(row.free_at)]


def _lay(db: Connection, fingerprint: str, free_at: list[float]) -> None:
    db.execute(_LAY, {"budget": fingerprint, "slots_free_at": json.dumps(free_at)})
