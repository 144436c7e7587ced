"""Consents cannot be changed: the database itself refuses."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import delete, text, update
from sqlalchemy.exc import DBAPIError

from onboarding.store import consents
from onboarding.store.engine import Store
from onboarding.store.sql import from_now
from onboarding.store.tables import consents as table


@pytest.fixture
def consented(store: Store) -> Store:
    """One line."""
    line = {"evidence": "DOC-1", "version": "terms-3", "who": "hr", "channel": "portal"}
    store.write(lambda db: consents.record(db, "c-1", **line))
    return store


@pytest.mark.parametrize(
    "changed",
    [
        {"given": False},
        {"evidence": "DOC-2"},
        {"version": "terms-4"},
        {"who": "nobody"},
        {"channel": None},
        {"contract_id": "c-2"},
        {"decided_at": None},
        {"at": from_now(9.0)},
    ],
)
def test_no_column_of_a_consent_can_be_changed(consented: Store, changed: dict[str, Any]):
    """By no statement of ours, nor of anybody who may write to the store."""
    with pytest.raises(DBAPIError, match="append-only"):
        consented.write(lambda db: db.execute(update(table).values(changed)))


def test_no_consent_can_be_deleted(consented: Store):
    """Neither."""
    with pytest.raises(DBAPIError, match="append-only"):
        consented.write(lambda db: db.execute(delete(table)))


def test_the_table_cannot_be_emptied(postgres_url: str):
    """PostgreSQL has another word for it."""
    store = Store(postgres_url)
    with pytest.raises(DBAPIError, match="append-only"):
        store.write(lambda db: db.execute(text("TRUNCATE consents")))
    store.close()


def test_an_erasure_forgets_the_proof_and_nothing_else(consented: Store):
    """And not under a pretext."""
    pretext = update(table).values(evidence=consents.ERASED, given=False)
    with pytest.raises(DBAPIError, match="append-only"):
        consented.write(lambda db: db.execute(pretext))
    for _ in range(2):
        consented.write(lambda db: consents.redact(db, "c-1"))
    (line,) = consented.read(lambda db: consents.of_contract(db, "c-1"))
    assert (line.given, line.evidence, line.version, line.who) == (True, "(erased)", "terms-3", "hr")


def test_withdrawn_is_not_the_same_as_never_given(store: Store):
    """A replay is refused for the one only."""

    def standing(contract: str) -> tuple[bool, bool]:
        asked: Any = store.read(lambda db: (consents.given(db, contract), consents.withdrawn(db, contract)))
        return asked

    assert standing("c-1") == (False, False)
    store.write(lambda db: consents.record(db, "c-1", evidence="e", version="1", who="hr", given=False))
    assert standing("c-1") == (False, True)
