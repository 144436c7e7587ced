"""Everything at once: onboardings while processes, broker, database and Deel are broken, from one seed."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from onboarding.runs import ACTIVE
from onboarding.store import runs
from tests.chaos.auditor import Audit, Expected, audit
from tests.chaos.havoc import Havoc
from tests.chaos.hris import Hris
from tests.chaos.leaks import leaks
from tests.chaos.plant import Plant, plant, wait_for

SERVER_ACTS: Final = (
    "broker restart",
    "database restart",
    "queues purged",
    "database connections cut",
    "broker connections cut",
    "deel away",
    "token revoked",
    "second session refused",
    "deploy",
)
NOT_EOR: Final = 0.02
SUPERSEDED: Final = 0.05
KNOWN: Final = 0.1


@dataclass(frozen=True)
class Scale:
    """How much of it. `each_server_act`: how often each of them falls; `kills`: at least so many processes die."""

    onboardings: int
    kills: int
    each_server_act: int
    rate: int
    patience_s: float


FULL: Final = Scale(onboardings=2000, kills=200, each_server_act=5, rate=20, patience_s=2400)
SHORT: Final = Scale(onboardings=120, kills=12, each_server_act=1, rate=20, patience_s=170)


@dataclass
class Weathered:
    """What a storm came to."""

    seed: int
    scale: Scale
    audit: Audit
    blows: dict[str, int] = field(default_factory=dict)
    leaks: list[str] = field(default_factory=list)
    crash_looped: int = 0  # parked by outside kills, completed by a replay
    replayed: int = 0
    took_s: float = 0.0
    calls: int = 0
    ended: bool = True


def weather(folder: Path, seed: int, scale: Scale, say: Callable[[str], None]) -> Weathered:
    """Run a storm to its end and audit it."""
    began = time.monotonic()
    with plant(folder, rate=scale.rate, workers=2) as made:
        contracts = hire(made, seed, scale.onboardings)
        made.system.deel.policy.repeat_worker = "duplicate"
        made.begin()
        hris = Hris(made.system, made.system.broker_url, contracts, seed, pause_s=0.0)
        hris.start()
        havoc = Havoc(made, seed, say)
        break_things(made, havoc, scale, hris, say)
        calm(made)
        outcome = Weathered(seed, scale, Audit(), dict(havoc.counts))
        outcome.ended = settle(made, outcome, scale.patience_s - (time.monotonic() - began), say)
        made.end()
        stop(made)
        expected = Expected(contracts, hris.confirmed, scale.rate)
        outcome.audit = audit(made.system, expected)
        outcome.leaks = leaks(made)
        outcome.calls = len(made.system.deel.ledger)
    outcome.took_s = time.monotonic() - began
    return outcome


def hire(made: Plant, seed: int, count: int) -> list[str]:
    """Contracts at Deel: some known, some not EOR, some whose token a stranger is going to supersede."""
    dice, deel = random.Random(f"contracts {seed}"), made.system.deel
    contracts = [f"c-{number}" for number in range(count)]
    for contract in contracts:
        kind = "ongoing_time_based" if dice.random() < NOT_EOR else "eor"
        known = kind == "eor" and dice.random() < KNOWN
        deel.has_contract(contract, email=f"canary-{contract}@people.example", type=kind, with_profile=known)
        if dice.random() < SUPERSEDED:
            deel.supersedes_after_issue(contract, times=dice.randrange(1, 3))
    deel.random_faults(0.2)
    return contracts


def break_things(made: Plant, havoc: Havoc, scale: Scale, hris: Hris, say: Callable[[str], None]) -> None:
    """Blow after blow until there were enough of each."""
    dice = random.Random(f"storm {havoc.seed}")
    acts = [act for act in SERVER_ACTS for _ in range(scale.each_server_act)]
    dice.shuffle(acts)
    between = max(1, scale.kills // max(1, len(acts)))
    while acts or havoc.kills < scale.kills or hris.confirmed < hris.total:
        for _ in range(between):
            time.sleep(dice.uniform(0.3, 2.0))
            havoc.on_a_process()
        if acts:
            havoc.on_a_server(acts.pop())
        say(f"{havoc.kills} killed, {len(acts)} blows to come, {hris.confirmed} of {hris.total} sent, {states(made)}")


def calm(made: Plant) -> None:
    """The sun comes out: Deel is well, nothing is broken any more."""
    made.system.deel.random_faults(0.0)
    made.resume()


def settle(made: Plant, outcome: Weathered, patience_s: float, say: Callable[[str], None]) -> bool:
    """Wait until nothing is active; replay what was parked, as an engineer would. False: it did not end."""
    deadline = time.monotonic() + patience_s
    while True:
        made.resume()
        if not wait_for(lambda: not active(made) and intake_is_empty(made), max(1.0, deadline - time.monotonic())):
            say(f"it does not end: {states(made)}")
            return False
        parked = [row for row in rows(made) if row.state == "failed" and row.reason != "not_eor"]
        if not parked:
            return True
        outcome.crash_looped += sum(row.reason == "crash_loop" for row in parked)
        outcome.replayed += len(parked)
        say(f"replaying {Counter(row.reason for row in parked)}")
        for row in parked:
            made.system.store.write(lambda db, row=row: runs.replay(db, row, runs.Replay()))  # type: ignore[misc]


def stop(made: Plant) -> None:
    """SIGTERM to all; what they write at their end belongs to the evidence."""
    for process in made.system.processes.values():
        process.terminate()
    for process in made.system.processes.values():
        process.wait(60)


def rows(made: Plant) -> list[Any]:
    return list(made.system.runs().values())


def active(made: Plant) -> bool:
    return any(row.state in ACTIVE for row in rows(made))


def intake_is_empty(made: Plant) -> bool:
    return made.depth("onboarding.intake") == 0


def states(made: Plant) -> dict[str, int]:
    try:
        return made.system.states()
    except Exception as away:  # noqa: BLE001 - the database may be down just now
        return {type(away).__name__: 1}
