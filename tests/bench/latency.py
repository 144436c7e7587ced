"""One contract on an idle system, Deel answering at once: from the webhook's publish to the notification's arrival."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Final

from tests.bench.figures import Figure, Measured, percentile
from tests.bench.systems import Distributed, Embedded, signed

RUNS: Final = 100
WARM_UP: Final = 10
AIM_MS: Final = 80
PATIENCE_S: Final = 20.0

Say = Callable[[str, int, int], None]
"""Told what is being done, how much of it is done, and of how much."""


def measure(system: Distributed | Embedded, name: str, say: Say, runs: int = RUNS) -> Measured:
    """By turns a contract and a bare chain, so that both meet the same weather on the machine."""
    onboardings: list[float] = []
    chains: list[float] = []
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as ends:
        ends.bind(("127.0.0.1", 0))
        ends.settimeout(PATIENCE_S)
        for number in range(-WARM_UP, runs):
            onboarding, chain = onboard(system, f"c-{number}"), run_chain(system, ends)
            if number >= 0:
                onboardings.append(onboarding)
                chains.append(chain)
            say(system.title, number + WARM_UP + 1, runs + WARM_UP)
    raw = {"unit": "ms", "onboarding": _rounded(onboardings), "bare_chain": _rounded(chains)}
    return Measured(name, f"One contract, {system.title}", list(_figures(onboardings, chains)), raw)


def onboard(system: Distributed | Embedded, contract: str) -> float:
    """Milliseconds from just before the webhook's publish until its notification was there, signature checked."""
    webhook = signed(system.deel, contract)
    told = len(system.sink.received)
    with stopwatch() as elapsed_ms:
        system.deliver(webhook)
        system.sink.wait_for(told + 1, PATIENCE_S)
        took = elapsed_ms()
    system.until(lambda: system.runs()[contract].state == "completed", PATIENCE_S, f"{contract} completed")
    return took


def run_chain(system: Distributed | Embedded, ends: socket.socket) -> float:
    """Milliseconds from just before a chain's publish until its last task ran."""
    with stopwatch() as elapsed_ms:
        system.send_chain(ends.getsockname()[1])
        ends.recv(16)
        return elapsed_ms()


@contextmanager
def stopwatch() -> Iterator[Callable[[], float]]:
    """Milliseconds since here."""
    started = time.perf_counter()
    yield lambda: (time.perf_counter() - started) * 1000


def _figures(onboardings: list[float], chains: list[float]) -> Iterator[Figure]:
    p50, p95 = percentile(onboardings, 0.5), percentile(onboardings, 0.95)
    yield Figure("webhook published to notified, p50", f"{p50:.1f} ms", f"< {AIM_MS} ms", p50 < AIM_MS)
    yield Figure("  the same, p95", f"{p95:.1f} ms")
    yield Figure("  floor: a chain of five empty tasks, p50", f"{percentile(chains, 0.5):.1f} ms")
    yield Figure("  the same, p95", f"{percentile(chains, 0.95):.1f} ms")


def _rounded(values: list[float]) -> list[float]:
    return [round(value, 1) for value in values]
