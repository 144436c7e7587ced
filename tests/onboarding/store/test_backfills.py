"""How far the scheduled reading of a list has come."""

from __future__ import annotations

from typing import Any

from sqlalchemy import update

from onboarding.store import backfills
from onboarding.store.engine import Store
from onboarding.store.sql import from_now
from onboarding.store.tables import backfills as table


def due(store: Store) -> list[Any]:
    return list(store.read(backfills.due))


def begin(store: Store, *names: str) -> None:
    store.write(lambda db: backfills.know(db, names, 3600.0))
    store.write(lambda db: db.execute(update(table).values(due_at=from_now(-1))))


def test_a_new_one_is_due_after_the_first_hours(store: Store):
    """And who is known already is not put off by it."""
    store.write(lambda db: backfills.know(db, ["org-1"], 3600.0))
    assert due(store) == []
    begin(store, "org-1")
    store.write(lambda db: backfills.know(db, ["org-1"], 3600.0))
    assert [row.organization_id for row in due(store)] == ["org-1"]


def test_a_page_is_read_once(store: Store):
    """Of two processes that saw the same place, one moves it on."""
    begin(store, "org-1")
    (row,) = due(store)
    assert store.write(lambda db: backfills.read(db, row, "next"))
    assert not store.write(lambda db: backfills.read(db, row, "next"))
    (after,) = due(store)
    assert (after.cursor, after.pages, after.reads) == ("next", 1, 1)
    store.write(lambda db: backfills.put_off(db, row, "deel_unavailable", 60.0, anew=True))  # late: it changes nothing
    assert due(store) == [after]


def test_a_round_ends_and_the_next_begins_at_the_start(store: Store):
    """What it made is counted for ever; the pages are this round's."""
    begin(store, "org-1")
    (row,) = due(store)
    store.write(lambda db: backfills.read(db, row, "next"))
    store.write(lambda db: backfills.count(db, "org-1", 3, ended_s=None))
    store.write(lambda db: backfills.count(db, "org-1", 2, ended_s=3600.0))
    (row,) = store.read(backfills.listing)
    assert (row.cursor, row.pages, row.made, row.ended_at is not None, due(store)) == (None, 0, 5, True, [])
