"""The demo's story: some twenty contracts, what is special about each, and how each should end."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from onboarding.runs import Reason, State
from onboarding.simulator import Simulator

NAMES: Final = (
    "ada", "alan", "barbara", "claude", "donald", "edsger", "frances", "grace",
    "hedy", "john", "katherine", "leslie", "margaret", "niklaus", "radia", "tony",
)  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One contract of the story."""

    contract: str
    special: str = ""
    state: State = State.COMPLETED
    reason: Reason | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    trouble: Callable[[Simulator, str], None] | None = None
    met: tuple[str, ...] = ()  # outcomes of attempts by which the trouble shows
    times_sent: int = 1
    signed: bool = True


def _fails_twice(deel: Simulator, contract: str) -> None:
    deel.fails("POST /eor/worker", status=500, times=2, contract=contract)


def _loses_the_answer(deel: Simulator, contract: str) -> None:
    deel.cuts_connection(after="POST /workers/session", times=1, contract=contract)


def _superseded(deel: Simulator, contract: str) -> None:
    deel.supersedes_after_issue(contract, times=1)


CASES: Final = (
    Case("c-twice", "its webhook comes twice", times_sent=2),
    Case("c-contractor", "is not EOR", State.FAILED, Reason.NOT_EOR, facts={"type": "ongoing_time_based"}),
    Case("c-stumbles", "Deel answers 500 twice", trouble=_fails_twice, met=("retry", "retry")),
    Case("c-superseded", "its token dies before it is verified", trouble=_superseded, met=("superseded",)),
    Case("c-cut-off", "Deel's answer with the token is lost", trouble=_loses_the_answer, met=("retry",)),
    Case("c-known", "has a profile already", facts={"with_profile": True}),
    Case("c-unsigned", "its webhook carries no signature", signed=False),
    *(Case(f"c-{name}") for name in NAMES[:13]),
)


@dataclass(frozen=True)
class Delivery:
    """One message for `hris.events`."""

    body: bytes
    headers: Mapping[str, str]
    routing_key: str = "contract.created"


def prepare(deel: Simulator) -> Iterator[Delivery]:
    """Set Deel up for the story, and yield its webhooks in the order in which they are sent."""
    for case in CASES:
        deel.has_contract(case.contract, email=f"{case.contract}@example.com", **case.facts)
        if case.trouble is not None:
            case.trouble(deel, case.contract)
        webhook = deel.webhook("contract.created", case.contract)
        headers = dict(webhook.headers) if case.signed else {}
        yield from [Delivery(webhook.body, headers)] * case.times_sent
    deel.has_contract("c-simulated", email="nobody@example.com")
    simulated = deel.webhook("contract.created", "c-simulated", is_simulation=True)
    yield Delivery(simulated.body, simulated.headers)
    forged = deel.webhook("contract.created", "c-simulated")
    yield Delivery(forged.body, {**forged.headers, "x-deel-signature": "0" * 64})
    yield Delivery(json.dumps({"type": "contract.created"}).encode(), {})


DISPOSITIONS: Final = {"accepted": len(CASES), "dead": 2, "duplicate": 1, "ignored": 1}
"""What the events of the story come to."""
