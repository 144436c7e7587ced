"""INSERT ... ON CONFLICT DO NOTHING, which both databases know and SQLAlchemy spells twice."""

from __future__ import annotations

from functools import cache
from typing import Any

from sqlalchemy import Column, Connection, Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.dml import ReturningInsert


def insert_or_ignore(db: Connection, table: Table, **values: Any) -> bool:
    """Insert one row of plain values unless one with its key is there. False: it was."""
    return db.execute(or_ignore(db.dialect.name, table), values).first() is not None


@cache
def or_ignore(dialect: str, table: Table, *returning: Column[Any]) -> ReturningInsert[Any]:
    """The statement, whose parameters are columns; it returns these, or the key, of the row that it inserted."""
    insert = postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)
    return insert.on_conflict_do_nothing().returning(
        *(returning or table.primary_key)
    )  # no row count beside a generated key
