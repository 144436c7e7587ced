"""`make bench`: the figures of the README, measured here; the raw numbers go to tests/bench/results."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import click
from rich.console import Console

from tests.bench import alive, calls, flat, gateway, idle, latency, limit, line, machine, memory, shared, throughput
from tests.bench.figures import Measured
from tests.bench.report import Teller, table, write
from tests.bench.servers import missing
from tests.bench.systems import RATE, distributed, embedded

SWITCH_S: Final = 0.0005
"""The simulated Deel stamps arrivals in this process: what else is done here must not make them late."""
WIDE: Final = 200


@dataclass(frozen=True)
class Part:
    """Something that can be measured alone, on a system of its own."""

    name: str
    measure: Callable[[Teller], Iterator[Measured]]
    with_servers: bool = True


@click.command()
@click.option("--only", "words", multiple=True, metavar="WORD", help="Only parts whose name holds it; repeatable.")
@click.option("--list", "listed", is_flag=True, help="Name the parts.")
def main(words: tuple[str, ...], *, listed: bool) -> None:
    """Measure all that can be measured here."""
    wanted = [part for part in PARTS if not words or any(word in part.name for word in words)]
    if listed:
        click.echo("\n".join(part.name for part in wanted))
        return
    if not wanted:
        raise click.UsageError(f"No part is called like that. There are: {', '.join(part.name for part in PARTS)}.")
    started = time.monotonic()
    sys.setswitchinterval(SWITCH_S)
    for name in [name for name in os.environ if name.startswith("ONBOARDING_")]:
        del os.environ[name]  # no setting that the shell happens to have
    console = Console(soft_wrap=True, width=None if sys.stdout.isatty() else WIDE)  # a pipe has no width
    here, away = machine.describe(), missing()
    console.print(", ".join(f"{name} {fact}" for name, fact in here.items()), highlight=False)
    measured = []
    with Teller(console) as teller:
        for part in wanted:
            if part.with_servers and away is not None:
                continue
            for each in part.measure(teller):
                write(each, here)
                measured.append(each)
    console.print()
    console.print(table(console, measured), highlight=False)
    if away is not None:
        console.print(f"\n{away}: only what needs no server was measured.", highlight=False)
    console.print(f"\nTook {time.monotonic() - started:.0f} s. Raw numbers: tests/bench/results/", highlight=False)


def _calls(teller: Teller) -> Iterator[Measured]:
    teller.begins("Calls to Deel: starting everything in one process")
    with embedded(deel_rate=RATE) as small:
        small.serve()
        yield calls.measure(small, teller)


def _latency_embedded(teller: Teller) -> Iterator[Measured]:
    teller.begins("Latency: starting everything in one process")
    with embedded(deel_rate=RATE) as small:
        small.serve()
        yield latency.measure(small, "latency-embedded", teller)


def _latency_servers(teller: Teller) -> Iterator[Measured]:
    teller.begins("Latency: starting intake, beat and a worker on RabbitMQ and PostgreSQL")
    with distributed(deel_rate=RATE) as system:
        system.serve()
        yield latency.measure(system, "latency-rabbitmq-postgresql", teller)


def _order(teller: Teller) -> Iterator[Measured]:
    teller.begins("Order: putting ten thousand runs in line")
    with distributed(rate=line.ORDER_RATE) as system:
        yield line.in_order(system, teller)


def _living(teller: Teller) -> Iterator[Measured]:
    teller.begins("New hires beside replays: starting intake, beat and a worker")
    with distributed(rate=line.RATE) as system:
        yield line.the_living(system, teller)


def _limit(teller: Teller) -> Iterator[Measured]:
    teller.begins("At the limit: starting intake, beat and four workers on one budget")
    with distributed(rate=limit.RATE) as system:
        system.serve(workers=limit.WORKERS, concurrency=1)
        yield limit.measure(system, teller)


def _shared(teller: Teller) -> Iterator[Measured]:
    teller.begins("Beside a stranger: starting intake, beat and a worker")
    with distributed(rate=shared.RATE) as system:
        system.serve(workers=1, concurrency=8)
        yield shared.measure(system, teller)


def _flat_store(teller: Teller) -> Iterator[Measured]:
    with flat.stores(teller.begins) as (small, large):
        yield flat.measure_questions(large, teller)
        yield flat.measure_runs(small, large, teller)


def _flat_memory(teller: Teller) -> Iterator[Measured]:
    yield memory.measure(teller.begins)


def _gateway(teller: Teller) -> Iterator[Measured]:
    yield gateway.measure(teller)


def _throughput(teller: Teller) -> Iterator[Measured]:
    yield throughput.measure(teller)


def _first_words(teller: Teller) -> Iterator[Measured]:
    yield idle.measure_first_words(teller)


def _idle(teller: Teller) -> Iterator[Measured]:
    teller.begins("Idle: starting intake, beat and a worker on RabbitMQ and PostgreSQL")
    with distributed() as system:
        system.serve()
        yield idle.measure_idle(system, teller)


def _keep_alive(teller: Teller) -> Iterator[Measured]:
    yield alive.measure(teller.begins)


PARTS: Final = (
    Part("first-words", _first_words, with_servers=False),
    Part("calls", _calls, with_servers=False),
    Part("keep-alive", _keep_alive, with_servers=False),
    Part("latency-embedded", _latency_embedded, with_servers=False),
    Part("latency-servers", _latency_servers),
    Part("idle", _idle),
    Part("order", _order),
    Part("living", _living),
    Part("limit", _limit),
    Part("shared", _shared),
    Part("gateway", _gateway),
    Part("throughput", _throughput),
    Part("flat-store", _flat_store),
    Part("flat-memory", _flat_memory),
)


if __name__ == "__main__":
    main()
