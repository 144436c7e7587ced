"""Migrations against the tables."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import text

from onboarding.runs import ACTIVE, PAUSING
from onboarding.store import migrate
from onboarding.store.engine import Store
from onboarding.store.tables import metadata, runs


def test_the_migrations_make_exactly_the_tables(store: Store):
    """A column that is in the tables and in no migration would fail in production only."""
    with store.engine.connect() as db:
        assert compare_metadata(MigrationContext.configure(db, opts={"compare_type": True}), metadata) == []


def test_an_indexs_condition_names_the_words_that_queries_ask_for():
    """A new reason to pause, or a new state, that is missing in it would make a query read all that waits."""
    conditions = {str(index.name): str(index.dialect_options["postgresql"]["where"]) for index in runs.indexes}

    def named(words: Sequence[str]) -> str:
        return f"IN ({', '.join(repr(str(word)) for word in words)})"

    assert conditions["ix_runs_line"] == f"state {named(ACTIVE)}"
    assert named(ACTIVE[:2]) in conditions["ix_runs_under_way"]
    assert conditions["ix_runs_held_up"] == f"state {named(ACTIVE[2:])} AND reason {named(PAUSING)}"


def test_upgrading_again_changes_nothing(store: Store):
    """`db upgrade` may be typed at any time."""
    assert migrate.upgrade(store) == (migrate.head(), migrate.head())
    assert migrate.current(store) == migrate.head()


def test_an_empty_store_says_so(tmp_path: Path):
    """No revision, no error."""
    store = Store(f"sqlite:///{tmp_path / 'new.db'}")
    assert migrate.current(store) is None
    store.close()


def test_two_upgrades_at_once_do_no_harm(postgres_url: str):
    """Two deploys that start together: one migrates, the other finds it done."""
    stores = [Store(postgres_url) for _ in range(2)]
    with stores[0].engine.begin() as db:
        db.execute(text("DROP SCHEMA public CASCADE"))
        db.execute(text("CREATE SCHEMA public"))
    with ThreadPoolExecutor(2) as pool:
        before = {result[0] for result in pool.map(migrate.upgrade, stores)}
    for store in stores:
        store.close()
    assert before == {None, migrate.head()}
