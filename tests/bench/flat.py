"""Whether a store with a million finished runs costs more than one with a thousand: for each run, and to ask."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from statistics import median
from typing import Any, Final

import structlog
from sqlalchemy import select

from onboarding.perform import Rest, perform
from onboarding.runs import STEPS, State
from onboarding.store.engine import Store
from onboarding.store.tables import runs
from tests.bench import filling
from tests.bench.figures import Figure, Measured
from tests.bench.questions import answer, questions
from tests.bench.servers import database
from tests.onboarding.worlds import Driver, driver

FEW: Final = 1_000
MANY: Final = 1_000_000
WAITING: Final = 100_000
RUNS: Final = 200
WARM_UP: Final = 20
AIM_RATIO: Final = 1.1
REPLAYED: Final = 100

Say = Callable[[str, int, int], None]


@contextmanager
def stores(begins: Callable[[str], None], few: int = FEW, many: int = MANY) -> Iterator[tuple[str, str]]:
    """The URLs of two, of which nothing remains; the large one has long lines, too."""
    with database() as small, database() as large:
        begins(f"Flat: filling stores with {few:,} and {many:,} finished runs")
        filling.fill(small, few)
        filling.fill(large, many)
        filling.wait_in_line(large, WAITING)
        filling.hold_up(large, WAITING)
        for url in (small, large):
            filling.settle(url)
        yield small, large


def measure_runs(small: str, large: str, say: Say, runs: int = RUNS) -> Measured:
    """A contract here, a contract there: both stores meet the same weather on the machine."""
    # what a step logs goes to a terminal else, and costs more there than in a worker
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    store_ms: dict[str, list[float]] = {"few": [], "many": []}
    whole_ms: dict[str, list[float]] = {"few": [], "many": []}
    with driver(small) as few, driver(large) as many:
        clocks = {name: _clocked(each.store) for name, each in (("few", few), ("many", many))}
        for number in range(-WARM_UP, runs):
            for name, each in (("few", few), ("many", many)):
                in_store, whole = _onboard(each, f"c-{number}", clocks[name])
                if number >= 0:
                    store_ms[name].append(in_store)
                    whole_ms[name].append(whole)
            say("runs in a small and a large store", number + WARM_UP + 1, runs + WARM_UP)
    raw = {"unit": "ms", "few": FEW, "many": MANY, "store": store_ms, "whole": whole_ms}
    return Measured("flat-runs", f"One run, {MANY:,} finished against {FEW:,}", _compared(store_ms, whole_ms), raw)


def measure_questions(large: str, say: Say) -> Measured:
    """Every one of them, with its plans."""
    store = Store(large)
    try:
        every = questions(_names(store))
        answered = []
        for number, question in enumerate(every, 1):
            answered.append(answer(store, question))
            say("questions to a large store", number, len(every))
    finally:
        store.close()
    raw = {"unit": "ms", **{f"{each.question.what.strip()}, times": each.took_ms for each in answered}}
    raw |= {f"{each.question.what.strip()}, plans": each.plans for each in answered}
    title = f"Questions, {MANY:,} finished runs: 95 % within"
    return Measured("flat-questions", title, [each.figure for each in answered], raw)


def _onboard(on: Driver, contract: str, clock: list[float]) -> tuple[float, float]:
    """Milliseconds in the store, and of all, from the event to the end."""
    clock[0] = 0.0
    began = time.perf_counter()
    run_id = on.hire(contract)
    orders = [perform(on.world, run_id, step) for step in STEPS]
    took = time.perf_counter() - began
    assert isinstance(orders[-1], Rest), orders
    assert orders[-1].word == State.COMPLETED, orders
    return round(clock[0] * 1000, 2), round(took * 1000, 2)


def _clocked(store: Store) -> list[float]:
    """Seconds that its transactions take, from now on, in a list of one."""
    spent, run = [0.0], store._run

    def timed(*work: Any) -> Any:
        began = time.perf_counter()
        try:
            return run(*work)
        finally:
            spent[0] += time.perf_counter() - began

    store._run = timed  # type: ignore[method-assign]
    return spent


def _compared(store_ms: dict[str, list[float]], whole_ms: dict[str, list[float]]) -> list[Figure]:
    few, many = median(store_ms["few"]), median(store_ms["many"])
    whole = median(whole_ms["many"]) / median(whole_ms["few"])
    return [
        Figure(
            "time in the store, many to few", f"{many / few:.2f}", f"<= {AIM_RATIO}", round(many / few, 2) <= AIM_RATIO
        ),
        Figure("  median with few", f"{few:.1f} ms"),
        Figure("  median with many", f"{many:.1f} ms"),
        Figure("  of all, with Deel's answers, many to few", f"{whole:.2f}"),
    ]


def _names(store: Store) -> Sequence[Any]:
    """Of a hundred runs all over the store: every other by its contract."""
    some = select(runs.c.id, runs.c.contract_id).where(runs.c.state == State.COMPLETED).order_by(runs.c.id)
    rows = store.read(lambda db: db.execute(some.limit(REPLAYED)).all())
    return [row.id if place % 2 else row.contract_id for place, row in enumerate(rows)]
