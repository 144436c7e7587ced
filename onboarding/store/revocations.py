"""Tokens that must be dead at Deel: wished in the transaction of what caused it, carried out by upkeep.

One row for each contract and cause; a wish that comes again begins it anew. While one of a worker's is open nothing is
issued for that worker, as the DELETE would end the new token as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Integer, bindparam, exists, func, select, update

from onboarding.runs import Reason, State
from onboarding.store.sql import from_now, one_of, seconds
from onboarding.store.tables import revocations, runs
from onboarding.store.upsert import insert_or_ignore

NOTHING_LIVES_S: Final = 25 * 3600.0
"""After a wish: whatever token there was has ended by itself (they live 24 h, by a clock that is not ours)."""
ASK_AGAIN_S: Final = 60.0


class Cause(StrEnum):
    """Why a token is to be revoked."""

    TERMINATED = "terminated"
    WITHDRAWN = "withdrawn"
    ERASED = "erased"


class Result(StrEnum):
    """What became of it."""

    REVOKED = "revoked"  # Deel ended it, or knew of none
    KEPT = "kept"  # another contract of the worker needs the one token that there is
    NOTHING = "nothing"  # the worker has no profile yet, so there never was one
    LAPSED = "lapsed"  # Deel could not be told in time: it ended by itself
    NOT_CONFIRMED = "not_confirmed"  # the word was unsigned, and Deel says that the contract goes on


_OF = revocations.c
_ROW = (_OF.contract_id == bindparam("contract")) & (_OF.why == bindparam("cause"))
_WANT = (
    update(revocations)
    .where(_ROW)
    .values(
        wish=_OF.wish + 1,
        wanted_at=from_now(),
        due_at=from_now(seconds("due_in")),
        tries=0,
        reason=None,
        http_status=None,
        request_id=None,
        done_at=None,
        result=None,
    )
)
_OPEN = _OF.done_at.is_(None) & _OF.confirm.is_(False)
_DUE = (
    select(_OF.contract_id, _OF.why)
    .where(_OF.due_at <= from_now())
    .order_by(_OF.due_at)
    .limit(bindparam("limit", type_=Integer))
    .with_for_update(skip_locked=True)
)
_CLAIM = (
    update(revocations)
    .where(_ROW, _OF.due_at <= from_now())
    .values(due_at=from_now(seconds("claim_s")), tries=_OF.tries + 1)
    .returning(*revocations.c, (_OF.wanted_at <= from_now(-NOTHING_LIVES_S)).label("nothing_lives"))
)
_THIS_WISH = _ROW & (_OF.wish == bindparam("this"))
_SETTLE = update(revocations).where(_THIS_WISH).values(due_at=None, done_at=from_now(), reason=None)
_AGAIN = update(revocations).where(_THIS_WISH, _OF.due_at.is_not(None)).values(due_at=from_now(seconds("due_in")))
_WAITS = one_of(runs.c.state, (State.WAITING,)) & one_of(runs.c.reason, (Reason.TOKEN_REVOKING,))
_RELEASE = (
    update(runs)
    .where(_WAITS, runs.c.nudge_at.is_(None), ~exists().where(_OF.hris_profile_id == runs.c.hris_profile_id, _OPEN))
    .values(nudge_at=from_now(), nudges=0)
)


def want(
    db: Connection,
    cause: Cause,
    contract_id: str,
    organization_id: str,
    profile: str | None,
    *,
    due_in: float = 0.0,
    confirm: bool = False,
) -> None:
    """Wish it, or wish it again. `due_in`: seconds until the first try."""
    named = {"contract_id": contract_id, "why": cause, "organization_id": organization_id}
    insert_or_ignore(db, revocations, **named, confirm=confirm, wish=0, wanted_at=_now(db), tries=0)
    wished = {"contract": contract_id, "cause": cause, "due_in": due_in, "confirm": confirm}
    db.execute(_WANT, wished | {"hris_profile_id": profile})


def ask(db: Connection, contract_id: str, organization_id: str) -> None:
    """Somebody says that a contract has ended, and did not prove it: Deel is asked, once in a minute at most."""
    asked = db.execute(select(_OF.done_at).where(_ROW), {"contract": contract_id, "cause": Cause.TERMINATED})
    before = asked.one_or_none()
    if before is None or before.done_at is not None:
        due_in = 0.0 if before is None else ASK_AGAIN_S
        want(db, Cause.TERMINATED, contract_id, organization_id, None, due_in=due_in, confirm=True)


def settle(
    db: Connection, row: Any, result: Result, http_status: int | None = None, request_id: str | None = None
) -> None:
    """It is over. A wish that came since is not touched."""
    said = {"contract": row.contract_id, "cause": row.why, "this": row.wish, "result": result}
    db.execute(_SETTLE, said | {"http_status": http_status, "request_id": request_id})


def settle_now(db: Connection, contract_id: str, cause: Cause, result: Result) -> None:
    """A wish that needs no call."""
    row = db.execute(select(revocations).where(_ROW), {"contract": contract_id, "cause": cause}).one()
    settle(db, row, result)


def again(
    db: Connection, row: Any, due_in: float, *, reason: str, http_status: int | None, request_id: str | None
) -> None:
    """Deel did not do it: once more, later."""
    said = {"contract": row.contract_id, "cause": row.why, "this": row.wish, "due_in": due_in}
    db.execute(_AGAIN, said | {"reason": reason, "http_status": http_status, "request_id": request_id})


def take_due(db: Connection, limit: int, claim_s: float) -> list[Any]:
    """Those whose time has come, for this caller alone: for so many seconds nobody else gets them."""
    named = db.execute(_DUE, {"limit": limit}).all()
    claims = ({"contract": row.contract_id, "cause": row.why, "claim_s": claim_s} for row in named)
    taken = (db.execute(_CLAIM, claim).one_or_none() for claim in claims)
    return [row for row in taken if row is not None]


def open_of(profile: ColumnElement[str]) -> ColumnElement[bool]:
    """Of another query: whether a revocation of this worker's token is under way."""
    return exists().where(_OF.hris_profile_id == profile, _OPEN)


def is_open(db: Connection, profile: str | None) -> bool:
    """Whether a revocation of this worker's token is under way."""
    query = select(_OF.contract_id).where(_OF.hris_profile_id == bindparam("of"), _OPEN).limit(1)
    return db.execute(query, {"of": profile}).first() is not None


def release(db: Connection) -> None:
    """Let the runs be looked at now that wait for nothing any more. A look at the store, so that none is forgotten."""
    db.execute(_RELEASE)


def ended_of(contract: ColumnElement[str]) -> ColumnElement[str | None]:
    """Of another query: why this contract starts no run any more (`erased`, `terminated`); NULL: it may."""
    ends = one_of(_OF.why, (Cause.TERMINATED, Cause.ERASED)) & _OF.confirm.is_(False)
    return select(func.min(_OF.why)).where(_OF.contract_id == contract, ends).scalar_subquery()


def of_contract(db: Connection, contract_id: str) -> Sequence[Any]:
    """All of a contract's, the oldest wish first."""
    query = select(revocations).where(_OF.contract_id == contract_id).order_by(_OF.wanted_at)
    return db.execute(query).all()


def count_open(db: Connection) -> int:
    """How many wait to be carried out, or to be confirmed."""
    return int(db.execute(select(func.count()).where(_OF.due_at.is_not(None))).scalar_one())


def _now(db: Connection) -> Any:
    return db.execute(select(from_now())).scalar_one()
