"""What the reconciler finds: runs that nothing carries, failures that nobody was told of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Connection, Integer, bindparam, case, exists, func, null, or_, select, update

from onboarding.runs import ACTIVE, State
from onboarding.store.sql import from_now, one_of, seconds
from onboarding.store.tables import notifications, runs, turns
from onboarding.store.upsert import insert_or_ignore

CLOCK_SLACK_S: Final = 5.0

_TURN = (
    update(turns)
    .where(
        turns.c.work == bindparam("of"),
        # a last time in the future was written before the clock jumped back: without this nobody had a turn
        or_(turns.c.last_at <= from_now(seconds("since")), turns.c.last_at > from_now(seconds("ahead"))),
    )
    .values(last_at=from_now())
)
_MEND = (
    update(runs)
    .where(runs.c.state.in_(ACTIVE), runs.c.updated_at > from_now(CLOCK_SLACK_S))
    .values(
        lease_until=case((runs.c.lease_until.is_not(None), from_now(seconds("lease_s"))), else_=null()),
        nudge_at=case(
            (runs.c.nudge_at.is_(None), null()),
            (runs.c.lease_until.is_not(None), from_now(seconds("lease_s"))),
            else_=from_now(),
        ),
        next_attempt_at=None,
        updated_at=from_now(),
    )
)
_WAITS = exists().where(
    notifications.c.run_id == runs.c.id,
    notifications.c.delivered_at.is_(None),
    notifications.c.refused_at.is_(None),
    notifications.c.next_try_at > from_now(),
)
_UNTOLD = (
    select(runs)
    .where(one_of(runs.c.state, (State.FAILED,)), runs.c.told < runs.c.parkings, ~_WAITS)
    .order_by(runs.c.updated_at)
    .limit(bindparam("limit", type_=Integer))
)


def my_turn(db: Connection, work: str, every_s: float) -> bool:
    """Whether this process does the periodic work now: of two beats, one wins."""
    turn = {"of": work, "since": -every_s * 0.9, "ahead": every_s}
    return db.execute(_TURN, turn).rowcount == 1 or insert_or_ignore(db, turns, work=work)


def mend_clock(db: Connection, lease_s: float) -> int:
    """The database's clock jumped back: what was written before lies in the future, and would be waited for.

    Leases begin anew, waits are over. Returns how many runs it concerned.
    """
    return db.execute(_MEND, {"lease_s": lease_s}).rowcount


def no_message_is_left(db: Connection) -> None:
    """The broker came back empty: each run is due as soon as it may be tried, not when its message is missed."""
    at = func.coalesce(runs.c.lease_until, runs.c.next_attempt_at, from_now())
    carried = runs.c.state.in_(ACTIVE) & runs.c.nudge_at.is_not(None)
    db.execute(update(runs).where(carried).values(nudge_at=at, nudges=0))


def untold_failures(db: Connection, limit: int) -> Sequence[Any]:
    """Parked runs whose parking onboarding.failed was not yet sent for.

    Without those that wait for a target's next try: many of them must not stand in the way of a new one.
    """
    return db.execute(_UNTOLD, {"limit": limit}).all()


def mark_told(db: Connection, run_id: str, parking: int) -> None:
    """onboarding.failed of this parking was delivered or refused, at every target."""
    db.execute(update(runs).where(runs.c.id == run_id, runs.c.told < parking).values(told=parking))
