"""Right to erasure: which contracts are one worker's, and dead letters that tell of them.

All else that is personal is sealed by the worker's or the contract's data key, which `endings.erase` destroys. Dead
letters share a key, as nobody could make out whose they are: those that name the worker are deleted.
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Row, delete, or_, select

from onboarding.runs import Reason, State
from onboarding.store import events, facts
from onboarding.store.tables import dead_letters, runs
from onboarding.vault import Keyring, VaultError

BATCH: Final = 200


@dataclass(frozen=True)
class Swept:
    """So many letters were deleted, and so many did not open. `after`: the next batch begins behind it; None: none."""

    deleted: int
    sealed: int
    after: str | None


def others_of(db: Connection, rows: Sequence[Row[Any]]) -> list[str]:
    """Further contracts of the same workers, not erased yet: one person has one token, and one erasure."""
    profiles = {row.hris_profile_id for row in rows} - {None}
    of_them = select(runs.c.contract_id).where(runs.c.hris_profile_id.in_(profiles))
    left = or_(runs.c.state != State.CANCELLED, runs.c.reason.is_(None), runs.c.reason != Reason.ERASED)
    found = of_them.where(runs.c.contract_id.not_in([row.contract_id for row in rows]), left)
    return list(db.execute(found.order_by(runs.c.contract_id)).scalars()) if profiles else []


def names_of(db: Connection, keyring: Keyring, rows: Sequence[Row[Any]]) -> list[str]:
    """By what a dead letter could tell of these contracts' workers: ids, and addresses while they can be read."""
    names = {name for row in rows for name in (row.contract_id, row.hris_profile_id) if name}
    for row in rows:
        if row.emails_sealed is not None:
            names |= set(facts.emails_in(db, keyring, row))
    return sorted(names)


def sweep(db: Connection, keyring: Keyring, names: Iterable[str], after: str = "") -> Swept:
    """Delete those of the next dead letters that hold one of the names, whole, in whichever case."""
    pattern = re.compile("|".join(rf"(?<![\w.-]){re.escape(name)}(?![\w-])" for name in names), re.IGNORECASE)
    looked = select(dead_letters.c.id).where(dead_letters.c.id > after).order_by(dead_letters.c.id).limit(BATCH)
    ids = list(db.execute(looked).scalars())
    going, sealed = [], 0
    for letter in ids:
        try:
            content = events.open_letter(db, keyring, letter)
        except VaultError:
            sealed += 1
            continue
        if content is not None and pattern.search(_text(content.get_secret_value())):
            going.append(letter)
    if going:
        db.execute(delete(dead_letters).where(dead_letters.c.id.in_(going)))
    return Swept(len(going), sealed, ids[-1] if len(ids) == BATCH else None)


def _text(content: str) -> str:
    """Headers, routing key and body: as they are, and as JSON would write what it need not escape."""
    letter = json.loads(content)
    body = base64.b64decode(letter.pop("body")).decode("utf-8", "replace")
    with contextlib.suppress(ValueError, RecursionError):
        body += json.dumps(json.loads(body), ensure_ascii=False)
    return f"{json.dumps(letter, ensure_ascii=False)} {body}"
