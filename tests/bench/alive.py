"""Ten thousand workers who are kept alive, three days of them on a virtual clock: the planning code, no I/O."""

from __future__ import annotations

import heapq
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from onboarding import renewals
from tests.bench.figures import Figure, Measured

WORKERS: Final = 10_000
RATE: Final = 5.0
DAYS: Final = 3
CALLS_EACH: Final = 3.0
"""Of an onboarding: what is issued first comes at this pace, all in a row, which is the worst."""
LIFE: Final = timedelta(hours=24)
BEGIN: Final = datetime(2026, 1, 5, tzinfo=UTC)
MINUTE: Final = 60.0
AIM_LEFT: Final = 0.9


@dataclass
class Seen:
    """What the simulation came to."""

    renewed: int = 0
    expired: int = 0
    most_queued: int = 0
    longest_wait: timedelta = timedelta()
    least_life: timedelta = LIFE
    of_minute: Counter[int] = field(default_factory=Counter)


def play(workers: int = WORKERS, rate: float = RATE, days: float = DAYS, seed: int = 1) -> Seen:
    """Tokens are issued one after the other as fast as the budget allows; then upkeep looks, every ten seconds."""
    dice, seen = random.Random(seed), Seen()
    due: list[tuple[datetime, datetime]] = []  # when it is to be renewed, when it ends
    issued = [BEGIN + timedelta(seconds=number * CALLS_EACH / rate) for number in range(workers)]
    for at in issued:
        _issue(due, at, dice)
    now, end = BEGIN, BEGIN + timedelta(days=days)
    while now < end:
        _look(due, now, rate, seen, dice)
        now += timedelta(seconds=renewals.EVERY_S)
    return seen


def _issue(due: list[tuple[datetime, datetime]], at: datetime, dice: random.Random) -> None:
    ends_at = at + LIFE
    heapq.heappush(due, (renewals.renew_at(ends_at, dice.random()), ends_at))


def _look(due: list[tuple[datetime, datetime]], now: datetime, rate: float, seen: Seen, dice: random.Random) -> None:
    """As onboarding/upkeep.py: the longest due first, as many as the share of the budget is."""
    for _ in range(renewals.per_round(rate)):
        if not due or due[0][0] > now:
            return
        due_at, ends_at = heapq.heappop(due)
        seen.renewed += 1
        seen.expired += ends_at <= now
        seen.longest_wait = max(seen.longest_wait, now - due_at)
        seen.least_life = min(seen.least_life, ends_at - now)
        seen.of_minute[int((now - BEGIN).total_seconds() // MINUTE)] += 1
        _issue(due, now, dice)
    if due and due[0][0] <= now:
        seen.most_queued = max(seen.most_queued, sum(at <= now for at, _ in due))


def measure(begins: Callable[[str], None]) -> Measured:
    """Print what the issue asks for."""
    begins(f"{WORKERS:,} workers kept alive: {DAYS} days on a virtual clock")
    seen = play()
    minute = RATE * MINUTE
    left = 1 - max(seen.of_minute.values()) / minute
    figures = [
        Figure("tokens that expired", str(seen.expired), "0", seen.expired == 0),
        Figure("least life left at a renewal", _hours(seen.least_life)),
        Figure("most renewals queued", f"{seen.most_queued} calls", f"<= {minute:.0f}", seen.most_queued <= minute),
        Figure("longest wait of one that was due", f"{seen.longest_wait.total_seconds():.0f} s"),
        Figure("of the fullest minute left to the living", f"{left:.0%}", f">= {AIM_LEFT:.0%}", left >= AIM_LEFT),
        Figure("renewals", f"{seen.renewed:,}"),
    ]
    raw: dict[str, Any] = {
        "workers": WORKERS, "rate": RATE, "days": DAYS, "renewed": seen.renewed, "expired": seen.expired,
        "most_queued": seen.most_queued, "longest_wait_s": seen.longest_wait.total_seconds(),
        "least_life_s": seen.least_life.total_seconds(), "most_in_a_minute": max(seen.of_minute.values()),
    }  # fmt: skip
    title = f"{WORKERS:,} workers kept alive at {RATE:g} requests a second, {DAYS} days simulated"
    return Measured("keep-alive", title, figures, raw)


def _hours(span: timedelta) -> str:
    return f"{span.total_seconds() / 3600:.1f} h"
