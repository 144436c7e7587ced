"""INSERT ... ON CONFLICT DO NOTHING, which both databases know and SQLAlchemy spells twice."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite


def insert_or_ignore(db: Connection, table: Table, **values: Any) -> bool:
    """Insert one row unless one with its key is there. False: it was."""
    make = postgresql.insert if db.dialect.name == "postgresql" else sqlite.insert
    statement = make(table).values(**values).on_conflict_do_nothing().returning(*table.primary_key)
    return db.execute(statement).first() is not None  # the row count is not told beside a generated key
