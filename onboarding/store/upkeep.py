"""What the reconciler finds: runs that nothing carries, failures that nobody was told of, what has grown old."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Column, Connection, Integer, bindparam, case, delete, exists, func, null, or_, select, update

from onboarding.runs import ACTIVE, State
from onboarding.store.sql import from_now, seconds
from onboarding.store.tables import attempts, dead_letters, events, notifications, runs, turns
from onboarding.store.upsert import insert_or_ignore

DAY_S: Final = 86_400.0
EVENTS_KEPT_S: Final = 90 * DAY_S
RUNS_KEPT_S: Final = 400 * DAY_S
LONGEST_NUDGE_S: Final = 3600.0
CLOCK_SLACK_S: Final = 5.0
IN_FLIGHT: Final = 100
"""So many runs have a message at one time; the others wait here, in the order of their coming, and not in the broker.

Enough for every worker that a budget of Deel's can feed, and few enough that none of them waits there for longer than
a lease: the reconciler would take its message for lost, and send another.
"""
FRUITLESS: Final = 4
"""Nudges without a claim after which a run holds nobody else up: its messages go nowhere."""
BATCH: Final = 1000

_TURN = (
    update(turns)
    .where(
        turns.c.work == bindparam("of"),
        # a last time in the future was written before the clock jumped back: without this nobody had a turn
        or_(turns.c.last_at <= from_now(seconds("since")), turns.c.last_at > from_now(seconds("ahead"))),
    )
    .values(last_at=from_now())
)
_DUE = (
    select(runs.c.id, runs.c.contract_id, runs.c.step, runs.c.nudges)
    .where(runs.c.nudge_at <= from_now(), runs.c.state.in_(ACTIVE))
    .order_by(runs.c.nudge_at)
    .limit(bindparam("limit", type_=Integer))
    .with_for_update(skip_locked=True)
)
_ANY_DUE = select(runs.c.id).where(runs.c.nudge_at <= from_now(), runs.c.state.in_(ACTIVE)).limit(1)
# a short wait rides in the broker: its message gets a lease's grace before it is missed
_CARRIED = runs.c.state.in_((State.PENDING, State.RUNNING)) | (runs.c.nudge_at > runs.c.next_attempt_at)
_IN_FLIGHT = select(func.count()).select_from(
    select(runs.c.id)
    .where(runs.c.nudge_at > from_now(), runs.c.state.in_(ACTIVE), _CARRIED, runs.c.nudges < FRUITLESS)
    .limit(IN_FLIGHT)
    .subquery()
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
    .where(runs.c.state == State.FAILED, runs.c.told < runs.c.parkings, ~_WAITS)
    .order_by(runs.c.updated_at)
    .limit(bindparam("limit", type_=Integer))
)


def my_turn(db: Connection, work: str, every_s: float) -> bool:
    """Whether this process does the periodic work now: of two beats, one wins."""
    turn = {"of": work, "since": -every_s * 0.9, "ahead": every_s}
    return db.execute(_TURN, turn).rowcount == 1 or insert_or_ignore(db, turns, work=work)


def room(db: Connection) -> int:
    """How many runs more may have a message."""
    return IN_FLIGHT - int(db.execute(_IN_FLIGHT).scalar_one())


def is_due(db: Connection) -> bool:
    """Whether any run waits for its message."""
    return db.execute(_ANY_DUE).first() is not None


def take_due(db: Connection, limit: int, lease_s: float) -> Sequence[Any]:
    """Runs to send a message for, now: it is their turn, their time has come, their lease ran out, or it is lost.

    At most `limit`, and no more than there is room for, those that are due longest first. Each gets its next look
    before the message goes out, twice as late each time that no claim followed. Rows: id, contract_id, step.
    """
    rows = db.execute(_DUE, {"limit": max(0, min(limit, room(db)))}).all()
    for nudges in {row.nudges for row in rows}:
        ids = [row.id for row in rows if row.nudges == nudges]
        wait_s = min(LONGEST_NUDGE_S, lease_s * 2.0 ** min(nudges, 16))
        db.execute(update(runs).where(runs.c.id.in_(ids)).values(nudge_at=from_now(wait_s), nudges=nudges + 1))
    return rows


def give_back(db: Connection, run_ids: Sequence[str], soon_s: float) -> None:
    """The broker took no message for these: they are due again soon, and this was no fruitless nudge."""
    db.execute(
        update(runs)
        .where(runs.c.id.in_(run_ids), runs.c.nudges > 0)
        .values(nudge_at=from_now(soon_s), nudges=runs.c.nudges - 1)
    )


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


def retire(db: Connection) -> dict[str, int]:
    """Delete what has been kept long enough, a batch of each kind; returns how many. To be called until all are 0."""
    ended = (State.COMPLETED, State.CANCELLED)
    old_runs = (runs.c.updated_at < from_now(-RUNS_KEPT_S)) & runs.c.state.in_(ended)
    ended_runs = select(runs.c.id).where(runs.c.state.in_(ended))
    old_attempts = (attempts.c.started_at < from_now(-EVENTS_KEPT_S)) & attempts.c.run_id.in_(ended_runs)
    return {
        "events": _delete(db, events.c.id, events.c.received_at < from_now(-EVENTS_KEPT_S)),
        "dead_letters": _delete(db, dead_letters.c.id, dead_letters.c.received_at < from_now(-EVENTS_KEPT_S)),
        "attempts": _delete(db, attempts.c.id, old_attempts),
        "runs": _delete(db, runs.c.id, old_runs),
    }


def _delete(db: Connection, key: Column[Any], old: Any) -> int:
    batch = select(key).where(old).limit(BATCH)
    return db.execute(delete(key.table).where(key.in_(batch))).rowcount
