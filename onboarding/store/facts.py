"""What is known of a contract's worker, sealed under the contract's data key."""

from __future__ import annotations

import json
from typing import Any

from pydantic import SecretStr
from sqlalchemy import Connection, bindparam, select

from onboarding.runs import Facts
from onboarding.store import data_keys
from onboarding.store.tables import runs
from onboarding.vault import Keyring, open_sealed, seal

COLUMN = "runs.emails_sealed"
_OF_PROFILE = (
    select(runs.c.contract_id, runs.c.emails_sealed)
    .where(runs.c.hris_profile_id == bindparam("profile"), runs.c.emails_sealed.is_not(None))
    .order_by(runs.c.created_at)
)


def columns(
    db: Connection, keyring: Keyring, contract_id: str, facts: Facts, *, new_contract: bool = False
) -> dict[str, Any]:
    """The columns of a run that hold these facts, but for their time. Makes the contract's data key where need be."""
    held: dict[str, Any] = {"contract_type": facts.contract_type}
    if facts.emails:
        key = data_keys.get_or_make(db, keyring, subject_of(contract_id), likely_new=new_contract)
        plain = SecretStr(json.dumps([email.get_secret_value() for email in facts.emails]))
        held["emails_sealed"] = seal(key, (contract_id, COLUMN), plain)
    return held


def emails_of(db: Connection, keyring: Keyring, profile: str) -> tuple[SecretStr, ...]:
    """The worker's addresses as every contract of theirs names them: two contracts may name different ones.

    Raises VaultError where the vault's keys do not open them.
    """
    found: dict[str, None] = {}
    for row in db.execute(_OF_PROFILE, {"profile": profile}):
        found |= dict.fromkeys(emails_in(db, keyring, row))
    return tuple(map(SecretStr, found))


def emails_in(db: Connection, keyring: Keyring, row: Any) -> list[str]:
    """The addresses that a run's row holds, for a comparison on the spot. Raises VaultError."""
    key = data_keys.get(db, keyring, subject_of(row.contract_id))
    plain = open_sealed(key, (row.contract_id, COLUMN), row.emails_sealed)
    emails: list[str] = json.loads(plain.get_secret_value())
    return emails


def subject_of(contract_id: str) -> str:
    """Whose data key seals them."""
    return f"contract:{contract_id}"
