"""Ten thousand runs in line: in what order they complete, and how long a new hire and other organisations wait."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

from pydantic import SecretStr
from sqlalchemy import func, select

from onboarding.budget import fingerprint_of
from onboarding.envelopes import Source
from onboarding.events import Event
from onboarding.settings import load
from onboarding.simulator.routes import ALL_SCOPES
from onboarding.store import events, org_tokens
from onboarding.store.events import Filing
from onboarding.store.line import Line
from onboarding.store.tables import runs
from onboarding.told import Told
from tests.bench.figures import Figure, Measured, percentile
from tests.bench.limit import calm
from tests.bench.systems import Distributed, signed

WAITING: Final = 10_000
BATCH: Final = 500
CALLS: Final = 3

ORDER_RATE: Final = 20
ORDER_RUNS: Final = 300
AIM_ORDER: Final = 1.1

RATE: Final = 5
HIRES: Final = 12
AIM_HIRE_S: Final = 3.0 + CALLS / RATE
OTHERS: Final = 12
AIM_OTHERS_S: Final = 0.25
"""More than without a backlog."""
GAP_S: Final = 1.0
PATIENCE_S: Final = 60.0

Say = Callable[[str, int, int], None]


def in_order(system: Distributed, say: Say) -> Measured:
    """The first of ten thousand, at a rate that does not take an hour: each against its place in an ideal schedule."""
    calm(system, ORDER_RATE)
    names = fill(system, say, behind=False)
    system.serve(workers=2, concurrency=4)
    while len(system.sink.received) < ORDER_RUNS:
        say("completed in their order", len(system.sink.received), ORDER_RUNS)
        time.sleep(0.5)
    began = next(iter(system.deel.ledger)).at_monotonic
    told = [(one.body["data"]["contract_id"], one.at_monotonic - began) for one in system.sink.received[:ORDER_RUNS]]
    ideal = [CALLS * (place + 1) / ORDER_RATE for place in range(len(told))]
    ratio = sum(at for _, at in told) / sum(ideal)
    first = names[: ORDER_RUNS + 2 * ORDER_RATE]
    early = sum(name in first for name, _ in told)
    figures = [
        Figure(f"mean time to complete, of the first {ORDER_RUNS}, by the ideal", f"{ratio:.2f}", f"<= {AIM_ORDER}",
               ratio <= AIM_ORDER),
        Figure("  the first one completed after", f"{told[0][1]:.1f} s"),
        Figure("  of those who came first", f"{early} of {len(told)}", f"{len(told)}", early == len(told)),
    ]  # fmt: skip
    raw = {"unit": "seconds after the first call", "completed": [round(at, 3) for _, at in told], "rate": ORDER_RATE}
    return Measured("order", f"{WAITING:,} runs in line, {ORDER_RATE} calls/s, 2 x 4 processes", figures, raw)


def the_living(system: Distributed, say: Say) -> Measured:
    """New hires of an organisation with ten thousand replays in line, and of others that have none."""
    own = [f"org-{number}" for number in range(OTHERS)]
    for each in own:
        give_token(system, each)
    system.serve(workers=1, concurrency=8)
    calm = [hire(system, f"calm-{each}", each) for each in own]
    fill(system, say, behind=True)
    system.until(lambda: len(system.deel.ledger) > CALLS * OTHERS + 10 * RATE, PATIENCE_S, "the replays are under way")
    others, hires = [], []
    for number, each in enumerate(own):
        others.append(hire(system, f"busy-{each}", each))
        hires.append(hire(system, f"new-{number}", None))
        say("new hires beside the replays", number + 1, len(own))
        time.sleep(GAP_S)
    ledger = system.deel.ledger
    slower = percentile(others, 0.5) - percentile(calm, 0.5)
    figures = [
        Figure("a new hire's onboarding, the slowest", f"{max(hires):.2f} s", f"<= {AIM_HIRE_S:.1f} s",
               max(hires) <= AIM_HIRE_S),
        Figure("  p50", f"{percentile(hires, 0.5):.2f} s"),
        Figure("another organisation's, p50", f"{percentile(others, 0.5):.2f} s"),
        Figure("  more than without a backlog", f"{slower:.2f} s", f"<= {AIM_OTHERS_S} s", slower <= AIM_OTHERS_S),
        Figure("  the slowest", f"{max(others):.2f} s"),
        Figure("calls refused", f"{ledger.refused()} of {len(ledger)}", "0", ledger.refused() == 0),
    ]  # fmt: skip
    raw = {"unit": "seconds", "new_hires": _rounded(hires), "others": _rounded(others), "others_calm": _rounded(calm)}
    title = f"New hires beside {WAITING:,} replays, {RATE} calls/s each organisation, 8 processes"
    return Measured("living", title, figures, raw)


def give_token(system: Distributed, organization_id: str) -> None:
    """One of its own, as `onboarding org token set` would."""
    token, keyring = SecretStr(system.deel.add_token(ALL_SCOPES, organization_id)), load(system.environment).keyring()
    system.store.write(lambda db: org_tokens.keep(db, keyring, organization_id, token, fingerprint_of(token)))


def hire(system: Distributed, contract: str, organization_id: str | None) -> float:
    """Seconds from the webhook's publish to the notification."""
    facts = {"organization_id": organization_id} if organization_id else {}
    webhook = signed(system.deel, contract, **facts)
    began = time.monotonic()
    system.deliver(webhook)
    system.until(lambda: _told(system, contract), PATIENCE_S, f"{contract} is told of")
    return next(one.at_monotonic for one in system.sink.received if _is_of(one, contract)) - began


def fill(system: Distributed, say: Say, *, behind: bool) -> list[str]:
    """Ten thousand contracts at Deel, and a run in line for each: as a backfill makes them."""
    settings = load(system.environment)
    names = [f"c-{number:05}" for number in range(WAITING)]
    filing = Filing(settings.keyring(), system.deel.organization_id, Line())
    for place in range(0, WAITING, BATCH):
        listed = [_listed(system, name, behind=behind) for name in names[place : place + BATCH]]
        system.store.write(lambda db, listed=listed: events.file_listed(db, listed, filing))  # type: ignore[misc]
        say("runs put in line", place + BATCH, WAITING)
    counted = system.store.read(lambda db: db.execute(select(func.count()).select_from(runs)).scalar_one())
    assert counted >= WAITING
    return names


def _listed(system: Distributed, name: str, *, behind: bool) -> Event:
    email = f"{name}@example.com"
    system.deel.has_contract(name, email=email)
    told = Told("eor", (SecretStr(email),))
    organization_id = system.deel.organization_id
    return Event(
        name, Source.BACKFILL, "contract.listed", name, organization_id, signed=False, told=told, behind=behind
    )


def _told(system: Distributed, contract: str) -> bool:
    return any(_is_of(one, contract) for one in reversed(system.sink.received))


def _is_of(one: object, contract: str) -> bool:
    return bool(one.body["data"]["contract_id"] == contract)  # type: ignore[attr-defined]


def _rounded(values: Sequence[float]) -> list[float]:
    return [round(value, 3) for value in values]
