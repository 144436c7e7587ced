"""`make bench`: the figures of the README, measured here; the raw numbers go to tests/bench/results."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

from rich.console import Console

from tests.bench import calls, latency, limit, line, machine
from tests.bench.figures import Measured
from tests.bench.report import Teller, table, write
from tests.bench.servers import missing
from tests.bench.systems import RATE, distributed, embedded


def main() -> None:
    """Measure all that can be measured here."""
    started = time.monotonic()
    for name in [name for name in os.environ if name.startswith("ONBOARDING_")]:
        del os.environ[name]  # no setting that the shell happens to have
    console = Console(soft_wrap=True)
    here, away = machine.describe(), missing()
    console.print(", ".join(f"{name} {fact}" for name, fact in here.items()), highlight=False)
    measured = []
    with Teller(console) as teller:
        for each in measurements(teller, with_servers=away is None):
            write(each, here)
            measured.append(each)
    console.print()
    console.print(table(console, measured), highlight=False)
    if away is not None:
        console.print(f"\n{away}: only what needs no server was measured.", highlight=False)
    console.print(f"\nTook {time.monotonic() - started:.0f} s. Raw numbers: tests/bench/results/", highlight=False)


def measurements(teller: Teller, *, with_servers: bool) -> Iterator[Measured]:
    """One after the other, each on a system of its own."""
    teller.begins("Calls to Deel: starting everything in one process")
    with embedded(deel_rate=RATE) as small:
        small.serve()
        yield calls.measure(small, teller)
    teller.begins("Latency: starting everything in one process")
    with embedded(deel_rate=RATE) as small:
        small.serve()
        yield latency.measure(small, "latency-embedded", teller)
    if not with_servers:
        return
    teller.begins("Latency: starting intake, beat and a worker on RabbitMQ and PostgreSQL")
    with distributed(deel_rate=RATE) as system:
        system.serve()
        yield latency.measure(system, "latency-rabbitmq-postgresql", teller)
    teller.begins("Order: putting ten thousand runs in line")
    with distributed(rate=line.ORDER_RATE) as system:
        yield line.in_order(system, teller)
    teller.begins("New hires beside replays: starting intake, beat and a worker")
    with distributed(rate=line.RATE) as system:
        yield line.the_living(system, teller)
    teller.begins("At the limit: starting intake, beat and four workers on one budget")
    with distributed(rate=limit.RATE) as system:
        system.serve(workers=limit.WORKERS, concurrency=1)
        yield limit.measure(system, teller)


if __name__ == "__main__":
    main()
