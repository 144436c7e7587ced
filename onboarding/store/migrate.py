"""Migrations, run from code: expand, then contract, so that the release before runs on the schema after."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from onboarding.store.engine import Store

_LOCK = 0x6F6E626F  # any number, the same in every release


def upgrade(store: Store) -> tuple[str | None, str]:
    """Bring the schema to the newest revision; returns the revision before and after.

    Two at once do no harm: one waits. A table that is in use for longer than 4 s stops it with nothing changed.
    """
    with store.engine.begin() as db:
        if db.dialect.name == "postgresql":
            db.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
            db.execute(text("SET LOCAL lock_timeout = '4s'"))
            db.execute(text("SET LOCAL statement_timeout = '60s'"))
        before = _current(db)
        config = _config()
        config.attributes["connection"] = db
        command.upgrade(config, "head")
        return before, head()


def current(store: Store) -> str | None:
    """The schema's revision; None: an empty store."""
    return store.read(_current)


def head() -> str:
    """The newest revision that this release knows."""
    return str(ScriptDirectory.from_config(_config()).get_current_head())


def _current(db: Connection) -> str | None:
    return MigrationContext.configure(db).get_current_revision()


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    config.set_main_option("path_separator", "os")
    return config
