"""What it costs when nothing happens, and how soon a person sees something."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.bench import cpu
from tests.bench.figures import Figure, Measured, percentile
from tests.bench.systems import Distributed
from tests.integration.system import BIN

WATCHED_S: Final = 30
AIM_SHARE: Final = 0.01
HELP_TIMES: Final = 10
AIM_HELP_MS: Final = 200
AIM_FIRST_LINE_S: Final = 3.0

Say = Callable[[str, int, int], None]


def measure_idle(system: Distributed, say: Say) -> Measured:
    """A worker, an intake and a beat, each by itself, once their starts are over."""
    time.sleep(10)
    processes = {name: process.pid for name, process in system.processes.items()}
    before = {name: cpu.seconds([pid]) for name, pid in processes.items()}
    for second in range(WATCHED_S):
        say("idle", second, WATCHED_S)
        time.sleep(1)
    shares = {name: (cpu.seconds([pid]) - before[name]) / WATCHED_S for name, pid in processes.items()}
    figures = [
        Figure(f"{name}, of a core", f"{share:.2%}", f"< {AIM_SHARE:.0%}", share < AIM_SHARE)
        for name, share in sorted(shares.items())
    ]
    return Measured(
        "idle", f"Idle for {WATCHED_S} s, worker with two processes", figures, {"unit": "of a core", **shares}
    )


def measure_first_words(say: Say) -> Measured:
    """From the command to its first words: the help's last, the demo's first."""
    helps = []
    for number in range(HELP_TIMES):
        say("onboarding --help", number, HELP_TIMES)
        began = time.perf_counter()
        subprocess.run([BIN / "onboarding", "--help"], check=True, capture_output=True)
        helps.append((time.perf_counter() - began) * 1000)
    help_ms, demo_s = percentile(helps, 0.5), _first_progress_s()
    figures = [
        Figure("onboarding --help, p50", f"{help_ms:.0f} ms", f"< {AIM_HELP_MS} ms", help_ms < AIM_HELP_MS),
        Figure("make demo: first line of progress", f"{demo_s:.1f} s", f"<= {AIM_FIRST_LINE_S:g} s",
               demo_s <= AIM_FIRST_LINE_S),
    ]  # fmt: skip
    return Measured(
        "first-words", "First words", figures, {"help_ms": [round(each, 1) for each in helps], "demo_s": demo_s}
    )


def _first_progress_s() -> float:
    """Until the demo says how many of its runs have ended, in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        demo = subprocess.Popen(
            [BIN / "onboarding", "demo"], cwd=Path(folder), env=dict(os.environ), stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        assert demo.stdout is not None
        first = next(time.perf_counter() - began for line in demo.stdout if " ended" in line)
        demo.stdout.read()
        demo.wait()
    return first
