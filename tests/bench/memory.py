"""What a worker's processes hold in memory, with a short line and with a long one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from sqlalchemy import func, select

from onboarding.store.tables import runs
from tests.bench import filling
from tests.bench.figures import Figure, Measured
from tests.bench.systems import Distributed, distributed

SHORT: Final = 100
LONG: Final = 100_000
RATE: Final = 20
DONE: Final = 60
"""So many runs are carried to their end before the look, of either line."""
PATIENCE_S: Final = 120.0
AIM_RATIO: Final = 1.1
AIM_MB: Final = 120.0


def measure(begins: Callable[[str], None]) -> Measured:
    """One system after the other, each with a worker of two processes and the one that leads them."""
    held: dict[int, dict[str, dict[str, float]]] = {}
    for waiting in (SHORT, LONG):
        begins(f"Memory: a worker with {waiting:,} runs in line")
        with distributed(rate=RATE) as system:
            held[waiting] = _held(system, waiting)
    most = {waiting: max(each["peak_rss"] for each in of.values()) for waiting, of in held.items()}
    ratio = round(most[LONG] / most[SHORT], 2)
    figures = [
        Figure(
            "largest process at its peak, long line to short", f"{ratio:.2f}", f"<= {AIM_RATIO}", ratio <= AIM_RATIO
        ),
        Figure(f"  with {SHORT:,} in line", f"{most[SHORT]:.0f} MB", f"<= {AIM_MB:.0f} MB", most[SHORT] <= AIM_MB),
        Figure(f"  with {LONG:,} in line", f"{most[LONG]:.0f} MB", f"<= {AIM_MB:.0f} MB", most[LONG] <= AIM_MB),
    ]
    raw: dict[str, Any] = {"unit": "MB", "done": DONE, **{f"line of {count}": of for count, of in held.items()}}
    return Measured("flat-memory", "Memory of a worker with two processes (RSS)", figures, raw)


def _held(system: Distributed, waiting: int) -> dict[str, dict[str, float]]:
    """Each process of the worker after DONE runs, in megabytes."""
    for number in range(1, SHORT + 1):
        contract = f"{filling.IN_LINE}-{number}"
        system.deel.has_contract(contract, email=f"{contract}@example.com")
    url = system.environment["ONBOARDING_DATABASE_URL"]
    filling.wait_in_line(url, waiting)
    filling.settle(url)
    system.serve(concurrency=2)
    system.until(lambda: _completed(system) >= DONE, PATIENCE_S, f"{DONE} of {waiting} runs completed")
    family = list(_family(system.processes["worker-0"].pid))
    return {f"process {place}": _memory(pid) for place, pid in enumerate(family)}


def _completed(system: Distributed) -> int:
    ended = select(func.count()).where(runs.c.state == "completed")
    return int(system.store.read(lambda db: db.execute(ended).scalar_one()))


def _family(pid: int) -> Iterator[int]:
    yield pid
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        yield from _family(int(child))


def _memory(pid: int) -> dict[str, float]:
    """Resident now and at its peak, with what is shared; and its own share of it (PSS)."""
    status = Path(f"/proc/{pid}/status").read_text()
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    found = {
        "rss": _kilobytes("VmRSS", status),
        "peak_rss": _kilobytes("VmHWM", status),
        "pss": _kilobytes("Pss", rollup),
    }
    return {name: round(kilobytes * 1024 / 1e6, 1) for name, kilobytes in found.items()}


def _kilobytes(name: str, text: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB", text, re.MULTILINE)
    assert found is not None, text
    return int(found[1])
