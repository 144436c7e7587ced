"""Faults that a test asks for, one by one or drawn from a seed."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal, get_args


class Kind(StrEnum):
    """What goes wrong with one call."""

    STATUS = "status"  # an error status, nothing done
    HTML = "html"  # a gateway's page, nothing done
    CUT_BEFORE = "cut_before"  # the connection ends, nothing done
    SLOW = "slow"  # late: the wait comes first, then it is done and answered
    TRUNCATED = "truncated"  # done, the JSON ends half way
    CUT_AFTER = "cut_after"  # done, the connection ends instead of the answer
    STATUS_AFTER = "status_after"  # done, an error status instead of the answer: no key keeps it


RandomKind = Literal["500", "502", "503", "429", "html", "truncated", "cut_before", "cut_after", "slow"]
RANDOM_KINDS: Final[tuple[RandomKind, ...]] = get_args(RandomKind)
_RANDOM_SLOW_S = 0.05


@dataclass
class Fault:
    """`times` counts down; `contract_id` None means every contract's calls."""

    kind: Kind
    route: str
    times: int = 1
    contract_id: str | None = None
    status: int = 500
    seconds: float = 0.0

    def __str__(self) -> str:
        """The ledger's word for it."""
        return str(self.status) if self.kind is Kind.STATUS else str(self.kind)


class Faults:
    """Those waiting to happen. Not locked: its user holds the one lock."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._scripted: list[Fault] = []
        self._share = 0.0
        self._kinds: tuple[RandomKind, ...] = RANDOM_KINDS
        self._calls: Counter[tuple[str, str | None]] = Counter()

    def script(self, fault: Fault) -> None:
        """The next `times` matching calls fail so; earlier scripts first."""
        self._scripted.append(fault)

    def draw(self, share: float, kinds: tuple[RandomKind, ...]) -> None:
        """From now on this share of all calls fails in one of these ways. A share of 0 ends it."""
        unknown = set(kinds) - set(RANDOM_KINDS)
        if unknown or not kinds or not 0 <= share <= 1:
            raise ValueError(f"a share from 0 to 1, and kinds from {', '.join(RANDOM_KINDS)}")
        self._share, self._kinds = share, kinds

    def take(self, route: str, contract_id: str | None) -> Fault | None:
        """What happens to this call. Scripted faults come before drawn ones."""
        self._calls[route, contract_id] += 1
        for fault in self._scripted:
            if fault.times > 0 and fault.route == route and fault.contract_id in (None, contract_id):
                fault.times -= 1
                return fault
        return self._drawn(route, contract_id) if self._share else None

    def _drawn(self, route: str, contract_id: str | None) -> Fault | None:
        """Depends on the seed and on how often this contract came by this route, not on thread timing."""
        nth = self._calls[route, contract_id]
        dice = random.Random(f"{self._seed}|{route}|{contract_id}|{nth}")
        if dice.random() >= self._share:
            return None
        word = dice.choice(self._kinds)
        if word.isdigit():
            return Fault(Kind.STATUS, route, status=int(word))
        return Fault(Kind(word), route, status=502, seconds=_RANDOM_SLOW_S)
