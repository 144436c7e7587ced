"""Clocks: two machines that disagree, and one that jumps."""

from __future__ import annotations

import random
import time

from tests.chaos.auditor import Expected
from tests.chaos.ending import Say
from tests.chaos.plant import Plant
from tests.chaos.scenarios import hire, in_flight, scenario, until_some
from tests.chaos.servers import clock_ahead

HOUR_S = 3600


@scenario("two machines disagree by two minutes")
def disagree(made: Plant, _dice: random.Random, _say: Say) -> Expected:
    """One worker is ahead, the other behind; the intake too. The database's clock decides."""
    for name, seconds in (("worker-0", 60), ("worker-1", -60), ("intake", -60)):
        made.machines[name].environment |= clock_ahead(made.system.folder, seconds)
    made.begin()
    names = hire(made, 30)
    return Expected(names)


@scenario("the clock jumps 25 hours", patience_s=180)
def jumps_ahead(made: Plant, _dice: random.Random, say: Say) -> Expected:
    """Every token has expired by then, here and at Deel; what is completed stays so, what is not gets a new one."""
    made.begin()
    before = hire(made, 10, "before")
    until_some(made, before, len(before))
    names = hire(made, 20)
    until_some(made, names, 2)
    _jump(made, 25 * HOUR_S)
    say("25 hours later")
    expired = [name for name, row in made.system.runs().items() if row.state == "completed"]
    names += hire(made, 5, "after")
    return Expected([*before, *names], expired=frozenset(expired), reissued=frozenset(before + names))


@scenario("the clock jumps back one hour", patience_s=180)
def jumps_back(made: Plant, _dice: random.Random, say: Say) -> Expected:
    """Leases, waits and budget slots of the future are nobody's wait."""
    names = in_flight(made, 30)
    _jump(made, -HOUR_S)
    say("an hour earlier")
    names += hire(made, 5, "after")
    return Expected(names, clock_jumped=True)


def _jump(made: Plant, seconds: int) -> None:
    """Of every machine at once: the servers' and the processes' clocks, and Deel's."""
    clock = clock_ahead(made.system.folder, seconds)
    made.database.kill()
    for machine in made.machines.values():
        machine.environment |= clock
    for process in made.system.processes.values():
        process.kill()
    made.system.deel.clock.advance(seconds)
    made.database.start(clock)
    time.sleep(1.0)
