"""What the bench computes from what it saw: pure, so that its own tests need no servers and no clock."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

WINDOW_S: Final = 1.0
"""Deel counts in a rolling second (source: Deel's API, rate limits)."""


@dataclass(frozen=True)
class Figure:
    """One line of the table. `met` is None where the figure has no aim of its own."""

    what: str
    value: str
    aim: str = ""
    met: bool | None = None


@dataclass(frozen=True)
class Measured:
    """What one measurement came to: lines for people, and the raw numbers that they were made from."""

    name: str  # of the file of its raw numbers
    title: str
    figures: list[Figure]
    raw: dict[str, Any] = field(repr=False)


def percentile(values: Sequence[float], share: float) -> float:
    """The nearest-rank percentile: the smallest value that `share` (0 to 1) of all are not above.

    Raises ValueError without values, or for a share outside of 0 to 1.
    """
    if not values or not 0 <= share <= 1:
        raise ValueError("values, and a share of 0 to 1")
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def calls_possible(rate: int, seconds: float) -> int:
    """The most calls that a limit of `rate` per rolling second lets through between two moments, both included.

    They come in bursts: `rate` at the start, and as many again each time that a whole second has passed.
    """
    return rate * (math.floor(seconds / WINDOW_S) + 1)


def span_s(arrivals: Sequence[float]) -> float:
    """Seconds from the first arrival to the last."""
    return max(arrivals) - min(arrivals) if arrivals else 0.0
