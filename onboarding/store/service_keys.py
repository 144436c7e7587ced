"""Service keys of the token service, by what is left of them: a digest; and how often each is used.

The rate is counted here, so that it holds for all processes together: one row per key, whose `due_at` each request
moves on by its share of a minute. Who is further ahead of the clock than BURST_S comes too often.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Connection, Row, bindparam, case, or_, select, update

from onboarding.service_keys import NewKey, Scope
from onboarding.store.sql import clock, epoch, from_now
from onboarding.store.tables import service_keys
from onboarding.store.upsert import insert_or_ignore

BURST_S: Final = 10.0
"""So many seconds' worth of requests may come at once."""

_T, _NOW = service_keys.c, epoch()
_STEP = 60.0 / _T.per_minute
_BY_ID = select(service_keys, (_T.due_at - _NOW - BURST_S).label("early_s")).where(_T.id == bindparam("key"))
_BY_NAME = select(service_keys).where(_T.name == bindparam("named"))
_JUMPED = _T.due_at > _NOW + BURST_S + _STEP + 1.0  # written before the clock was set back
_TAKE = (
    update(service_keys)
    .where(_T.id == bindparam("key"), _T.revoked_at.is_(None), or_(_T.due_at <= _NOW + BURST_S, _JUMPED))
    .values(due_at=case((_JUMPED, _NOW), (_T.due_at > _NOW, _T.due_at), else_=_NOW) + _STEP, last_used_at=clock())
)
_REVOKE = update(service_keys).where(_T.name == bindparam("named"), _T.revoked_at.is_(None))
_LISTED = select(service_keys).order_by(_T.created_at, _T.id)


def add(db: Connection, new: NewKey, *, name: str, scope: Scope, organization_id: str | None, per_minute: int) -> bool:
    """Keep a new key's digest. False: another key has this name, or had it; audit lines go by it."""
    values = {"id": new.id, "name": name, "digest": new.digest, "scope": scope}
    insert_or_ignore(db, service_keys, **values, organization_id=organization_id, per_minute=per_minute)
    row = db.execute(_BY_NAME, {"named": name}).one_or_none()
    return row is not None and row.id == new.id


def find(db: Connection, key_id: str) -> Row[Any] | None:
    """A key's row, the revoked ones' too; `early_s`: by how much it comes too early."""
    return db.execute(_BY_ID, {"key": key_id}).one_or_none()


def take(db: Connection, key_id: str) -> bool:
    """A request of the key's rate. False: it comes too early, or was revoked."""
    return db.execute(_TAKE, {"key": key_id}).rowcount == 1


def revoke(db: Connection, name: str) -> Row[Any] | None:
    """From now on it opens nothing. None: there is no key of this name. Again, it does no harm."""
    db.execute(_REVOKE.values(revoked_at=from_now()), {"named": name})
    return db.execute(_BY_NAME, {"named": name}).one_or_none()


def listing(db: Connection) -> Sequence[Any]:
    """Every key, the oldest first, revoked ones too."""
    return db.execute(_LISTED).all()
