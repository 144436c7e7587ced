"""The request budget of an organisation: what it may send to Deel per second, all processes together.

Deel counts all tokens of an organisation in one rolling second, refuses the rest with 429 and sends no
rate-limit headers (source: Deel's API, rate limits). So each call takes a slot in the store first, and waits
for it in the order of asking.
"""

from __future__ import annotations

import hashlib
import math
import time
from typing import Final

from pydantic import SecretStr

from onboarding.deel import TryLater
from onboarding.dialling import time_left
from onboarding.runs import Reason
from onboarding.store import budgets
from onboarding.store.engine import Store

SLACK_S: Final = 0.1
"""Added to the window: half for calls that start late here, half for those that take longer on their way to Deel."""
LATE_S: Final = 0.05
"""A call that takes longer than this to get on its way has lost its slot."""
LONGEST_WAIT_S: Final = 20.0
"""A step that would wait longer is tried later, so that it does not outlive its lease."""
MAX_OVERSLEPT: Final = 5
LONGEST_LEAD_S: Final = 2.0
"""How far ahead a slot is taken where the store is slow to commit."""


def fingerprint_of(token: SecretStr) -> str:
    """What names a token in the store without telling it."""
    return hashlib.sha256(b"deel-token:" + token.get_secret_value().encode()).hexdigest()[:16]


class Budget:
    """The budget of one Deel token. Safe for threads and processes: the store holds it."""

    def __init__(self, store: Store, token: SecretStr, rate: float) -> None:
        slots = max(1, math.floor(rate))
        self.fingerprint = fingerprint_of(token)
        self.rate = rate
        self._store = store
        self._pace = budgets.Pace(slots, slots / rate + SLACK_S, LONGEST_WAIT_S)

    def take(self) -> float:
        """Wait for a slot, at most 20 s, and no longer than the step has left. To be called before every request.

        Returns the moment, on the monotonic clock, by which the request has to be on its way: another slot is
        to be taken after that.

        Raises TryLater (`rate_limited`) when none comes free by then, StoreUnavailable when the store is away.
        """
        patience_s = min(LONGEST_WAIT_S, time_left())
        lead_s = 0.0
        for _ in range(MAX_OVERSLEPT):
            slot = self._reserve(patience_s, lead_s)
            if slot.wait_s > patience_s:
                raise TryLater(Reason.RATE_LIMITED, after_s=slot.wait_s)
            time.sleep(max(0.0, slot.latest - time.monotonic()))
            late_s = time.monotonic() - slot.earliest
            if late_s < LATE_S:
                return slot.earliest + LATE_S  # later, its time has passed: another call may start with ours
            lead_s = min(2 * late_s, LONGEST_LEAD_S)  # a commit takes that long here: the next begins after it
        raise TryLater(Reason.RATE_LIMITED)

    def _reserve(self, patience_s: float, lead_s: float) -> budgets.Slot:
        return self._store.write(
            lambda db: budgets.reserve(db, self.fingerprint, self._pace, patience_s, lead_s=lead_s)
        )

    def hold(self, seconds: float) -> None:
        """After a 429: nobody starts for so long."""
        self._store.write(lambda db: budgets.hold(db, self.fingerprint, self._pace, seconds))

    def in_use(self) -> int:
        """Slots taken at this moment."""
        return self._store.read(lambda db: budgets.in_use(db, self.fingerprint))
