"""The throughput's own arithmetic, and that its peers do the same work as we."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import closing

import pytest

from tests.bench import cpu, throughput
from tests.bench.contenders import OURS, PLAIN_CONFIRMED, PLAIN_UNCONFIRMED
from tests.bench.outside import outside
from tests.bench.peers import steps


def turn(seconds: float, cpu_s: float = 3.0) -> throughput.Turn:
    """Of 300 contracts, with a quiet Deel."""
    return throughput.Turn(300, seconds, cpu_s, {throughput.DEEL: 0.6, "RabbitMQ": 1.2}, calls=900)


def test_neighbours_are_compared_and_the_median_is_told() -> None:
    """A minute in which the machine was slow hits both of a pair: their quotient stays; peers without an aim too."""
    turns = {
        OURS: [turn(10), turn(10), turn(30)],
        PLAIN_CONFIRMED: [turn(5), turn(5), turn(15)],
        PLAIN_UNCONFIRMED: [turn(20, 6.0), turn(20, 6.0), turn(1, 6.0)],
    }
    told = [(each.what.strip(), each.value, each.aim, each.met) for each in throughput.figures(turns)]
    assert told == [
        ("ours", "30.0/s, 10.0 ms CPU", "", None),
        ("ms CPU of servers", "Deel 2.0, RabbitMQ 4.0", "", None),
        ("share of a core, Deel", "6%", "", None),
        ("plain Celery, confirms on", "60.0/s, 10.0 ms CPU", "", None),
        ("ms CPU of servers", "Deel 2.0, RabbitMQ 4.0", "", None),
        ("share of a core, Deel", "12%", "", None),
        ("plain Celery, confirms off", "15.0/s, 20.0 ms CPU", "", None),
        ("ms CPU of servers", "Deel 2.0, RabbitMQ 4.0", "", None),
        ("share of a core, Deel", "60%", "", None),
        ("ours / plain Celery, confirms on", "0.50", ">= 1.0", False),
        ("ours / plain Celery, confirms off", "2.00", "", None),
    ]


@pytest.mark.skipif(not cpu.countable(), reason="this system does not tell CPU times")
def test_cpu_time_holds_children_that_are_gone() -> None:
    """What a child spent counts for its parent once it has been waited for; nobody's is nothing."""
    before = cpu.seconds([os.getpid()])
    subprocess.run([sys.executable, "-c", "while __import__('time').process_time() < 0.3: pass"], check=True)
    assert cpu.seconds([os.getpid()]) - before > 0.25
    assert cpu.seconds([]) == 0.0


def test_the_peers_do_what_we_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five steps: our three calls to Deel, each answered with success, and one notification that names the contract."""
    with outside() as deel:
        for name, value in (("DEEL_URL", deel.deel_url), ("DEEL_TOKEN", deel.deel_token), ("SINK_URL", deel.sink_url)):
            monkeypatch.setenv(f"PEER_{name}", value)
        deel.hire(["c-1"])
        with closing(steps.client()):
            facts = steps.verify_token(steps.issue_token(steps.ensure_profile(steps.contract_created("c-1"))))
            steps.notify(facts)
        _, calls = deel.told_of(["c-1"], 5.0)
        assert calls == 3
        with pytest.raises(TimeoutError):
            deel.told_of(["c-1", "c-2"], 0.1)
