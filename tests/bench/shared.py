"""Another system spends the same budget for a while: how many calls that costs, and how soon the pace is back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

from onboarding.transport import Http
from tests.bench.figures import Figure, Measured
from tests.bench.systems import Distributed, signed

RATE: Final = 5
STRANGERS_RATE: Final = 2.0
ALONE_S: Final = 10.0
SHARED_S: Final = 20.0
AFTERWARDS_S: Final = 25.0
CONTRACTS: Final = 110
STRANGERS_ROUTE: Final = "GET /people"
AIM_BACK_S: Final = 10.0
FULL_PACE: Final = 0.9
LOOK_S: Final = 2.0


def measure(system: Distributed, say: Callable[[str, int, int], None]) -> Measured:
    """Alone, beside a stranger, alone again."""
    for number in range(CONTRACTS):
        system.deliver(signed(system.deel, f"c-{number}"))
    system.until(lambda: len(system.deel.ledger) > RATE, 30.0, "the first calls")
    began = time.monotonic()
    _wait(began + ALONE_S, began, say)
    gone = threading.Event()
    stranger = threading.Thread(target=_spend, args=(system, gone))
    stranger.start()
    _wait(began + ALONE_S + SHARED_S, began, say)
    gone.set()
    stranger.join()
    left = time.monotonic()
    _wait(left + AFTERWARDS_S, began, say)
    return judge(system, began + ALONE_S, left)


def judge(system: Distributed, came: float, left: float) -> Measured:
    """What the ledger says of our own calls."""
    ours = [call for call in system.deel.ledger if call.route != STRANGERS_ROUTE]
    beside = [call for call in ours if came <= call.at_monotonic < left]
    refused = sum(call.status == 429 for call in beside)
    taken = (len(beside) - refused) / (left - came)
    back_s = _back_after([call.at_monotonic for call in ours], left)
    left_for_us = RATE - STRANGERS_RATE
    figures = [
        Figure("calls of ours refused meanwhile", f"{refused} of {len(beside)}"),
        Figure(f"  a second that got through, of {left_for_us:g} that were left", f"{taken:.2f}"),
        Figure("back at the old pace after", f"{back_s:.1f} s", f"<= {AIM_BACK_S:g} s", back_s <= AIM_BACK_S),
    ]
    raw = {
        "unit": "seconds after the stranger came",
        "left": round(left - came, 3),
        "ours": [[round(call.at_monotonic - came, 3), call.status] for call in ours],
    }
    return Measured("shared", f"Another system spends {STRANGERS_RATE:g} of {RATE} calls/s for a while", figures, raw)


def _back_after(arrivals: Sequence[float], left: float) -> float:
    """Seconds until so many calls arrive within two as the budget allows, but for a few."""
    wanted = FULL_PACE * RATE * LOOK_S
    for start in (at for at in arrivals if at >= left):
        if sum(start <= at < start + LOOK_S for at in arrivals) >= wanted:
            return start - left
    return float("inf")


def _spend(system: Distributed, gone: threading.Event) -> None:
    http = Http()
    headers = {"authorization": f"Bearer {system.deel.org_token}"}
    while not gone.wait(1 / STRANGERS_RATE):
        http.send("GET", f"{system.deel.url}/people", headers=headers)
    http.close()


def _wait(until: float, began: float, say: Callable[[str, int, int], None]) -> None:
    total = round(ALONE_S + SHARED_S + AFTERWARDS_S)
    while time.monotonic() < until:
        say("beside a stranger", min(round(time.monotonic() - began), total), total)
        time.sleep(0.5)
