"""`onboarding show`: one run, whole."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import click
from sqlalchemy import Connection

from onboarding import notify
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
from onboarding.runs import ACTIVE, PAUSING, State
from onboarding.store import notifications, runs

COLUMNS: Final = (
    Column("started"),
    Column("step"),
    Column("took", right=True),
    Column("outcome"),
    Column("reason"),
    Column("HTTP", right=True),
    Column("request id", spare=1),
)

TARGET_COLUMNS: Final = (
    Column("target"),
    Column("message", spare=1),
    Column("state"),
    Column("tries", spare=2, right=True),
    Column("HTTP", right=True),
    Column("next try", spare=3),
)


@click.command("show", epilog=examples("onboarding show c-42", "onboarding show c-42 --json"))
@click.argument("name", metavar="RUN|CONTRACT")
@json_option
def show_command(*, name: str, as_json: bool) -> None:
    """Show a run: where it stands, every attempt, what to type next.

    A crashed attempt has no end: its worker died. Times are in UTC.
    """
    with open_store(start()) as store:
        row, attempts, told = store.read(lambda db: _look(db, name))
    if as_json:
        timeline = [_attempt_object(attempt, row) for attempt in attempts]
        targets = [_target_object(each, row) for each in told]
        more = {"timeline": timeline, "notifications": targets, "keep_alive": row.keep_alive}
        print_json({**run_object(row), **more})
        return
    print_pairs(_header(row, attempts))
    if attempts:
        click.echo()
        print_table(COLUMNS, [_cells(attempt, row) for attempt in attempts])
    if told:
        click.echo()
        print_table(TARGET_COLUMNS, [_target_cells(each, row) for each in told])
    commands = [command for command in next_commands([row]) if not command.startswith("onboarding show ")]
    if commands:
        hint("\n" + "\n".join(f"next  {command}" for command in commands))


def _look(db: Connection, name: str) -> tuple[Any, Sequence[Any], Sequence[Any]]:
    row = runs.find(db, name)
    if row is None:
        raise unknown(name)
    return row, runs.timeline(db, row.id), notifications.of_run(db, row.id)


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
        ("", advice_of(row.reason) if row.state != State.CANCELLED else ""),
        ("next try", moment(row.next_attempt_at) if row.reason not in PAUSING else None),
        ("profile", row.hris_profile_id),
        ("token until", f"{moment(expires)} ({life})" if expires else None),
        ("kept alive", "yes" if row.keep_alive else None),
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


def _target_object(told: Any, row: Any) -> dict[str, Any]:
    completed = told.message_id == notify.message_id(row.id, notify.COMPLETED)
    return {
        "target": told.target,
        "type": notify.COMPLETED if completed else notify.FAILED,
        "state": _target_state(told, row, completed=completed),
        "tries": told.tries,
        "http_status": told.http_status,
        "next_try_at": _next_try(told, row, completed=completed),
    }


def _target_state(told: Any, row: Any, *, completed: bool) -> str:
    """`open`: it will be tried. `not_delivered`: the run ended before it could be; a replay tries again."""
    if told.delivered_at:
        return "delivered"
    if told.refused_at:
        return "refused"
    return "not_delivered" if completed and row.state not in ACTIVE else "open"


def _next_try(told: Any, row: Any, *, completed: bool) -> datetime | None:
    """`onboarding.completed` goes with its run's step, `onboarding.failed` has a time of its own."""
    if _target_state(told, row, completed=completed) != "open":
        return None
    at: datetime | None = row.next_attempt_at if completed else told.next_try_at
    return at


def _target_cells(told: Any, row: Any) -> tuple[str, ...]:
    about = _target_object(told, row)
    http, at = str(about["http_status"] or ""), moment(about["next_try_at"])
    return about["target"], about["type"], about["state"].replace("_", " "), str(about["tries"]), http, at
