"""Tokens on demand: of all who want one at once, one asks Deel; and how often a stranger has killed ours.

No lock is held during a call: a row says who issues, and until when others leave it to them. Should that one die, or
be late, the next one asks for the same issue under the same Idempotency-Key, and Deel answers with the same token.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, String, bindparam, case, exists, func, null, or_, select, update

from onboarding.runs import IssuedToken, Reason, State, Step
from onboarding.store import revocations, tokens
from onboarding.store.sql import from_now, seconds
from onboarding.store.tables import attempts, runs, worker_tokens
from onboarding.store.tokens import Intended, Kept
from onboarding.store.upsert import insert_or_ignore
from onboarding.vault import Keyring

MOST_SUPERSEDED: Final = 3
"""So many tokens of a worker killed by somebody else, and we stop: each of ours kills one of theirs, too."""
APART_S: Final = 6 * 3600.0
"""Two that lie further apart are no ping-pong."""
NEW_S: Final = 60.0

_HERE = worker_tokens.c.hris_profile_id == bindparam("profile")
_MINE = _HERE & (worker_tokens.c.issuing_by == bindparam("holder"))
_OF_PROFILE = runs.c.hris_profile_id == bindparam("profile")
_IS_NEW = worker_tokens.c.stored_at > from_now(-NEW_S)
_LIVES = (
    tokens.LIVES
    # a new one is long enough, however long it is: the next would be no longer, and kill it
    & or_(worker_tokens.c.expires_at > from_now(seconds("min_life_s")), _IS_NEW)
)
_STEP_IS_AT_IT = exists().where(
    _OF_PROFILE, runs.c.state == State.RUNNING, runs.c.step == Step.ISSUE_TOKEN, runs.c.lease_until > from_now()
)
_HELD = (worker_tokens.c.issuing_until > from_now()) & or_(
    worker_tokens.c.issuing_by.is_(None), worker_tokens.c.issuing_by != bindparam("holder")
)
_BUSY = or_(_HELD, _STEP_IS_AT_IT, revocations.open_of(bindparam("profile", type_=String))).label("busy")
_NEW = select(worker_tokens.c.stored_at).where(_HERE, _IS_NEW)
_STANDS = select(worker_tokens, _LIVES.label("lives"), _BUSY).where(_HERE)
_TAKE = (
    update(worker_tokens)
    .where(_HERE)
    .values(
        issue_number=bindparam("number"),
        intended_by=bindparam("by"),
        issuing_by=bindparam("holder"),
        issuing_until=from_now(seconds("for_s")),
    )
)
_GIVE_BACK = update(worker_tokens).where(_MINE).values(issuing_by=None, issuing_until=from_now(seconds("pause_s")))
_HOLD_ON = update(worker_tokens).where(_MINE).values(issuing_until=from_now(seconds("for_s")))
_LOCK_RUNS = select(runs.c.id).where(_OF_PROFILE).order_by(runs.c.id).with_for_update()
# a run of which somebody still takes tokens is no old one: retention goes by `updated_at`
_TELL_RUNS = update(runs).where(_OF_PROFILE).values(token_expires_at=bindparam("expires_at"), updated_at=from_now())
_COUNT = (
    update(worker_tokens)
    .where(_HERE)
    .values(
        superseded=case((worker_tokens.c.superseded_at > from_now(-APART_S), worker_tokens.c.superseded), else_=0) + 1,
        superseded_at=from_now(),
        renew_at=case((worker_tokens.c.renew_at.is_not(None), from_now()), else_=null()),
    )
    .returning(worker_tokens.c.superseded)
)
_FORGIVE = update(worker_tokens).where(_HERE, worker_tokens.c.superseded > 0).values(superseded=0)
_PARK = (
    update(runs)
    .where(_OF_PROFILE, runs.c.state == State.COMPLETED)
    .values(
        state=State.FAILED,
        step=Step.VERIFY_TOKEN,
        reason=Reason.TOKEN_SUPERSEDED,
        parkings=runs.c.parkings + 1,
        fence=runs.c.fence + 1,
        nudge_at=null(),
        updated_at=from_now(),
    )
    .returning(runs.c.id, runs.c.contract_id, runs.c.organization_id)
)
_VERIFIED = select(func.count()).where(
    attempts.c.run_id == bindparam("run"), attempts.c.step == Step.VERIFY_TOKEN, attempts.c.outcome == "done"
)


@dataclass(frozen=True)
class Busy:
    """Somebody asks Deel for the worker's token at this moment, or has just failed to get one."""


def was_verified(db: Connection, run_id: str) -> bool:
    """Whether a token of this run was seen to open the right account, since attempts are kept."""
    return bool(db.execute(_VERIFIED, {"run": run_id}).scalar_one())


def take(
    db: Connection, run_id: str, organization_id: str, profile: str, holder: str, *, for_s: float, min_life_s: float
) -> Kept | Intended | Busy:
    """Decide who issues: `holder`, from now on, for `for_s` seconds, unless a token lives or another one is at it.

    The issue's number is committed with it, and the run whose id is in its key: one that was never answered is asked
    for again.
    """
    new = {"organization_id": organization_id, "issue_number": 0, "stored_issue": 0, "intended_by": run_id}
    insert_or_ignore(db, worker_tokens, hris_profile_id=profile, dead=True, **new)
    asked = {"profile": profile, "holder": holder, "min_life_s": min_life_s}
    db.execute(select(worker_tokens.c.hris_profile_id).where(_HERE).with_for_update(), {"profile": profile})
    row = db.execute(_STANDS, asked).one()
    if row.lives:
        return Kept(row.issue_number, row.expires_at)
    if row.busy:
        return Busy()
    answered = row.stored_issue == row.issue_number
    number, by = (row.issue_number + 1, run_id) if answered else (row.issue_number, row.intended_by)
    db.execute(_TAKE, {"profile": profile, "holder": holder, "number": number, "by": by, "for_s": for_s})
    return Intended(number, by, wished=False)


def lives(db: Connection, profile: str, min_life_s: float) -> bool:
    """Whether there is a token with so much life left, or a new one."""
    row = db.execute(_STANDS, {"profile": profile, "holder": "", "min_life_s": min_life_s}).one_or_none()
    return row is not None and bool(row.lives)


def is_busy(db: Connection, profile: str, min_life_s: float) -> bool:
    """Whether somebody is at it still: neither is there a token, nor is it anybody else's turn."""
    row = db.execute(_STANDS, {"profile": profile, "holder": "", "min_life_s": min_life_s}).one_or_none()
    return row is not None and bool(row.busy) and not row.lives


def hold(db: Connection, profile: str, holder: str, number: int, *, for_s: float) -> bool:
    """Let nobody else issue, or look whether this issue's token works, for so long.

    False: another one is at it, or it has found out, or a later issue was asked for.
    """
    db.execute(select(worker_tokens.c.hris_profile_id).where(_HERE).with_for_update(), {"profile": profile})
    row = db.execute(_STANDS, {"profile": profile, "holder": holder, "min_life_s": 0.0}).one_or_none()
    if row is None or row.busy or not row.lives or row.issue_number != number:
        return False
    taken = {"profile": profile, "holder": holder, "number": number, "by": row.intended_by, "for_s": for_s}
    db.execute(_TAKE, taken)
    return True


def is_new(db: Connection, profile: str) -> bool:
    """Whether the worker's token was issued a moment ago: it may not be known everywhere at Deel yet."""
    return db.execute(_NEW, {"profile": profile}).one_or_none() is not None


def hold_on(db: Connection, profile: str, holder: str, for_s: float) -> None:
    """It takes so many seconds more."""
    db.execute(_HOLD_ON, {"profile": profile, "holder": holder, "for_s": for_s})


def give_back(db: Connection, profile: str, holder: str, pause_s: float = 0.0) -> None:
    """The holder is through. `pause_s`: so long nobody asks again, as Deel has just failed."""
    db.execute(_GIVE_BACK, {"profile": profile, "holder": holder, "pause_s": pause_s})


def keep(db: Connection, keyring: Keyring, profile: str, issued: IssuedToken) -> bool:
    """Seal what Deel issued, and let the worker's runs show its end. False: it is dead, or no longer the newest."""
    db.execute(_LOCK_RUNS, {"profile": profile})  # the order in which steps lock: runs, then tokens
    if not tokens.keep(db, keyring, profile, issued):
        return False
    db.execute(_TELL_RUNS, {"profile": profile, "expires_at": issued.expires_at})
    return True


def bury_superseded(db: Connection, profile: str, issue_number: int) -> Sequence[Any]:
    """Deel refuses a token before its end: somebody else issued one. Returns the runs that are parked for it.

    Those are the completed ones, and only once it has happened too often; what their step finds is counted there.
    """
    db.execute(_LOCK_RUNS, {"profile": profile})
    tokens.bury(db, profile, issue_number)
    db.execute(_TELL_RUNS, {"profile": profile, "expires_at": None})
    if db.execute(_COUNT, {"profile": profile}).scalar_one() < MOST_SUPERSEDED:
        return ()
    return db.execute(_PARK, {"profile": profile}).all()


def forgive(db: Connection, profile: str) -> None:
    """An engineer has looked into it: begin to count anew."""
    db.execute(_FORGIVE, {"profile": profile})
