"""Workers who are kept alive: whose token is due, and when."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, Integer, bindparam, exists, select, update

from onboarding.renewals import renew_at
from onboarding.store.sql import from_now, seconds
from onboarding.store.tables import runs, worker_tokens

_OF_PROFILE = worker_tokens.c.hris_profile_id == bindparam("profile")
_ORGANIZATIONS = select(runs.c.organization_id).where(runs.c.keep_alive).distinct().order_by(runs.c.organization_id)
_DUE = (
    select(runs.c.contract_id, runs.c.hris_profile_id)
    .join(worker_tokens, worker_tokens.c.hris_profile_id == runs.c.hris_profile_id)
    .where(runs.c.keep_alive, runs.c.organization_id == bindparam("of"), worker_tokens.c.renew_at <= from_now())
    .order_by(worker_tokens.c.renew_at)
    .limit(bindparam("limit", type_=Integer))
)
_POSTPONE = (
    update(worker_tokens)
    .where(_OF_PROFILE, worker_tokens.c.renew_at.is_not(None))
    .values(renew_at=from_now(seconds("after_s")))
)
_MARK = update(runs).where(runs.c.id == bindparam("run")).values(keep_alive=bindparam("on"))
_BEGIN = (
    update(worker_tokens)
    .where(_OF_PROFILE, worker_tokens.c.renew_at.is_(None))
    .values(renew_at=from_now(seconds("after_s")))
)
_END = (
    update(worker_tokens)
    .where(_OF_PROFILE, ~exists().where(runs.c.hris_profile_id == bindparam("profile"), runs.c.keep_alive))
    .values(renew_at=None)
)


def mark(db: Connection, row: Any, *, on: bool) -> None:
    """Keep the run's worker alive from now on, or no longer. Where a token lives, it is due well before its end."""
    db.execute(_MARK, {"run": row.id, "on": on})
    if row.hris_profile_id is None:
        return  # its first token will know
    if on:
        db.execute(_BEGIN, {"profile": row.hris_profile_id, "after_s": _due_in_s(row)})
    else:
        db.execute(_END, {"profile": row.hris_profile_id})


def _due_in_s(row: Any) -> float:
    if row.token_expires_at is None:
        return 0.0
    due_at = renew_at(row.token_expires_at, random.random())  # noqa: S311 - spreads them over hours
    left: timedelta = due_at - row.now
    return max(0.0, left.total_seconds())


def organizations(db: Connection) -> Sequence[str]:
    """Those that have workers who are kept alive."""
    return db.execute(_ORGANIZATIONS).scalars().all()


def due(db: Connection, organization_id: str, limit: int) -> Sequence[Any]:
    """Whose token is to be renewed now, the longest due first."""
    return db.execute(_DUE, {"of": organization_id, "limit": limit}).all()


def postpone(db: Connection, profile: str, after_s: float) -> None:
    """There was no renewing it: not before so long."""
    db.execute(_POSTPONE, {"profile": profile, "after_s": after_s})
