"""The hands that break things: each act is one blow, told in a line; which comes next is drawn from the seed."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Final

from tests.chaos.plant import Plant

OUTAGE_S: Final = 2.0
PROCESS_ACTS: Final = (
    "child",
    "child",
    "child",
    "child",
    "child",
    "child",
    "worker",
    "intake",
    "beat",
    "stopped child",
)


class Havoc:
    """Blows on a running plant, in the order that the seed draws. `counts`: how many of which kind fell."""

    def __init__(self, plant: Plant, seed: int, say: Callable[[str], None]) -> None:
        self._plant, self._say, self.seed = plant, say, seed
        self._dice = random.Random(f"havoc {seed}")
        self.counts: Counter[str] = Counter()

    @property
    def kills(self) -> int:
        """Processes that died by `kill -9`."""
        return self.counts["process killed"]

    def on_a_process(self) -> None:
        """`kill -9`, or a pause beyond the lease."""
        match self._dice.choice(PROCESS_ACTS):
            case "child":
                self._kill_child()
            case "stopped child":
                self._stop_child()
            case name:
                candidates = [each for each in self._plant.system.processes if each.startswith(name)]
                self._kill_group(self._dice.choice(candidates) if candidates else "")

    def on_a_server(self, act: str) -> None:
        """One of the acts below, by name."""
        self._say(act)
        getattr(self, "_" + act.replace(" ", "_"))()
        self.counts[act] += 1

    def _kill_child(self) -> None:
        children = self._plant.children()
        if children:
            _signal(self._dice.choice(children), signal.SIGKILL)
            self.counts["process killed"] += 1

    def _stop_child(self) -> None:
        """Its lease runs out while it hangs; then it goes on, late."""
        children = self._plant.children()
        if children:
            pid = self._dice.choice(children)
            _signal(pid, signal.SIGSTOP)
            threading.Timer(self._plant.lease_s * 1.5, _signal, (pid, signal.SIGCONT)).start()
            self.counts["paused beyond the lease"] += 1

    def _kill_group(self, name: str) -> None:
        process = self._plant.system.processes.get(name)
        if process is not None and process.poll() is None:
            self.counts["process killed"] += 1 + len(self._plant.children_of(process.pid))
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

    def _broker_restart(self) -> None:
        self._plant.broker.kill()
        self._plant.broker.start()

    def _queues_purged(self) -> None:
        self._plant.purge_steps()

    def _database_restart(self) -> None:
        self._plant.database.kill()
        time.sleep(OUTAGE_S)
        self._plant.database.start()

    def _database_connections_cut(self) -> None:
        self._plant.database.cut_connections()

    def _broker_connections_cut(self) -> None:
        self._plant.proxies.broker.cut()
        time.sleep(OUTAGE_S)
        self._plant.proxies.broker.restore()

    def _deel_away(self) -> None:
        self._plant.system.deel.stop()
        time.sleep(OUTAGE_S)
        self._plant.system.deel.start()

    def _token_revoked(self) -> None:
        deel = self._plant.system.deel
        deel.revoke_token(deel.org_token)
        time.sleep(OUTAGE_S)
        deel.restore_token(deel.org_token)
        self._plant.resume()

    def _second_session_refused(self) -> None:
        self._plant.system.deel.policy.second_session = "refuse"
        time.sleep(OUTAGE_S)
        self._plant.system.deel.policy.second_session = "supersede"

    def _deploy(self) -> None:
        """SIGTERM to a worker; the orchestrator starts the next one."""
        names = [name for name in self._plant.system.processes if name.startswith("worker")]
        if names:
            self._plant.system.processes[self._dice.choice(names)].terminate()


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
