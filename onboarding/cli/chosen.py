"""The runs that a command line names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row

from onboarding.cli.refusal import unknown
from onboarding.store import runs


def chosen(db: Connection, names: Sequence[str]) -> list[Row[Any]]:
    """Each run once, in the order of the names. Raises Refusal, naming them, where some are unknown."""
    rows = runs.find_all(db, names)
    missing = [name for name in dict.fromkeys(names) if name not in rows]
    if missing:
        raise unknown(*missing)
    return list({rows[name].id: rows[name] for name in names}.values())


def called(row: Row[Any]) -> str:
    """As messages name a run."""
    return f"run {row.id} (contract {row.contract_id})"
