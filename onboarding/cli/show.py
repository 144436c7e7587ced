"""`onboarding show`: one run, whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import click
from sqlalchemy import Connection

from onboarding.cli.advice import advice_of, next_commands
from onboarding.cli.options import examples, json_option
from onboarding.cli.printing import (
    Column,
    hint,
    length,
    moment,
    on_terminal,
    print_json,
    print_pairs,
    print_table,
    short_moment,
)
from onboarding.cli.refusal import unknown
from onboarding.cli.runs import run_object
from onboarding.cli.start import open_store, start
from onboarding.store import runs

COLUMNS: Final = (
    Column("started"),
    Column("step"),
    Column("took", right=True),
    Column("outcome"),
    Column("reason"),
    Column("HTTP", right=True),
    Column("request id", spare=1),
)


@click.command("show", epilog=examples("onboarding show c-42", "onboarding show c-42 --json"))
@click.argument("name", metavar="RUN|CONTRACT")
@json_option
def show_command(*, name: str, as_json: bool) -> None:
    """Show a run: where it stands, every attempt, what to type next.

    A crashed attempt has no end: its worker died. Times are in UTC.
    """
    with open_store(start()) as store:
        row, attempts = store.read(lambda db: _look(db, name))
    if as_json:
        timeline = [_attempt_object(attempt, row) for attempt in attempts]
        print_json({**run_object(row), "timeline": timeline})
        return
    print_pairs(_header(row, attempts))
    if attempts:
        click.echo()
        print_table(COLUMNS, [_cells(attempt, row) for attempt in attempts])
    commands = next_commands([row])
    if commands:
        hint("\n" + "\n".join(f"next  {command}" for command in commands))


def _look(db: Connection, name: str) -> tuple[Any, Sequence[Any]]:
    row = runs.find(db, name)
    if row is None:
        raise unknown(name)
    return row, runs.timeline(db, row.id)


def _header(row: Any, attempts: Sequence[Any]) -> list[tuple[str, str]]:
    """Labels and values, without those that have none."""
    expires = row.token_expires_at
    life = f"in {length(expires - row.now)}" if expires and expires > row.now else "it has expired"
    pairs = [
        ("contract", row.contract_id),
        ("run", row.id),
        ("organisation", row.organization_id),
        ("state", row.state),
        ("step", row.step),
        ("reason", row.reason),
        ("", advice_of(row.reason)),
        ("next try", moment(row.next_attempt_at)),
        ("profile", row.hris_profile_id),
        ("token until", f"{moment(expires)} ({life})" if expires else None),
        ("created", moment(row.created_at)),
        ("updated", moment(row.updated_at)),
        ("last request", next((each.request_id for each in reversed(attempts) if each.request_id), None)),
    ]
    return [(label, value) for label, value in pairs if value]


def _attempt_object(attempt: Any, row: Any) -> dict[str, Any]:
    return {
        "step": attempt.step,
        "started_at": attempt.started_at,
        "ended_at": attempt.ended_at,
        "outcome": _outcome(attempt, row),
        "reason": attempt.reason,
        "http_status": attempt.http_status,
        "request_id": attempt.request_id,
    }


def _outcome(attempt: Any, row: Any) -> str | None:
    """None: a worker is at it. One whose lease ran out has crashed, though nobody has written that yet."""
    held = row.lease_until is not None and row.lease_until > row.now and attempt.fence == row.fence
    return attempt.outcome or (None if held else "crashed")


def _cells(attempt: Any, row: Any) -> tuple[str, ...]:
    started = short_moment(attempt.started_at) if on_terminal() else moment(attempt.started_at)
    took = length(attempt.ended_at - attempt.started_at) if attempt.ended_at else ""
    outcome, http = _outcome(attempt, row) or "running", str(attempt.http_status or "")
    return started, attempt.step, took, outcome, attempt.reason or "", http, attempt.request_id or ""
