"""The vault's data keys, one per worker or contract, each wrapped by a key of VAULT_KEYS."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, func, select, update

from onboarding.store.tables import data_keys
from onboarding.store.upsert import insert_or_ignore
from onboarding.vault import DataKey, Keyring, VaultError, WrappedKey

_OF = select(data_keys).where(data_keys.c.subject == bindparam("of"))


def get(db: Connection, keyring: Keyring, subject: str) -> DataKey:
    """The subject's data key. Raises VaultError when it was erased or its wrapping key is missing."""
    return _unwrapped(keyring, db.execute(_OF, {"of": subject}).one_or_none())


def _unwrapped(keyring: Keyring, row: Row[Any] | None) -> DataKey:
    if row is None:
        raise VaultError("the data key was erased: nothing that it sealed can be read again")
    wrapped = WrappedKey(id=row.id, subject=row.subject, master_key_id=row.master_key_id, blob=row.wrapped)
    return keyring.unwrap(wrapped)


def get_or_make(db: Connection, keyring: Keyring, subject: str, *, likely_new: bool = False) -> DataKey:
    """The subject's data key, made now if it has none. Of two that make it at once, one wins.

    `likely_new`: it is not looked for first.
    """
    row = None if likely_new else db.execute(_OF, {"of": subject}).one_or_none()
    if row is not None:
        return _unwrapped(keyring, row)
    key, made = keyring.new_data_key(subject)
    row_of_it = {"id": made.id, "master_key_id": made.master_key_id, "wrapped": made.blob}
    if insert_or_ignore(db, data_keys, subject=subject, **row_of_it):
        return key
    return get(db, keyring, subject)


def erase(db: Connection, subjects: Sequence[str]) -> None:
    """Destroy these subjects' data keys: nothing that they sealed can be read again, in a backup neither."""
    db.execute(delete(data_keys).where(data_keys.c.subject.in_(subjects)))


def by_master_key(db: Connection) -> dict[str, int]:
    """How many data keys each key of the vault wraps."""
    query = select(data_keys.c.master_key_id, func.count()).group_by(data_keys.c.master_key_id)
    return dict(map(tuple, db.execute(query.order_by(data_keys.c.master_key_id))))


@dataclass(frozen=True)
class Batch:
    """Some data keys of a rotation, in the order of their subjects."""

    rewrapped: int
    refused: tuple[str, ...]  # a line for each that does not open: it stays as it is
    last: str | None  # the next batch begins behind this subject; None: there is none


def rewrap(db: Connection, keyring: Keyring, limit: int, after: str = "") -> Batch:
    """Wrap up to `limit` data keys anew, by the first key: those behind the subject `after`.

    One that does not open holds up none of the others.
    """
    older = (data_keys.c.master_key_id != keyring.first) & (data_keys.c.subject > after)
    rows = db.execute(select(data_keys).where(older).order_by(data_keys.c.subject).limit(limit).with_for_update()).all()
    refused = []
    for row in rows:
        wrapped = WrappedKey(id=row.id, subject=row.subject, master_key_id=row.master_key_id, blob=row.wrapped)
        try:
            fresh = keyring.rewrap(wrapped)
        except VaultError as error:
            refused.append(f"data key {row.id}: {error}")
            continue
        db.execute(
            update(data_keys)
            .where(data_keys.c.subject == row.subject, data_keys.c.id == row.id)
            .values(master_key_id=fresh.master_key_id, wrapped=fresh.blob)
        )
    return Batch(len(rows) - len(refused), tuple(refused), rows[-1].subject if rows else None)
