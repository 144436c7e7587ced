"""The slots of a request budget: one row per Deel token, whose lock is the waiting line."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Row, bindparam, select, update

from onboarding.store.sql import clock
from onboarding.store.tables import budgets
from onboarding.store.upsert import insert_or_ignore

if TYPE_CHECKING:
    from datetime import datetime

# The clock is read after the wait for the row, not before: PostgreSQL computes what surrounds the inner query
# when the inner one has its row, and its lock.
_WAITED = (
    select(budgets.c.free_at)
    .where(budgets.c.fingerprint == bindparam("budget"))
    .with_for_update()
    .cte("waited")
    .prefix_with("MATERIALIZED", dialect="postgresql")
)
_LOCKED = select(_WAITED.c.free_at, clock().label("now"))
_TAKE = update(budgets).where(budgets.c.fingerprint == bindparam("budget")).returning(clock())


@dataclass(frozen=True)
class Pace:
    """How a budget is paced: `slots` requests in any `window_s` seconds, nobody waits longer than `longest_wait_s`."""

    slots: int
    window_s: float
    longest_wait_s: float


@dataclass(frozen=True)
class Slot:
    """A slot that begins in `wait_s`, between two moments of this process's monotonic clock.

    Between them lies the database's answer on its way, and however long this process stood still meanwhile.
    """

    wait_s: float
    earliest: float
    latest: float


def reserve(db: Connection, fingerprint: str, pace: Pace, patience_s: float, lead_s: float = 0.0) -> Slot:
    """Take the slot that comes free first, to begin in `lead_s` at the earliest.

    A wait beyond `patience_s` (at most the pace's longest wait) means that nothing was taken. Requests are served
    in the order in which they asked: each waits for the row, and then gets the earliest time that is left.
    """
    free_at, now = _locked(db, fingerprint, pace)
    first = min(range(pace.slots), key=free_at.__getitem__)
    start = max(now + lead_s, free_at[first])
    if start - now <= patience_s:
        free_at[first] = start + pace.window_s
    # the two clocks are compared here, not at the reading: that one waited for the row, nobody knows how long
    asked = time.monotonic()
    written = _write(db, fingerprint, free_at, now)
    return Slot(start - now, asked + start - written, time.monotonic() + start - written)


def hold(db: Connection, fingerprint: str, pace: Pace, seconds: float) -> None:
    """Let nobody start for so many seconds: Deel refused a call, somebody else spends the same budget."""
    free_at, now = _locked(db, fingerprint, pace)
    _write(db, fingerprint, [max(time, now + min(seconds, pace.longest_wait_s)) for time in free_at], now)


def in_use(db: Connection, fingerprint: str) -> int:
    """How many slots are taken at this moment."""
    row = db.execute(select(budgets.c.free_at, clock().label("now")).where(budgets.c.fingerprint == fingerprint))
    found = row.one_or_none()
    return sum(time > found.now.timestamp() for time in json.loads(found.free_at)) if found else 0


def _row(db: Connection, fingerprint: str) -> Row[Any]:
    row = db.execute(_LOCKED, {"budget": fingerprint}).one_or_none()
    if row is not None:
        return row
    insert_or_ignore(db, budgets, fingerprint=fingerprint, free_at="[]")
    return db.execute(_LOCKED, {"budget": fingerprint}).one()


def _locked(db: Connection, fingerprint: str, pace: Pace) -> tuple[list[float], float]:
    row = _row(db, fingerprint)
    free_at: list[float] = json.loads(row.free_at)
    now = row.now.timestamp()
    # a slot that is taken for longer than anybody can have waited was written before the clock jumped back
    latest = now + pace.longest_wait_s + pace.window_s
    free_at = [time if time <= latest else now + pace.window_s for time in sorted(free_at)[-pace.slots :]]
    return free_at + [now] * (pace.slots - len(free_at)), now


def _write(db: Connection, fingerprint: str, free_at: list[float], now: float) -> float:
    """Those that are taken; a slot that is not in the list is free. Returns the database's clock at the writing."""
    taken = json.dumps([round(time, 6) for time in free_at if time > now])
    written: datetime = db.execute(_TAKE, {"budget": fingerprint, "free_at": taken}).scalar_one()
    return written.timestamp()
