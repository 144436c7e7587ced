"""`onboarding runs`: the list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import click

from onboarding.cli.advice import advice_of, commanded, next_commands
from onboarding.cli.options import examples, json_option
from onboarding.cli.printing import Column, hint, length, moment, on_terminal, print_json, print_table
from onboarding.cli.start import open_store, start
from onboarding.runs import ACTIVE, Reason, State
from onboarding.store import runs

COLUMNS: Final = (
    Column("contract"),
    Column("state"),
    Column("step"),
    Column("reason"),
    Column("attempts", spare=2, right=True),
    Column("updated", spare=1),
    Column("run", spare=3),
    Column("organisation", spare=4),
)
LIMIT: Final = 50
STATES: Final = [state.value for state in State]
REASONS: Final = [reason.value for reason in Reason]


@click.command("runs", epilog=examples("onboarding runs --state failed", "onboarding runs --reason not_eor --json"))
@click.option("--state", type=click.Choice(STATES), help="Only runs in this state.")
@click.option("--reason", type=click.Choice(REASONS), metavar="REASON", help="Only runs with this reason.")
@click.option("--limit", type=click.IntRange(min=1), default=LIMIT, show_default=True, help="At most so many.")
@json_option
def runs_command(*, state: str | None, reason: str | None, limit: int, as_json: bool) -> None:
    """List runs, the newest first.

    On a narrow terminal some columns are left out; in a pipe all are there, with times in UTC.
    """
    wanted = State(state) if state else None
    settings = start()
    with open_store(settings) as store:
        rows = store.read(lambda db: runs.listing(db, state=wanted, reason=reason, limit=limit + 1))
        stuck = {} if as_json else store.read(lambda db: runs.stuck(db, state=wanted, reason=reason))
    shown, more = rows[:limit], len(rows) > limit
    if as_json:
        print_json([run_object(row) for row in shown])
    elif shown:
        print_table(COLUMNS, [_cells(row) for row in shown])
        _advise(shown, stuck)
        if settings.embedded and any(row.state in ACTIVE for row in shown):
            hint("Runs go on while `onboarding up` runs.")
    else:
        hint("No run is like that." if state or reason else "No run yet. next  onboarding send CONTRACT")
    if more:
        hint(f"The newest {limit}; there are more: --limit")


def run_object(row: Any) -> dict[str, Any]:
    """A run, as JSON has it."""
    return {
        "run_id": row.id,
        "organization_id": row.organization_id,
        "contract_id": row.contract_id,
        "state": row.state,
        "step": row.step,
        "reason": row.reason,
        "attempts": row.attempts,
        "hris_profile_id": row.hris_profile_id,
        "token_expires_at": row.token_expires_at,
        "created_at": row.created_at,
        "updated_at": row.updated_at,
    }


def _cells(row: Any) -> tuple[str, ...]:
    updated = f"{length(datetime.now(UTC) - row.updated_at)} ago" if on_terminal() else moment(row.updated_at)
    about = (row.contract_id, row.state, row.step, row.reason or "")
    return (*about, str(row.attempts), updated, row.id, row.organization_id)


def _advise(rows: Sequence[Any], stuck: Mapping[tuple[str, str], int]) -> None:
    """For each reason of all runs that were asked for, shown or not: what it means, and what to type."""
    for (state, reason), count in stuck.items():
        hint(f"\n{state}, {reason}: {count}\n  why   {advice_of(reason)}")
        alike = [row for row in rows if (row.state, row.reason) == (state, reason)]
        commands = next_commands(alike) if alike else []
        for command in commands:
            hint(f"  next  {command}")
        left = count - (commanded(alike) if alike else 0)
        if left > 0 and (commands or not alike):
            limit = f" --limit {count}" if count > LIMIT else ""
            hint(f"        and {left} more: onboarding runs --state {state} --reason {reason}{limit} --json")
