"""CPU time as Linux counts it: of a process, its children, and those that they have waited for."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Final

PROC: Final = Path("/proc")
PARENT, _FIRST, _LAST = 1, 11, 15  # fields behind the name: ppid; utime, stime, cutime, cstime (man 5 proc)


def countable() -> bool:
    """Whether this system tells."""
    return (PROC / "self" / "stat").exists()


def seconds(pids: Iterable[int]) -> float:
    """User and system time so far, of these and of all below them. It never falls: who ends adds to its parent."""
    used: dict[int, float] = {}
    children: dict[int, list[int]] = defaultdict(list)
    for entry in PROC.glob("[0-9]*"):
        fields = stat(entry)
        if fields is not None:
            pid = int(entry.name)
            used[pid] = sum(map(int, fields[_FIRST:_LAST])) / os.sysconf("SC_CLK_TCK")
            children[int(fields[PARENT])].append(pid)
    tree = set(pids)
    below = list(tree)
    while below:
        found = [child for child in children[below.pop()] if child not in tree]
        tree.update(found)
        below += found
    return sum(used.get(pid, 0.0) for pid in tree)


def stat(entry: Path) -> list[str] | None:
    """The fields behind the name, which may hold spaces and brackets; None once the process is gone."""
    try:
        return (entry / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
