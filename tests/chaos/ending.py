"""How a scenario ends: by itself, with an engineer who replays what was parked; then it is audited."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import select

from onboarding.runs import ACTIVE
from onboarding.store import runs
from onboarding.store.tables import runs as table
from tests.chaos.auditor import Audit, Expected, audit, unfiled
from tests.chaos.leaks import leaks
from tests.chaos.plant import Plant, wait_for

Say = Callable[[str], None]
IN_HAND_S: Final = 30.0
"""An empty queue is not the end: the intake has fifty messages in hand."""
TELL_S: Final = 15.0


@dataclass
class Outcome:
    """What a scenario came to."""

    name: str
    seed: int
    audit: Audit = field(default_factory=Audit)
    blows: dict[str, int] = field(default_factory=dict)
    leaks: list[str] = field(default_factory=list)
    parked: dict[str, int] = field(default_factory=dict)  # by reason, then completed by a replay
    ended: bool = True
    error: str = ""  # where the scenario could not be played to its end
    calls: int = 0
    took_s: float = 0.0

    @property
    def is_calm(self) -> bool:
        """No promise was broken, and it ended by itself."""
        return self.ended and not self.error and not self.audit.findings and not self.leaks


def end(made: Plant, outcome: Outcome, expected: Expected, patience_s: float, say: Say) -> None:
    """Let everything come to rest, stop it, and compare what is left."""
    outcome.ended = settle(made, outcome, set(expected.contracts), patience_s, say)
    wait_for(lambda: not unfiled(made.system, expected), IN_HAND_S)
    made.end()
    stop(made)
    outcome.audit = audit(made.system, expected)
    outcome.leaks = leaks(made)
    outcome.calls = len(made.system.deel.ledger)


def settle(made: Plant, outcome: Outcome, contracts: set[str], patience_s: float, say: Say) -> bool:
    """Wait until each contract has a run and none is active; replay what was parked, as an engineer would.

    False: it did not end.
    """
    deadline, parked = time.monotonic() + patience_s, Counter(outcome.parked)
    while True:
        made.resume()
        if not comes_to_rest(made, contracts, deadline, say):
            say(f"it does not end: {states(made)}")
            return False
        failed = [row for row in made.system.runs().values() if row.state == "failed" and row.reason != "not_eor"]
        if not failed:
            return True
        parked.update(row.reason for row in failed)
        outcome.parked = dict(parked)
        say(f"replaying {dict(Counter(row.reason for row in failed))}")
        for row in failed:
            made.system.store.write(lambda db, row=row: runs.replay(db, row, runs.Replay()))  # type: ignore[misc]


def comes_to_rest(made: Plant, contracts: set[str], deadline: float, say: Say) -> bool:
    """Look at least for a second, and tell every 15 s how far it is."""
    while not wait_for(lambda: at_rest(made, contracts), min(TELL_S, max(1.0, deadline - time.monotonic()))):
        if time.monotonic() >= deadline:
            return False
        say(f"coming to rest: {states(made)}")
    return True


def stop(made: Plant) -> None:
    """SIGTERM to all; what they write at their end belongs to the evidence."""
    for process in made.system.processes.values():
        process.terminate()
    for process in made.system.processes.values():
        process.wait(60)


def at_rest(made: Plant, contracts: set[str]) -> bool:
    with made.system.store.engine.connect() as db:  # cheap: Deel's own clock ticks in this process, too
        if db.execute(select(table.c.id).where(table.c.state.in_(ACTIVE)).limit(1)).first() is not None:
            return False
        here = set(db.execute(select(table.c.contract_id)).scalars())
    return contracts <= here and made.depth("onboarding.intake") == 0


def states(made: Plant) -> dict[str, int]:
    try:
        return made.system.states()
    except Exception as away:  # noqa: BLE001 - the database may be down just now
        return {type(away).__name__: 1}
