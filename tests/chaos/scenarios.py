"""The scenarios: one kind of trouble each, on the real processes, with the one auditor at the end."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from subprocess import TimeoutExpired
from typing import Final

from tests.chaos.auditor import Expected
from tests.chaos.ending import Outcome, Say, end
from tests.chaos.plant import Plant, Servers, plant

Play = Callable[[Plant, random.Random, Say], Expected]


@dataclass(frozen=True)
class Scenario:
    """`play` breaks something and says what must be there in the end; `short`: CI plays it too."""

    name: str
    play: Play
    short: bool = False
    rate: int | None = 50
    patience_s: float = 120.0


def enact(scenario: Scenario, servers: Servers, logs: Path, seed: int, say: Say) -> Outcome:
    """From an empty store to the audit."""
    began = time.monotonic()
    outcome = Outcome(scenario.name, seed)
    with plant(servers, logs, rate=scenario.rate) as made:
        try:
            expected = scenario.play(made, random.Random(f"{scenario.name} {seed}"), say)
            end(made, outcome, expected, scenario.patience_s, say)
        except (AssertionError, TimeoutExpired) as broken:  # the latter: a process that SIGTERM does not end
            outcome.error = str(broken)[:1000]
    outcome.took_s = time.monotonic() - began
    return outcome


def hire(made: Plant, count: int, prefix: str = "c", **facts: object) -> list[str]:
    """Contracts at Deel and their signed webhooks on the queue, confirmed."""
    names = [f"{prefix}-{number}" for number in range(count)]
    for name in names:
        made.system.hire(name, email=f"canary-{name}@people.example", **facts)
    return names


def in_flight(made: Plant, count: int) -> list[str]:
    """Everything runs, so many are hired, and the first are done: the trouble falls among the others."""
    made.begin()
    names = hire(made, count)
    until_some(made, names, 3)
    return names


def completed(made: Plant, names: Sequence[str]) -> int:
    """How many of these runs are."""
    rows = made.system.runs()
    return sum(name in rows and rows[name].state == "completed" for name in names)


def until_some(made: Plant, names: Sequence[str], count: int, timeout_s: float = 60.0) -> None:
    """Wait until so many of them are completed."""
    made.system.until(lambda: completed(made, names) >= count, timeout_s, f"{count} of {len(names)} completed")


SCENARIOS: Final[list[Scenario]] = []


def scenario(
    name: str, *, short: bool = False, rate: int | None = 50, patience_s: float = 120.0
) -> Callable[[Play], Play]:
    """Put a function on the list."""

    def listed(play: Play) -> Play:
        SCENARIOS.append(Scenario(name, play, short, rate, patience_s))
        return play

    return listed
