"""The vault's data keys, one per worker or contract, each wrapped by a key of VAULT_KEYS."""

from __future__ import annotations

from sqlalchemy import Connection, func, select, update

from onboarding.store.tables import data_keys
from onboarding.store.upsert import insert_or_ignore
from onboarding.vault import DataKey, Keyring, VaultError, WrappedKey


def get(db: Connection, keyring: Keyring, subject: str) -> DataKey:
    """The subject's data key. Raises VaultError when it was erased or its wrapping key is missing."""
    row = db.execute(select(data_keys).where(data_keys.c.subject == subject)).one_or_none()
    if row is None:
        raise VaultError("the data key was erased: nothing that it sealed can be read again")
    wrapped = WrappedKey(id=row.id, subject=row.subject, master_key_id=row.master_key_id, blob=row.wrapped)
    return keyring.unwrap(wrapped)


def get_or_make(db: Connection, keyring: Keyring, subject: str) -> DataKey:
    """The subject's data key, made now if it has none. Of two that make it at once, one wins."""
    if db.execute(select(data_keys.c.id).where(data_keys.c.subject == subject)).one_or_none() is None:
        _, made = keyring.new_data_key(subject)
        insert_or_ignore(
            db, data_keys, subject=subject, id=made.id, master_key_id=made.master_key_id, wrapped=made.blob
        )
    return get(db, keyring, subject)


def by_master_key(db: Connection) -> dict[str, int]:
    """How many data keys each key of the vault wraps."""
    query = select(data_keys.c.master_key_id, func.count()).group_by(data_keys.c.master_key_id)
    return dict(map(tuple, db.execute(query.order_by(data_keys.c.master_key_id))))


def rewrap(db: Connection, keyring: Keyring, limit: int) -> int:
    """Wrap up to `limit` data keys anew, by the first key; returns how many. To be called until it returns 0."""
    old = select(data_keys).where(data_keys.c.master_key_id != keyring.first).limit(limit).with_for_update()
    rows = db.execute(old).all()
    for row in rows:
        wrapped = WrappedKey(id=row.id, subject=row.subject, master_key_id=row.master_key_id, blob=row.wrapped)
        fresh = keyring.rewrap(wrapped)
        db.execute(
            update(data_keys)
            .where(data_keys.c.subject == row.subject, data_keys.c.id == row.id)
            .values(master_key_id=fresh.master_key_id, wrapped=fresh.blob)
        )
    return len(rows)
