"""The claim of a run: whose fence it is, and why it could not be had."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from typing import Any, Final

from sqlalchemy import Connection, Row, Select, bindparam, exists, insert, or_, select, update
from sqlalchemy.sql.dml import ReturningUpdate

from onboarding.runs import ACTIVE, Reason, Run, State, Step
from onboarding.store import organizations
from onboarding.store.engine import Store
from onboarding.store.sql import clock, from_now, seconds
from onboarding.store.tables import attempts, runs
from onboarding.store.tables import organizations as organizations_table

FACTS_FRESH_S = 600.0
EARLY_S = 0.5  # a delayed message may come this much before the row's time
PAUSED_LOOK_S = 900.0  # how often a run of a paused organisation is looked at, should its `resume` be lost

_PAUSED = exists().where(
    organizations_table.c.id == runs.c.organization_id, organizations_table.c.paused_at.is_not(None)
)
# Take the run if it is free, due and not in a crash loop.
_TAKE_ANYHOW = (
    update(runs)
    .where(
        runs.c.id == bindparam("run"),
        runs.c.step == bindparam("at_step"),
        runs.c.state.in_(ACTIVE),
        or_(runs.c.lease_until.is_(None), runs.c.lease_until <= from_now()),
        or_(runs.c.next_attempt_at.is_(None), runs.c.next_attempt_at <= from_now(EARLY_S)),
        runs.c.starts < bindparam("crash_limit"),
    )
    .values(
        state=State.RUNNING,
        fence=runs.c.fence + 1,
        starts=runs.c.starts + 1,
        lease_until=from_now(seconds("lease_s")),
        nudge_at=from_now(seconds("lease_s")),
        next_attempt_at=None,
        nudges=0,
        updated_at=from_now(),
    )
    .returning(
        *runs.c,
        (runs.c.facts_at > from_now(-FACTS_FRESH_S)).label("facts_fresh"),
        (runs.c.token_expires_at <= from_now()).label("token_lapsed"),
        # also before a cancel or a replay, which forget the tries
        exists().where(attempts.c.run_id == bindparam("run"), attempts.c.step == bindparam("at_step")).label("tried"),
    )
)
_TAKE = _TAKE_ANYHOW.where(~_PAUSED)
_TAKE_AS_PROBE = _TAKE_ANYHOW.where(_PAUSED)
_START = insert(attempts)
ANEW: Final[dict[str, Any]] = {
    "state": State.PENDING,
    "reason": None,
    "fence": runs.c.fence + 1,
    "lease_until": None,
    "next_attempt_at": None,
    "nudge_at": from_now(),
    "nudges": 0,
    "tries": 0,
    "not_found": 0,
    "starts": 0,
    "updated_at": from_now(),
}
"""Of a run that begins its step anew: no claim from before holds, nothing counts, and it is looked at now."""


_ENDLESS = attempts.c.ended_at.is_(None) & attempts.c.outcome.is_(None)
_CUT_OFF = update(attempts).where(attempts.c.run_id == bindparam("run"), _ENDLESS).values(outcome="crashed")


def _and_start(take: ReturningUpdate[Any]) -> Select[Any]:
    """The claim, the attempt's start and the mark on the one before, in one statement: four round trips less."""
    taken = take.cte("taken")
    columns = [taken.c.id, taken.c.step, taken.c.fence]
    started = insert(attempts).from_select(["run_id", "step", "fence"], select(*columns)).cte("started")
    earlier = (attempts.c.run_id == taken.c.id) & (attempts.c.fence < taken.c.fence)
    cut_off = update(attempts).where(earlier, _ENDLESS).values(outcome="crashed").cte("cut_off")
    return select(taken).add_cte(started, cut_off)


_TAKE_AND_START = _and_start(_TAKE)
_LOOK = select(runs, clock().label("now")).where(runs.c.id == bindparam("run"))


@dataclass(frozen=True)
class Claim:
    """The right to write to a run, until somebody claims it after us."""

    run: Run
    fence: int
    probe: bool = False  # let through although the organisation is paused, to see whether it still must be

    @property
    def step(self) -> Step:
        """The step that is claimed."""
        return self.run.step


class Why(Enum):
    """Why a run could not be claimed."""

    UNKNOWN = "unknown"
    ENDED = "ended"  # completed, failed or cancelled
    STEP_DONE = "step_done"  # the run is past this step
    STEP_AHEAD = "step_ahead"  # the run went back to an earlier step, which has a message of its own
    HELD = "held"  # another attempt holds the lease
    TOO_EARLY = "too_early"  # the row names a later time for the next try
    PAUSED = "paused"
    CRASH_LOOP = "crash_loop"  # parked just now, by this look at it


@dataclass(frozen=True)
class NoClaim:
    """Not claimed, and why. `wait_s`: seconds until the lease that stands in the way runs out."""

    why: Why
    state: State | None = None
    wait_s: float = 0.0
    run: Run | None = None


@dataclass(frozen=True)
class Terms:
    """Of every claim. `lease_s`: seconds until others may take over; `crash_limit`: starts without an end."""

    lease_s: float = 60.0
    crash_limit: int = 3
    probe_every_s: float = 300.0


def claim(store: Store, run_id: str, step: Step, terms: Terms) -> Claim | NoClaim:
    """Claim a run for one step and write down that an attempt began; say why not where it cannot be had.

    Raises StoreUnavailable.
    """
    row = store.write_one(lambda db: _begin(db, _claimed(run_id, step, terms)))
    if row is None:
        return store.write(lambda db: begin(db, run_id, step, terms))
    return Claim(run=run_of(row), fence=row.fence)


def _begin(db: Connection, claimed: dict[str, Any]) -> Row[Any] | None:
    if db.dialect.name == "postgresql":
        return db.execute(_TAKE_AND_START, claimed).one_or_none()
    return _started(db, db.execute(_TAKE, claimed).one_or_none())


def _started(db: Connection, row: Row[Any] | None) -> Row[Any] | None:
    if row is not None:
        if row.starts > 1:
            mark_crashed(db, row.id)
        db.execute(_START, {"run_id": row.id, "step": row.step, "fence": row.fence})
    return row


def begin(db: Connection, run_id: str, step: Step, terms: Terms) -> Claim | NoClaim:
    """The same within a transaction, where the run was not to be had a moment ago."""
    row = _begin(db, _claimed(run_id, step, terms))
    if row is not None:
        return Claim(run=run_of(row), fence=row.fence)
    found = db.execute(_LOOK, {"run": run_id}).one_or_none()
    if found is None:
        return NoClaim(Why.UNKNOWN)
    refusal = _why_not(found, step)
    if refusal is not None:
        return refusal
    if found.starts >= terms.crash_limit:
        return _park_crash_loop(db, found)
    if organizations.take_probe(db, found.organization_id, step, terms.probe_every_s):
        row = _started(db, db.execute(_TAKE_AS_PROBE, _claimed(run_id, step, terms)).one_or_none())
        return Claim(run=run_of(row), fence=row.fence, probe=True) if row else NoClaim(Why.HELD, wait_s=1.0)
    return _wait_for_resume(db, found)


def _claimed(run_id: str, step: Step, terms: Terms) -> dict[str, Any]:
    return {"run": run_id, "at_step": step, "lease_s": terms.lease_s, "crash_limit": terms.crash_limit}


def mark_crashed(db: Connection, run_id: str) -> None:
    """An attempt of this run that has no end never will."""
    db.execute(_CUT_OFF, {"run": run_id})


def _why_not(row: Row[Any], step: Step) -> NoClaim | None:
    state, at = State(row.state), Step(row.step)
    if state not in ACTIVE:
        return NoClaim(Why.ENDED, state)
    if at.position > step.position:
        return NoClaim(Why.STEP_DONE, state)
    if at.position < step.position:
        return NoClaim(Why.STEP_AHEAD, state)
    if row.lease_until is not None and row.lease_until > row.now:
        return NoClaim(Why.HELD, state, wait_s=(row.lease_until - row.now).total_seconds())
    if row.next_attempt_at is not None and row.next_attempt_at > row.now + timedelta(seconds=EARLY_S):
        return NoClaim(Why.TOO_EARLY, state, wait_s=(row.next_attempt_at - row.now).total_seconds())
    return None


def _wait_for_resume(db: Connection, row: Row[Any]) -> NoClaim:
    """Put the run to sleep until its organisation is resumed; nothing is tried, nothing is burnt."""
    reason = organizations.paused_reason(db, row.organization_id, lock=True)
    if reason is None:  # paused when we asked to claim, resumed since: a new message in a second will do
        return NoClaim(Why.HELD, State(row.state), wait_s=1.0)
    db.execute(
        update(runs)
        .where(runs.c.id == row.id, runs.c.fence == row.fence, runs.c.state.in_(ACTIVE))
        .values(
            state=State.WAITING,
            reason=reason,
            next_attempt_at=None,  # no message rides in the broker: it would count as one
            nudge_at=from_now(PAUSED_LOOK_S),
            updated_at=from_now(),
        )
    )
    return NoClaim(Why.PAUSED, State.WAITING)


def _park_crash_loop(db: Connection, row: Row[Any]) -> NoClaim:
    parked = db.execute(
        update(runs)
        .where(runs.c.id == row.id, runs.c.fence == row.fence, runs.c.starts == row.starts, runs.c.state.in_(ACTIVE))
        .values(
            state=State.FAILED,
            reason=Reason.CRASH_LOOP,
            parkings=runs.c.parkings + 1,
            fence=runs.c.fence + 1,
            lease_until=None,
            nudge_at=None,
            updated_at=from_now(),
        )
    )
    if parked.rowcount == 0:  # its last worker was late and not dead, and has just recorded
        return NoClaim(Why.HELD, State(row.state), wait_s=1.0)
    mark_crashed(db, row.id)
    return NoClaim(Why.CRASH_LOOP, State.FAILED, run=run_of(row))


def run_of(row: Row[Any]) -> Run:
    """The row as a step sees it."""
    return Run(
        id=row.id,
        organization_id=row.organization_id,
        contract_id=row.contract_id,
        state=State(row.state),
        step=Step(row.step),
        reason=Reason.__members__.get((row.reason or "").upper()),  # a later release may know more of them
        tries=row.tries,
        not_found=row.not_found,
        reissues=row.reissues,
        parkings=row.parkings,
        reissue_asked=row.reissue_asked,
        hris_profile_id=row.hris_profile_id,
        token_expires_at=row.token_expires_at,
        token_lapsed=bool(getattr(row, "token_lapsed", False)),
        contract_type=row.contract_type,
        has_emails=row.emails_sealed is not None,
        facts_fresh=bool(getattr(row, "facts_fresh", False)),
        tried_before=row.tries > 0 or row.starts > 1 or row.parkings > 0 or _made_perhaps(row),
    )


def _made_perhaps(row: Row[Any]) -> bool:
    """Whether an earlier attempt may have made the profile: a cancel or a replay forgets the tries, a POST stays."""
    return row.step == Step.ENSURE_PROFILE and bool(getattr(row, "tried", False))
