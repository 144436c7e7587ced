"""The line in which runs wait for their message: one for each organisation, new events before replays and backfills.

So many runs of an organisation have a message at one time, as its budget can serve; the others wait here, in the
order of their coming, and not in the broker or in memory. Replays and backfills stand behind those of new events.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

from sqlalchemy import Connection, Integer, bindparam, func, literal_column, select, update

from onboarding.runs import ACTIVE, State
from onboarding.store.sql import from_now, one_of
from onboarding.store.tables import runs

FRUITLESS: Final = 4
"""Nudges without a claim after which a run holds nobody else up: its messages go nowhere."""
MOST_RIDING: Final = 100
"""So many runs of an organisation may be between two tries, in the broker: with more of them Deel is not well."""
LONGEST_NUDGE_S: Final = 3600.0
SHARE_BEHIND: Final = 0.6
"""Of a second's calls: a new event waits no longer than that for each of its own, whatever is replayed."""

_OF = runs.c.organization_id == bindparam("of")
# named one by one, so that the index serves times as well: (organization_id, behind, nudge_at)
_EITHER = runs.c.behind.in_((False, True))
_DUE = (runs.c.nudge_at <= from_now()) & one_of(runs.c.state, ACTIVE)
_CARRIED = _OF & (runs.c.nudge_at > from_now()) & (runs.c.nudges < FRUITLESS)
_GOING = _CARRIED & one_of(runs.c.state, (State.PENDING, State.RUNNING))
# a short wait rides in the broker: its message gets a lease's grace before it is missed
_RIDING = _CARRIED & (runs.c.state == State.WAITING) & (runs.c.nudge_at > runs.c.next_attempt_at)
_IS_DUE = select(runs.c.id).where(_OF, _EITHER, _DUE).limit(1)
_NEXT = (
    select(runs.c.id, runs.c.contract_id, runs.c.step, runs.c.nudges)
    .where(_OF, runs.c.behind == bindparam("replays"), _DUE)
    .order_by(runs.c.nudge_at)
    .limit(bindparam("places", type_=Integer))
    .with_for_update(skip_locked=True)
)


def _count(which: Any, name: str) -> Any:
    counted = select(literal_column("1")).where(which).limit(bindparam(name, type_=Integer)).subquery()
    return select(func.count()).select_from(counted).scalar_subquery()


TAKEN: Final = (_count(_GOING, "most").label("going"), _count(_RIDING, "most_riding").label("riding"))
"""For a statement that asks something else as well: `room_in` reads its row, `limits` are its parameters."""
_TAKEN = select(*TAKEN)

# From one organisation to the next, however many runs each has: the index is entered anew for each.
_FIRST = select(runs.c.organization_id).where(_DUE).order_by(runs.c.organization_id).limit(1)
_ORGANIZATIONS = select(_FIRST.scalar_subquery().label("id")).cte("organizations_due", recursive=True)
_ORGANIZATIONS = _ORGANIZATIONS.union_all(
    select(_FIRST.where(runs.c.organization_id > _ORGANIZATIONS.c.id).scalar_subquery()).where(
        _ORGANIZATIONS.c.id.is_not(None)
    )
)


@dataclass(frozen=True)
class Line:
    """How many runs of an organisation have a message at one time.

    `places`: of all; `behind`: no replay or backfill is sent while so many are under way. `lease_s`: when a message
    without a claim is taken for lost.
    """

    lease_s: float = 60.0
    places: int = 6
    behind: int = 3

    @classmethod
    def for_rate(cls, rate: float, lease_s: float) -> Self:
        """What requests per second can serve: steps of up to a second keep it busy, and nobody waits much longer."""
        return cls(lease_s, math.ceil(rate) + 1, max(1, math.ceil(rate * SHARE_BEHIND)))


def room(db: Connection, organization_id: str, line: Line) -> int:
    """How many runs more of the organisation may have a message; below 1: none."""
    return room_in(db.execute(_TAKEN, limits(organization_id, line)).one(), line)


def limits(organization_id: str, line: Line) -> dict[str, Any]:
    """The parameters of TAKEN."""
    return {"of": organization_id, "most": line.places, "most_riding": MOST_RIDING}


def room_in(row: Any, line: Line) -> int:
    """How much of it a row with the columns of TAKEN leaves."""
    return line.places - int(row.going) if row.riding < MOST_RIDING else 0


def is_due(db: Connection, organization_id: str) -> bool:
    """Whether any run of the organisation waits for its message."""
    return db.execute(_IS_DUE, {"of": organization_id}).first() is not None


def waiting_behind(db: Connection, organization_id: str) -> int:
    """How many replays and backfills of the organisation wait for their message."""
    waiting = select(func.count()).where(_OF, runs.c.behind, _DUE)
    return int(db.execute(waiting, {"of": organization_id}).scalar_one())


def organizations_due(db: Connection) -> Sequence[str]:
    """Those with a run that waits for its message."""
    return db.execute(select(_ORGANIZATIONS.c.id).where(_ORGANIZATIONS.c.id.is_not(None))).scalars().all()


def take(db: Connection, organization_id: str, line: Line) -> Sequence[Any]:
    """Runs to send a message for, now: it is their turn, their time has come, their lease ran out, or it is lost.

    No more than there is room for, those that are due longest first. Each gets its next look before the message
    goes out, twice as late each time that no claim followed. Rows: id, contract_id, step.
    """
    places = room(db, organization_id, line)
    rows = _due(db, organization_id, places, behind=False)
    left = places - (line.places - line.behind) - len(rows)
    rows += _due(db, organization_id, left, behind=True)
    for nudges in {row.nudges for row in rows}:
        ids = [row.id for row in rows if row.nudges == nudges]
        wait_s = min(LONGEST_NUDGE_S, line.lease_s * 2.0 ** min(nudges, 16))
        db.execute(update(runs).where(runs.c.id.in_(ids)).values(nudge_at=from_now(wait_s), nudges=nudges + 1))
    return rows


def give_back(db: Connection, run_ids: Sequence[str], soon_s: float) -> None:
    """The broker took no message for these: they are due again soon, and this was no fruitless nudge."""
    db.execute(
        update(runs)
        .where(runs.c.id.in_(run_ids), runs.c.nudges > 0)
        .values(nudge_at=from_now(soon_s), nudges=runs.c.nudges - 1)
    )


def _due(db: Connection, organization_id: str, places: int, *, behind: bool) -> list[Any]:
    if places < 1:
        return []
    return list(db.execute(_NEXT, {"of": organization_id, "replays": behind, "places": places}).all())
