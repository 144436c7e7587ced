"""The webhook subscriptions that ought to be at Deel, and what the last look found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Connection, bindparam, delete, func, select, update

from onboarding.deel_wanted import Wanted
from onboarding.store.sql import from_now
from onboarding.store.tables import webhooks
from onboarding.store.upsert import insert_or_ignore

_ALL: Final = select(webhooks).order_by(webhooks.c.organization_id, webhooks.c.label)
_KEY: Final = (webhooks.c.organization_id == bindparam("org")) & (webhooks.c.label == bindparam("named"))
_SAW: Final = (
    update(webhooks)
    .where(_KEY, func.coalesce(webhooks.c.trouble, "") != bindparam("found"))
    .values(looked_at=from_now(), trouble=func.nullif(bindparam("found"), ""))
)
_LOOKED: Final = update(webhooks).where(_KEY).values(looked_at=from_now())


def expect(db: Connection, organization_id: str, wanted: Wanted, deel_id: str) -> None:
    """From now on it ought to be there: it has just been seen to be."""
    row = {"url": wanted.url, "events": " ".join(wanted.events), "deel_id": deel_id}
    insert_or_ignore(db, webhooks, organization_id=organization_id, label=wanted.label, **row)
    mine = (webhooks.c.organization_id == organization_id) & (webhooks.c.label == wanted.label)
    db.execute(update(webhooks).where(mine).values(**row, looked_at=from_now(), trouble=None))


def forget(db: Connection, organization_id: str, deel_id: str) -> None:
    """It ought not to be there any more."""
    db.execute(delete(webhooks).where(webhooks.c.organization_id == organization_id, webhooks.c.deel_id == deel_id))


def expected(db: Connection) -> Sequence[Any]:
    """Every one of every organisation."""
    return db.execute(_ALL).all()


def wanted_of(row: Any) -> Wanted:
    """What one of `expected` ought to be like."""
    return Wanted(row.label, row.url, tuple(row.events.split()))


def saw(db: Connection, row: Any, trouble: str | None) -> bool:
    """Keep what a look found. True: it was not so at the look before, so that one look tells it, once."""
    key = {"org": row.organization_id, "named": row.label}
    if db.execute(_SAW, {**key, "found": trouble or ""}).rowcount == 1:
        return True
    db.execute(_LOOKED, key)
    return False
