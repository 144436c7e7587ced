"""Every named fail point of the product, in the real processes: one blow at each, of one kind."""

from __future__ import annotations

import itertools
import random
from functools import partial

from onboarding.failpoints import ACCESS_POINTS, POINTS, REVOKE_POINTS, ROUND_POINTS
from tests.chaos.auditor import Expected
from tests.chaos.ending import Say
from tests.chaos.plant import LEASE_S, Plant, wait_for
from tests.chaos.scenarios import hire, scenario, until_some
from tests.chaos.servers import clock_ahead

KINDS: dict[str, tuple[str, ...]] = {  # one after the other, where there are several
    "kill -9": ("kill",),
    "exception": ("raise",),
    "cut connection": ("cut",),
    "disk full": ("disk_full",),
    "pause beyond the lease": (f"pause:{LEASE_S * 1.3:g}",),
    "clock jump": ("clock:3600", "clock:-3600", "clock:90000"),
}
SHORT = "kill -9"
# no run comes by those: tests/onboarding/test_access_processes.py, test_revoking.py and test_rounds.py strike each
STRUCK = POINTS - {*ACCESS_POINTS, *REVOKE_POINTS, *ROUND_POINTS}


def _blow(actions: tuple[str, ...], made: Plant, _dice: random.Random, say: Say) -> Expected:
    fired = made.system.folder / "fired"
    fired.mkdir()
    armed = ",".join(map("=".join, zip(sorted(STRUCK), itertools.cycle(actions), strict=False)))
    # the clock is that of the process that gets there; the database's and Deel's go on
    clock = clock_ahead(made.system.folder, 0) if actions[0].startswith("clock") else {}
    for name, machine in made.machines.items():
        if name != "beat":  # it runs no code of ours that has a point
            blows = {"ONBOARDING_FAILPOINTS": armed, "ONBOARDING_FAILPOINTS_DIR": str(fired)}
            machine.environment |= blows | clock
    made.begin()
    names = hire(made, 12)
    for number in range(3):  # they fail, and that is told: one try dies before the target has it, one after
        made.system.hire(f"c-other-{number}", email="canary-c-other@people.example", type="ongoing_time_based")
    until_some(made, names, 6, 120)
    for name in names:  # an HRIS sends once more: what an exception made a dead letter gets its run
        webhook = made.system.deel.webhook("contract.created", name)
        made.system.publish(webhook.body, dict(webhook.headers))
    # facts that nobody told are asked for: the first step has calls then
    made.system.deel.has_contract("c-unsigned", email="canary-c-unsigned@people.example")
    for _ in range(2):
        made.system.publish(b'{"type": "contract.created", "contract_id": "c-unsigned"}')
    wait_for(lambda: len(list(fired.iterdir())) == len(STRUCK), 60)
    say(f"{len(list(fired.iterdir()))} of {len(STRUCK)} points struck")
    return Expected([*names, "c-unsigned"], traces=[fired / point for point in sorted(STRUCK)])


for word, each in KINDS.items():
    scenario(f"every fail point: {word}", short=word == SHORT, patience_s=180)(partial(_blow, each))
