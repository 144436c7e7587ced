"""Tokens for Deel that belong to one organisation each, sealed in the vault under a data key of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import SecretStr
from sqlalchemy import Connection, bindparam, exists, func, or_, select, update

from onboarding.masking import remember_secret
from onboarding.runs import ACTIVE
from onboarding.store import data_keys
from onboarding.store.sql import from_now, one_of
from onboarding.store.tables import organizations, runs
from onboarding.store.upsert import insert_or_ignore
from onboarding.vault import Keyring, open_sealed, seal

COLUMN: Final = "organizations.token_sealed"

_OF = select(organizations.c.token_sealed, organizations.c.token_fingerprint).where(
    organizations.c.id == bindparam("of"), organizations.c.token_sealed.is_not(None)
)
_OF_FOR_UPDATE = select(organizations.c.token_sealed).where(organizations.c.id == bindparam("of")).with_for_update()
_ACTIVE = (
    select(func.count())
    .where(runs.c.organization_id == organizations.c.id, one_of(runs.c.state, ACTIVE))
    .scalar_subquery()
    .label("active")
)
_LISTED = (
    select(
        organizations.c.id,
        organizations.c.token_fingerprint,
        organizations.c.token_at,
        organizations.c.paused_reason,
        _ACTIVE,
    )
    .where(or_(organizations.c.token_sealed.is_not(None), organizations.c.paused_at.is_not(None)))
    .order_by(organizations.c.id)
)


_FINGERPRINTS = (
    select(organizations.c.id, organizations.c.token_fingerprint)
    .where(organizations.c.token_sealed.is_not(None))
    .order_by(organizations.c.id)
)


@dataclass(frozen=True)
class OwnToken:
    """An organisation's token as it lies in the store."""

    fingerprint: str
    sealed: bytes


def find(db: Connection, organization_id: str) -> OwnToken | None:
    """The organisation's own token, still sealed; None: it has none."""
    row = db.execute(_OF, {"of": organization_id}).one_or_none()
    return OwnToken(row.token_fingerprint, row.token_sealed) if row is not None else None


def reveal(db: Connection, keyring: Keyring, organization_id: str, own: OwnToken) -> SecretStr:
    """Open it. Raises VaultError where the vault's keys do not."""
    key = data_keys.get(db, keyring, _subject(organization_id))
    token = open_sealed(key, (organization_id, COLUMN), own.sealed)
    remember_secret(token)
    return token


def keep(db: Connection, keyring: Keyring, organization_id: str, token: SecretStr, fingerprint: str) -> bool:
    """Seal a token for an organisation. True: in the place of another one."""
    insert_or_ignore(db, organizations, id=organization_id)
    # the row is ours before the key is looked for: a removal at the same moment would destroy that one
    replaces = db.execute(_OF_FOR_UPDATE, {"of": organization_id}).scalar_one() is not None
    key = data_keys.get_or_make(db, keyring, _subject(organization_id))
    sealed = seal(key, (organization_id, COLUMN), token)
    db.execute(
        update(organizations)
        .where(organizations.c.id == organization_id)
        .values(token_sealed=sealed, token_fingerprint=fingerprint, token_at=from_now())
    )
    return replaces


def remove(db: Connection, organization_id: str) -> bool:
    """Destroy an organisation's token, and the data key that it was sealed by. False: it has none."""
    mine = (organizations.c.id == organization_id) & organizations.c.token_sealed.is_not(None)
    emptied = {"token_sealed": None, "token_fingerprint": None, "token_at": None}
    if db.execute(update(organizations).where(mine).values(**emptied)).rowcount == 0:
        return False
    data_keys.erase(db, [_subject(organization_id)])
    return True


def listing(db: Connection) -> Sequence[Any]:
    """Organisations with a token of their own, and paused ones; `active`: how many of its runs have not ended."""
    return db.execute(_LISTED).all()


def fingerprints(db: Connection) -> Sequence[Any]:
    """Of each organisation that has a token of its own: its id and its token's `token_fingerprint`."""
    return db.execute(_FINGERPRINTS).all()


def any_there(db: Connection) -> bool:
    """Whether any organisation has a token of its own."""
    return bool(db.execute(select(exists().where(organizations.c.token_sealed.is_not(None)))).scalar_one())


def _subject(organization_id: str) -> str:
    return f"organization:{organization_id}"
