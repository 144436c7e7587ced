"""A run that kills its worker at every try."""

from __future__ import annotations

import random

from tests.chaos.auditor import Expected
from tests.chaos.ending import Say
from tests.chaos.plant import Plant
from tests.chaos.scenarios import hire, scenario, until_some

POISON = "poison-0"


@scenario("a poison run is parked after three deaths, the others go on", short=True)
def poison(made: Plant, _dice: random.Random, say: Say) -> Expected:
    """Its worker dies behind the call that makes the profile, each time; a replay ends it once that is mended."""
    for name in ("worker-0", "worker-1"):
        made.machines[name].options = ("-I", "tests.chaos.poison")
    hire(made, 1, "poison")
    names = hire(made, 20)
    made.begin()
    until_some(made, names, len(names), 120)
    made.system.until(lambda: made.system.runs()[POISON].state == "failed", 90, "the poison is parked")
    row = made.system.runs()[POISON]
    deaths = [outcome for _, outcome, _ in made.system.timeline(POISON)].count("crashed")
    say(f"{row.state} as {row.reason} after {deaths} deaths")
    assert (row.reason, deaths) == ("crash_loop", 3)
    for name in ("worker-0", "worker-1"):
        made.machines[name].options = ()
        made.system.processes[name].terminate()
        made.system.processes[name].wait(60)
    return Expected([*names, POISON])
