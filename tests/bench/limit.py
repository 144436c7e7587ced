"""Four worker processes on one budget: how many calls Deel refused, and how much of the budget was used."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from pydantic import SecretStr
from sqlalchemy import Connection, update

from onboarding.budget import fingerprint_of, pace_of
from onboarding.store import budgets
from onboarding.store.tables import budgets as table
from tests.bench.figures import Figure, Measured, calls_possible, span_s
from tests.bench.systems import Distributed, signed

RATE: Final = 5
WORKERS: Final = 4
CONTRACTS: Final = 300
CALLS: Final = 3 * CONTRACTS
AIM_SHARE: Final = 0.98
PATIENCE_S: Final = 300.0


def measure(system: Distributed, say: Callable[[str, int, int], None]) -> Measured:
    """All contracts at once, to the end of the last; on a budget that was calm for ten minutes."""
    calm(system, RATE)
    for number in range(CONTRACTS):
        system.deliver(signed(system.deel, f"c-{number}"))
    deadline = time.monotonic() + PATIENCE_S
    while system.states().get("completed", 0) < CONTRACTS and time.monotonic() < deadline:
        say("calls of four workers", min(len(system.deel.ledger), CALLS), CALLS)
        time.sleep(0.5)
    system.until(lambda: system.states() == {"completed": CONTRACTS}, 1.0, "every contract completed")
    return judge(system)


def calm(system: Distributed, rate: float) -> None:
    """A new budget is careful for ten minutes: let them be over."""
    fingerprint = fingerprint_of(SecretStr(system.deel.org_token))

    def later(db: Connection) -> None:
        budgets.lay_out(db, fingerprint, pace_of(rate))
        db.execute(update(table).where(table.c.fingerprint == fingerprint).values(slow_until=0.0))

    system.store.write(later)


def judge(system: Distributed) -> Measured:
    """What the ledger says."""
    ledger = system.deel.ledger
    arrivals = [call.at_monotonic for call in ledger]
    seconds = span_s(arrivals)
    refused, worst, possible = ledger.refused(), ledger.worst_second(), calls_possible(RATE, seconds)
    share = len(arrivals) / possible
    spent = f"{len(arrivals)} of {possible} = {share:.1%}"
    figures = [
        Figure("calls refused", f"{refused} of {len(arrivals)}", "0", refused == 0),
        Figure("  most calls in any rolling second", f"{worst}", f"<= {RATE}", worst <= RATE),
        Figure(f"  calls sent of those possible in {seconds:.1f} s", spent, f">= {AIM_SHARE:.0%}", share >= AIM_SHARE),
    ]
    raw = {
        "rate": RATE, "workers": WORKERS, "contracts": CONTRACTS,
        "refused": refused, "worst_second": worst, "sent": len(arrivals), "possible": possible,
        "unit": "seconds after the first call", "arrivals": [round(each - arrivals[0], 3) for each in arrivals],
    }  # fmt: skip
    return Measured("limit", f"{WORKERS} worker processes, {CONTRACTS} contracts, {RATE} calls/s", figures, raw)
