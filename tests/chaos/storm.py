"""Everything at once: onboardings while processes, broker, database and Deel are broken, from one seed."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.chaos.auditor import Expected, keys_of
from tests.chaos.ending import Outcome, Say, end, states
from tests.chaos.havoc import Havoc
from tests.chaos.hris import Hris
from tests.chaos.plant import Plant, Servers, plant

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


def weather(servers: Servers, logs: Path, seed: int, scale: Scale, say: Say) -> Outcome:
    """Run a storm to its end and audit it."""
    began = time.monotonic()
    outcome = Outcome(f"storm of {scale.onboardings} onboardings", seed)
    with plant(servers, logs, rate=scale.rate, workers=2) as made:
        contracts = hire(made, seed, scale.onboardings)
        made.system.deel.policy.repeat_worker = random.Random(f"policy {seed}").choice(("same", "400", "duplicate"))
        made.begin()
        hris = Hris(made.system, made.system.environment["ONBOARDING_BROKER_URL"], contracts, seed, pause_s=0.0)
        hris.start()
        havoc = Havoc(made, seed, say)
        break_things(made, havoc, scale, hris, say)
        calm(made)
        outcome.blows = dict(havoc.counts)
        expected = Expected(contracts, keys_of(made.system.deel, hris.messages[: hris.confirmed]))
        end(made, outcome, expected, scale.patience_s - (time.monotonic() - began), say)
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


def break_things(made: Plant, havoc: Havoc, scale: Scale, hris: Hris, say: Say) -> None:
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
