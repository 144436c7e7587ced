"""`make chaos`: the storm at full scale, from a seed; the raw outcome goes to tests/chaos/results."""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from tests.chaos import auditor
from tests.chaos.storm import FULL, SHORT, Weathered, weather

RESULTS: Final = Path(__file__).parent / "results"


def main() -> None:
    """Run it, tell of it, and exit 1 where a promise was broken."""
    words = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    words.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000))
    words.add_argument("--short", action="store_true", help="the form that CI runs")
    words.add_argument("--keep", type=Path, help="a folder for the logs; else they go")
    said = words.parse_args()
    console = Console(soft_wrap=True, highlight=False)
    scale = SHORT if said.short else FULL
    console.print(f"Storm of {scale.onboardings} onboardings, seed {said.seed}.")
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        outcome = weather(said.keep or Path(folder), said.seed, scale, teller(console))
    tell(console, outcome)
    write(outcome)
    sys.exit(0 if is_calm(outcome) else 1)


def teller(console: Console) -> Callable[[str], None]:
    """Lines with the seconds since the start."""
    began = time.monotonic()
    return lambda line: console.print(f"{time.monotonic() - began:6.0f} s  {line}")


def is_calm(outcome: Weathered) -> bool:
    """No promise was broken, and it ended by itself."""
    return outcome.ended and not outcome.audit.findings and not outcome.leaks


def tell(console: Console, outcome: Weathered) -> None:
    """What was broken, and what came of it."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("what")
    table.add_column("count", justify="right")
    for blow, count in sorted(outcome.blows.items()):
        table.add_row(blow, str(count))
    for state, count in sorted(outcome.audit.states.items()):
        table.add_row(f"runs {state}", str(count))
    table.add_row("parked as crash_loop by the kills, completed by a replay", str(outcome.crash_looped))
    table.add_row("parked in all and replayed", str(outcome.replayed))
    table.add_row("calls to Deel", str(outcome.calls))
    for promise in (
        auditor.LOST,
        auditor.DOUBLED,
        auditor.DEAD_TOKEN,
        auditor.KILLED_TOKEN,
        auditor.BUDGET,
        auditor.TIMELINE,
    ):
        table.add_row(promise, str(outcome.audit.count(promise)))
    table.add_row("leaks", str(len(outcome.leaks)))
    console.print(table)
    for finding in [*map(str, outcome.audit.findings[:20]), *outcome.leaks[:20]]:
        console.print(f"broken: {finding}")
    verdict = "every promise was kept" if is_calm(outcome) else "promises were broken"
    console.print(f"Seed {outcome.seed}, {outcome.took_s:.0f} s: {verdict}.")


def write(outcome: Weathered) -> None:
    """One JSON document per scale."""
    RESULTS.mkdir(exist_ok=True)
    name = "short" if outcome.scale is SHORT else "full"
    raw = {**asdict(outcome), "audit": {**asdict(outcome.audit), "findings": list(map(str, outcome.audit.findings))}}
    (RESULTS / f"storm-{name}.json").write_text(json.dumps(raw, indent=2, default=str) + "\n")


if __name__ == "__main__":
    main()
