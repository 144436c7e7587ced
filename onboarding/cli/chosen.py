"""The runs that a command line names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row

from onboarding.cli.refusal import unknown
from onboarding.store import runs


def chosen(db: Connection, names: Sequence[str]) -> list[Row[Any]]:
    """Each run once, in the order of the names. Raises Refusal, naming them, where some are unknown."""
    rows = {name: runs.find(db, name) for name in names}
    missing = [name for name, row in rows.items() if row is None]
    if missing:
        raise unknown(*missing)
    return list({row.id: row for row in rows.values() if row is not None}.values())


def called(row: Row[Any]) -> str:
    """As messages name a run."""
    return f"run {row.id} (contract {row.contract_id})"
