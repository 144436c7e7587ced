"""How far the scheduled reading of each organisation's list of contracts has come."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Connection, bindparam, null, select, update

from onboarding.store.sql import from_now, seconds
from onboarding.store.tables import backfills, organizations
from onboarding.store.upsert import insert_or_ignore

_PAUSED: Final = select(organizations.c.id).where(organizations.c.paused_at.is_not(None))
_DUE: Final = (
    select(backfills)
    .where(backfills.c.due_at <= from_now(), backfills.c.organization_id.not_in(_PAUSED))
    .order_by(backfills.c.due_at)
)
_MINE: Final = backfills.c.organization_id == bindparam("org")
_AS_SEEN: Final = _MINE & (backfills.c.reads == bindparam("seen"))
_DUE_IN: Final = from_now(seconds("due_in"))
_FIRST: Final = update(backfills).where(_MINE, backfills.c.due_at.is_(None)).values(due_at=_DUE_IN)
_READ: Final = (
    update(backfills)
    .where(_AS_SEEN)
    .values(
        due_at=from_now(),
        cursor=bindparam("next"),
        reads=backfills.c.reads + 1,
        pages=backfills.c.pages + 1,
        reason=null(),
    )
)
_COUNT: Final = update(backfills).where(_MINE).values(made=backfills.c.made + bindparam("new"))
_END: Final = update(backfills).where(_MINE).values(due_at=_DUE_IN, cursor=null(), pages=0, ended_at=from_now())
_PUT_OFF: Final = update(backfills).where(_AS_SEEN).values(due_at=_DUE_IN, reason=bindparam("why"))
_ANEW: Final = _PUT_OFF.values(cursor=null(), pages=0)


def know(db: Connection, organization_ids: Sequence[str], first_s: float) -> None:
    """Each of these has a list to read; a new one in so many seconds, and what is older than this moment is not its."""
    for organization_id in organization_ids:
        if insert_or_ignore(db, backfills, organization_id=organization_id):
            db.execute(_FIRST, {"org": organization_id, "due_in": first_s})


def due(db: Connection) -> Sequence[Any]:
    """Those whose next page may be asked for, who waits longest first; without paused organisations."""
    return db.execute(_DUE).all()


def read(db: Connection, row: Any, cursor: str | None) -> bool:
    """A page was read, and the next begins at `cursor`. False: another process has read it meanwhile."""
    values = {"org": row.organization_id, "seen": row.reads, "next": cursor}
    return db.execute(_READ, values).rowcount == 1


def count(db: Connection, organization_id: str, made: int, *, ended_s: float | None) -> None:
    """So many runs were made of that page. `ended_s`: it was the last; the list is read again in so many seconds."""
    db.execute(_COUNT, {"org": organization_id, "new": made})
    if ended_s is not None:
        db.execute(_END, {"org": organization_id, "due_in": ended_s})


def put_off(db: Connection, row: Any, why: str, due_s: float, *, anew: bool) -> None:
    """The page could not be read: it is asked for again in `due_s`; with `anew`, the list from its start."""
    values = {"org": row.organization_id, "seen": row.reads, "why": why, "due_in": due_s}
    db.execute(_ANEW if anew else _PUT_OFF, values)


def listing(db: Connection) -> Sequence[Any]:
    """Every organisation's."""
    return db.execute(select(backfills).order_by(backfills.c.organization_id)).all()
