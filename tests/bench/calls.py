"""Calls to Deel per new contract whose signed webhook carries the facts, as the simulator's ledger has them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from onboarding.simulator.ledger import Call
from onboarding.store import runs
from tests.bench.figures import Figure, Measured
from tests.bench.systems import Embedded, signed

AIM: Final = 3
AIM_WITH_PROFILE: Final = 2
AIM_CHECK: Final = 1
FIRST: Final = "c-first"
NEW: Final = tuple(f"c-new-{number}" for number in range(10))
KNOWN: Final = tuple(f"c-known-{number}" for number in range(10))


def measure(system: Embedded, say: Callable[[str, int, int], None]) -> Measured:
    """The very first token, for which Deel names the session field that it wants; then without and with a profile."""
    contracts = (FIRST, *NEW, *KNOWN)
    for number, contract in enumerate(contracts, 1):
        hire(system, contract, with_profile=contract in KNOWN)
        say("calls to Deel", number, len(contracts))
    seen = {contract: system.deel.ledger.calls(contract=contract) for contract in contracts}
    checked = [check(system, contract) for contract in NEW]
    routes = {contract: [f"{call.route} {call.status}" for call in calls] for contract, calls in seen.items()}
    return Measured("calls", "Calls to Deel", _figures(seen, checked), {"unit": "calls", "by_contract": routes})


def hire(system: Embedded, contract: str, *, with_profile: bool) -> None:
    """One contract, to its end."""
    system.deliver(signed(system.deel, contract, with_profile=with_profile))
    system.until(lambda: contract in (runs := system.runs()) and runs[contract].state == "completed", 20, contract)


def check(system: Embedded, contract: str) -> int:
    """How many calls it takes to see that a completed run's token still lives: an engineer replays it."""
    before = len(system.deel.ledger.calls(contract=contract))
    row = system.store.read(lambda db: runs.find(db, contract))
    assert row is not None
    system.store.write(lambda db: runs.replay(db, row, runs.Replay()))
    system.until(lambda: system.runs()[contract].state == "completed", 20, f"{contract} checked")
    return len(system.deel.ledger.calls(contract=contract)) - before


def _figures(seen: Mapping[str, Sequence[Call]], checked: Sequence[int]) -> list[Figure]:
    new, known = _counts(seen, NEW), _counts(seen, KNOWN)
    first = len(seen[FIRST])
    return [
        Figure("per new contract, signed webhook", _range(new), f"{AIM}", new == {AIM}),
        Figure("  with a profile there already", _range(known), f"{AIM_WITH_PROFILE}", known == {AIM_WITH_PROFILE}),
        Figure(
            "  where a live token is only checked", _range(set(checked)), f"{AIM_CHECK}", set(checked) == {AIM_CHECK}
        ),
        Figure("  the very first token: one more, once", f"{first}", f"{AIM + 1}", first == AIM + 1),
    ]


def _counts(seen: Mapping[str, Sequence[Call]], contracts: Sequence[str]) -> set[int]:
    return {len(seen[contract]) for contract in contracts}


def _range(counts: set[int]) -> str:
    return f"{min(counts)}" if len(counts) == 1 else f"{min(counts)} to {max(counts)}"
