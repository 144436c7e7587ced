"""What became of the demo: a table, one run's timeline, what to type next; and whether all is as it should be."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click

from onboarding.cli import scenario
from onboarding.cli.printing import Column, print_table
from onboarding.cli.start import FOLDER, use_the_demos_store
from onboarding.runs import State
from onboarding.settings import load
from onboarding.simulator import Simulator, Sink
from onboarding.store import runs, tokens
from onboarding.store.engine import Store

LOG: Final = FOLDER / "demo.log"
SHOWN: Final = "c-superseded"


def program() -> str:
    """How this program is called from any folder."""
    typed = Path(sys.argv[0]).absolute()
    found = shutil.which("onboarding")
    if typed.name != "onboarding" or not typed.is_file() or (found and Path(found).absolute() == typed):
        return "onboarding"
    return shlex.quote(str(typed))


@dataclass(frozen=True)
class Report:
    """Prints what became of it."""

    deel: Simulator
    sink: Sink
    store: Store
    took_s: float

    def show(self) -> None:
        """To a terminal, or plain to a pipe."""
        rows = {row.contract_id: row for row in self.store.read(runs.listing)}
        ledger = self.deel.ledger
        events = ", ".join(f"{count} {word}" for word, count in self.store.read(runs.stats)["events"].items())
        click.echo()
        _show_cases(rows)
        click.echo(f"\nTimeline of {SHOWN}:")
        _show_timeline(self.store, SHOWN)
        click.echo(f"\nEvents: {events}. Notifications: {len(self.sink.unique())}.")
        click.echo(
            f"Calls to Deel: {ledger.count()}, refused {ledger.refused()},"
            f" worst second {ledger.worst_second()} of 5. Took {self.took_s:.1f} s."
        )
        click.echo("\nLook around; the demo's store stays until the next demo:")
        click.echo(f"  {use_the_demos_store()}")
        for command in ("runs", f"show {SHOWN}", "show c-contractor", "stats", "dead list"):
            click.echo(f"  {program()} {command}")
        click.echo("  unset ONBOARDING_DATABASE_URL")


def verdicts(deel: Simulator, sink: Sink, store: Store) -> list[str]:
    """What is not as the story says; empty when all is."""
    rows = {row.contract_id: row for row in store.read(runs.listing)}
    faults = [fault for case in scenario.CASES for fault in _case_faults(case, rows.get(case.contract), deel, store)]
    events = store.read(runs.stats)["events"]
    if events != scenario.DISPOSITIONS:
        faults.append(f"events {events}, expected {scenario.DISPOSITIONS}")
    told = Counter(received.body.get("type") for received in sink.unique())
    ends = Counter(case.state for case in scenario.CASES)
    expected = {"onboarding.completed": ends[State.COMPLETED], "onboarding.failed": ends[State.FAILED]}
    if dict(told) != expected or not all(received.verified for received in sink.received):
        faults.append(f"notifications {dict(told)}, expected {expected}, each with a good signature")
    return faults  # a refused call is no fault: a busy machine sends late, the call is made again, the report says so


def _case_faults(case: scenario.Case, row: Any, deel: Simulator, store: Store) -> list[str]:
    if row is None:
        return [f"{case.contract} has no run"]
    if (row.state, row.reason) != (case.state, case.reason):
        return [f"{case.contract} is {row.state} ({row.reason}), expected {case.state} ({case.reason})"]
    met = Counter(attempt.outcome for attempt in store.read(lambda db: runs.timeline(db, row.id)))
    if not Counter(case.met) <= met:
        return [f"{case.contract} met {dict(met)}, expected {', '.join(case.met)} among them"]
    if case.state is not State.COMPLETED:
        return []
    live = store.read(lambda db: tokens.live(db, load().keyring(), row.hris_profile_id))
    if live is None or live.token.get_secret_value() != deel.live_token(case.contract):
        return [f"{case.contract}: the vault's token is not the one that is live at Deel"]
    if len(deel.profiles_of(case.contract)) != 1:
        return [f"{case.contract} has {len(deel.profiles_of(case.contract))} profiles at Deel"]
    return []


def _show_cases(rows: dict[str, Any]) -> None:
    columns = (Column("contract"), Column("what is special"), Column("state"), Column("reason"))
    lines = []
    for case in scenario.CASES:
        row = rows.get(case.contract)
        ended = (row.state, row.reason or "", str(row.attempts)) if row else ("no run", "", "")
        lines.append((case.contract, case.special, *ended))
    print_table((*columns, Column("attempts", spare=1, right=True)), lines)


def _show_timeline(store: Store, contract: str) -> None:
    headings = (Column("started"), Column("step"), Column("outcome"), Column("reason"), Column("HTTP", right=True))
    row = store.read(lambda db: runs.find(db, contract))
    attempts = store.read(lambda db: runs.timeline(db, row.id)) if row else ()
    print_table(
        headings,
        [
            (
                each.started_at.strftime("%H:%M:%S.%f")[:-3],
                each.step,
                each.outcome or "crashed",
                each.reason or "",
                str(each.http_status or ""),
            )
            for each in attempts
        ],
    )
