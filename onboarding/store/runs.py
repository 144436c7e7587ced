"""Runs as people look at them and press: listings, timelines, replay, cancel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Row, bindparam, func, insert, null, or_, select, union_all, update

from onboarding.runs import ACTIVE, Reason, State, Step
from onboarding.store import access, news, revocations
from onboarding.store.claims import ANEW, mark_crashed
from onboarding.store.sql import clock, from_now
from onboarding.store.tables import attempts, audit, dead_letters, events, runs

MOST_NAMES: Final = 1000
"""In one query: SQLite takes some ten thousands of parameters, and an engineer's list may be longer."""

_TRIED = select(func.count()).where(attempts.c.run_id == runs.c.id).scalar_subquery().label("attempts")
_LOOK = select(runs, _TRIED, clock().label("now"))
_NAMES = (runs.c.id, runs.c.contract_id)
_FIND = [_LOOK.where(column == bindparam("name")) for column in _NAMES]
_FIND_ALL = [_LOOK.where(column.in_(bindparam("names", expanding=True))) for column in _NAMES]

# of each state by itself: the index has the first of each, and no first of several
_OLDEST = select(func.min(runs.c.created_at)).where(runs.c.state == bindparam("of"))


@dataclass(frozen=True)
class Replay:
    """What an engineer asked for: from which step (None: where it stopped), with a new token or the one that lives."""

    step: Step | None = None
    reissue: bool = False


def listing(
    db: Connection, *, state: State | None = None, reason: str | None = None, limit: int | None = None
) -> Sequence[Any]:
    """Runs, the newest first, each with how many attempts it has had.

    The first of all are among the first of each state, and the index has them so. One statement: a run that moves on
    between two would be in neither.
    """
    query = select(runs, _TRIED).order_by(runs.c.created_at.desc(), runs.c.id).limit(limit)
    if state is not None or reason is not None or limit is None:
        return db.execute(query.where(*_wanted(state, reason))).all()
    firsts = [select(query.where(runs.c.state == each).subquery()) for each in State]
    by_id = sorted(db.execute(union_all(*firsts)), key=lambda row: str(row.id))
    return sorted(by_id, key=lambda row: row.created_at, reverse=True)[:limit]


def stuck(db: Connection, *, state: State | None = None, reason: str | None = None) -> dict[tuple[str, str], int]:
    """How many runs wait or failed, by state and reason: of all that `listing` would find without a limit."""
    kind = (runs.c.state, runs.c.reason)
    is_stuck = runs.c.state.in_((State.FAILED, State.WAITING)) & runs.c.reason.is_not(None)
    query = select(*kind, func.count()).where(is_stuck, *_wanted(state, reason)).group_by(*kind).order_by(*kind)
    return {(row[0], row[1]): row[2] for row in db.execute(query)}


def _wanted(state: State | None, reason: str | None) -> list[ColumnElement[bool]]:
    given = ((runs.c.state, state), (runs.c.reason, reason))
    return [column == value for column, value in given if value is not None]


def find(db: Connection, name: str) -> Row[Any] | None:
    """A run by its own id or by its contract's; with `attempts` and the database's `now` beside its columns."""
    rows = (db.execute(query, {"name": name}).one_or_none() for query in _FIND)
    return next((row for row in rows if row is not None), None)


def find_all(db: Connection, names: Sequence[str]) -> dict[str, Row[Any]]:
    """As `find`, for many names at once: by name, without those that are not known."""
    found: dict[str, Row[Any]] = {}
    for column, query in zip(_NAMES, _FIND_ALL, strict=True):
        left = [name for name in names if name not in found]
        for start in range(0, len(left), MOST_NAMES):
            rows = db.execute(query, {"names": left[start : start + MOST_NAMES]})
            found |= {getattr(row, column.name): row for row in rows}
    return found


def timeline(db: Connection, run_id: str) -> Sequence[Any]:
    """Every attempt of a run, in the order in which they began."""
    return db.execute(select(attempts).where(attempts.c.run_id == run_id).order_by(attempts.c.id)).all()


def last_event(db: Connection) -> int:
    """The number of the event that was filed last; 0: none."""
    return int(db.execute(select(func.coalesce(func.max(events.c.id), 0))).scalar_one())


def events_since(db: Connection, number: int) -> Sequence[Any]:
    """What became of events filed after that one: disposition, reason, contract_id."""
    columns = (events.c.disposition, events.c.reason, events.c.contract_id)
    return db.execute(select(*columns).where(events.c.id > number).order_by(events.c.id)).all()


def replay(db: Connection, row: Row[Any], wish: Replay) -> bool:
    """Let a run go on: where it stopped, or from a step. False: a worker holds it at this moment.

    Nor is one replayed that moved on since `row` was read (a plan is frozen when it is made), nor an erased worker's.
    The fence moves, so that nothing an older attempt still does is written. A completed run is verified again; a
    cancelled or failed one goes on at the step where it ended. The token is kept unless asked. Who names the first step
    wants the facts from Deel, however fresh those of the webhook are. Tokens that a stranger superseded are counted
    anew.
    """
    step = wish.step if wish.step and not _has_ended(row) else where_to_go_on(row, reissue=wish.reissue)
    free = or_(runs.c.lease_until.is_(None), runs.c.lease_until <= from_now())
    kept = or_(runs.c.reason.is_(None), runs.c.reason != Reason.ERASED)
    as_seen = kept & (runs.c.fence == row.fence) & (runs.c.state == row.state) & (runs.c.step == row.step)
    written = db.execute(
        update(runs)
        .where(runs.c.id == row.id, as_seen, free)
        .values(
            **ANEW,
            step=step,
            behind=True,
            reissues=0,
            reissue_asked=wish.reissue,
            facts_at=null() if wish.step is Step.CONTRACT_CREATED or _has_ended(row) else runs.c.facts_at,
        )
    )
    if written.rowcount == 1:
        mark_crashed(db, row.id)
        access.forgive(db, row.hris_profile_id)
    return written.rowcount == 1


def cancel(db: Connection, row: Row[Any]) -> bool:
    """Stop a run that has not ended. A step in flight ends without being recorded. False: it had ended."""
    written = db.execute(
        update(runs)
        .where(runs.c.id == row.id, runs.c.state.in_((*ACTIVE, State.FAILED)))
        .values(
            state=State.CANCELLED,
            fence=runs.c.fence + 1,
            lease_until=None,
            next_attempt_at=None,
            nudge_at=None,
            keep_alive=False,
            updated_at=from_now(),
        )
    )
    if written.rowcount == 1:
        mark_crashed(db, row.id)
    return written.rowcount == 1


def note(
    db: Connection, who: str, did: str, because: str, row: Row[Any] | None = None, *, organization_id: str | None = None
) -> None:
    """Leave an audit line: of a run, or of an organisation as a whole."""
    db.execute(
        insert(audit).values(
            who=who[:128],
            did=did,
            because=because[:500],
            organization_id=row.organization_id if row else organization_id,
            contract_id=row.contract_id if row else None,
        )
    )


def stats(db: Connection) -> dict[str, Any]:
    """Counts: runs by state, reasons of those that wait or failed, events by disposition, dead letters."""
    unfinished = runs.c.state.in_((*ACTIVE, State.FAILED)) & runs.c.reason.is_not(None)
    return {
        "runs": _counts(db, runs.c.state),
        "reasons": _counts(db, runs.c.reason, unfinished),
        "events": _counts(db, events.c.disposition),
        "dead_letters": db.execute(select(func.count()).select_from(dead_letters)).scalar_one(),
        "changed_inputs": news.count_changed(db),
        "revocations_open": revocations.count_open(db),
        "oldest_waiting_at": min(
            filter(None, (db.execute(_OLDEST, {"of": state}).scalar() for state in ACTIVE)), default=None
        ),
    }


def _counts(db: Connection, column: Any, condition: Any = None) -> dict[str, int]:
    query = select(column, func.count()).group_by(column).order_by(column)
    if condition is not None:
        query = query.where(condition)
    return {word: count for word, count in db.execute(query) if word is not None}


def where_to_go_on(row: Row[Any], *, reissue: bool) -> Step:
    """The step that a replay begins at when none is named."""
    at = Step(row.step)
    if _has_ended(row):  # what Deel says of it by now comes first
        return Step.CONTRACT_CREATED
    if reissue:
        return min(at, Step.ISSUE_TOKEN, key=lambda step: step.position)
    return Step.VERIFY_TOKEN if row.state == State.COMPLETED else at


def _has_ended(row: Row[Any]) -> bool:
    return bool(row.reason == Reason.CONTRACT_TERMINATED)
