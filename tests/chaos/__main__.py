"""`make chaos`: every scenario, then the storm, from one seed; the raw outcome goes to tests/chaos/results."""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from tests.bench import machine
from tests.chaos import plays  # noqa: F401 - it puts the scenarios on the list
from tests.chaos.auditor import PROMISES
from tests.chaos.ending import Outcome, Say
from tests.chaos.plant import Servers, servers
from tests.chaos.scenarios import SCENARIOS, enact
from tests.chaos.servers import Missing
from tests.chaos.storm import FULL, SHORT, weather

RESULTS: Final = Path(__file__).parent / "results"
STORM: Final = "storm"
SWITCH_S: Final = 0.0005
"""The simulated Deel stamps arrivals in this process: the audits beside it must not make them late."""


def main() -> None:
    """Run them, tell of them, and exit 1 where a promise was broken."""
    words = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    words.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000))
    words.add_argument("--short", action="store_true", help="the form that CI runs")
    words.add_argument(
        "--only", action="append", help=f"scenarios whose name holds this, or {STORM!r}; may be repeated"
    )
    words.add_argument("--keep", type=Path, help="a folder for the logs; else they go")
    words.add_argument("--list", action="store_true", help="the scenarios' names, and no more")
    said = words.parse_args(namespace=argparse.Namespace(not_played=[]))
    console = Console(soft_wrap=True, highlight=False)
    if said.list:
        console.print("\n".join([each.name for each in SCENARIOS] + [STORM]), markup=False)
        return
    console.print(f"Seed {said.seed}.")
    sys.setswitchinterval(SWITCH_S)
    outcomes = []
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder, servers(Path(folder)) as ours:
        for outcome in outcomes_of(said, ours, said.keep or Path(folder) / "logs", teller(console)):
            outcomes.append(outcome)
            verdict = "kept" if outcome.is_calm else "[red]BROKEN[/]"
            console.print(f"{verdict}  {outcome.name}, {outcome.took_s:.0f} s, {states(outcome)}")
            for finding in [
                *filter(None, [outcome.error]),
                *map(str, outcome.audit.findings[:20]),
                *outcome.leaks[:20],
            ]:
                console.print(f"    {finding}", markup=False)
    console.print()
    console.print(table(outcomes))
    calm = bool(outcomes) and not said.not_played and all(outcome.is_calm for outcome in outcomes)
    for name in said.not_played:
        console.print(f"not played: {name}", markup=False)
    console.print(f"Seed {said.seed}: {'every promise was kept' if calm else 'not every promise was seen kept'}.")
    if said.only is None:
        write(outcomes, "short" if said.short else "full")
    sys.exit(0 if calm else 1)


def outcomes_of(said: argparse.Namespace, ours: Servers, logs: Path, say: Say) -> Iterator[Outcome]:
    """One scenario after the other; the storm comes last. One that a missing program keeps from playing is named."""
    for number, each in enumerate(SCENARIOS):
        if wanted(said, each.name) and (each.short or not said.short):
            say(each.name)
            try:
                yield enact(each, ours, logs / str(number), said.seed, say)
            except Missing as away:
                say(f"not played: {away}")
                said.not_played.append(each.name)
    if wanted(said, STORM):
        say(STORM)
        yield weather(ours, logs / STORM, said.seed, SHORT if said.short else FULL, say)


def wanted(said: argparse.Namespace, name: str) -> bool:
    """By --only."""
    return said.only is None or any(part in name for part in said.only)


def teller(console: Console) -> Callable[[str], None]:
    """Lines with the seconds since the start."""
    began = time.monotonic()
    return lambda line: console.print(f"{time.monotonic() - began:6.0f} s  {line}", markup=False)


def states(outcome: Outcome) -> str:
    """How many runs ended how, and what an engineer had to replay."""
    ended = ", ".join(f"{count} {state}" for state, count in sorted(outcome.audit.states.items()))
    parked = ", ".join(f"{count} {reason}" for reason, count in sorted(outcome.parked.items()))
    return f"runs: {ended}" + (f"; replayed: {parked}" if parked else "")


def table(outcomes: list[Outcome]) -> Table:
    """Blows and broken promises, all scenarios together."""
    drawn = Table(box=None, pad_edge=False, header_style="bold")
    drawn.add_column("what")
    drawn.add_column("count", justify="right")
    drawn.add_row("scenarios", str(len(outcomes)))
    drawn.add_row("runs", str(sum(sum(outcome.audit.states.values()) for outcome in outcomes)))
    drawn.add_row("calls to Deel", str(sum(outcome.calls for outcome in outcomes)))
    for outcome in outcomes:
        for blow, count in sorted(outcome.blows.items()):
            drawn.add_row(blow, str(count))
    for promise in PROMISES:
        drawn.add_row(promise, str(sum(outcome.audit.count(promise) for outcome in outcomes)))
    drawn.add_row("leaks", str(sum(len(outcome.leaks) for outcome in outcomes)))
    drawn.add_row("did not end by itself", str(sum(not outcome.ended for outcome in outcomes)))
    return drawn


def write(outcomes: list[Outcome], name: str) -> None:
    """One JSON document per form."""
    RESULTS.mkdir(exist_ok=True)
    raw = [
        {**asdict(each), "audit": {**asdict(each.audit), "findings": list(map(str, each.audit.findings))}}
        for each in outcomes
    ]
    document = {"machine": machine.describe(), "scenarios": raw}
    (RESULTS / f"chaos-{name}.json").write_text(json.dumps(document, indent=2, default=str) + "\n")


if __name__ == "__main__":
    main()
