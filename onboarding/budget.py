"""The request budget of an organisation: what it may send to Deel per second, all processes together.

Deel counts all tokens of an organisation in one rolling second, refuses the rest with 429 and sends no
rate-limit headers (source: Deel's API, rate limits). So each call takes a slot in the store first, and waits
for it in the order of asking.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections import deque
from typing import Final

import structlog
from pydantic import SecretStr

from onboarding.deel import TryLater
from onboarding.dialling import time_left
from onboarding.runs import Reason
from onboarding.store import budgets
from onboarding.store.engine import Store

log = structlog.get_logger(__name__)

SLACK_S: Final = 0.015
"""Added to the window: LATE_S for calls that start late here, the rest for those that take longer on their way."""
LATE_S: Final = 0.007
"""A call that is later on its way has lost its slot, and the machine is busy: windows are longer for a while."""
UNHURRIED_S: Final = 0.08
"""So much longer lasts a slot that nobody waits for: a commit and a new connection take their time."""
OF_WHAT_IS_SPARE: Final = 0.5
"""So much of what a slot lasts longer than a window is for calls that start late here; the rest is for their way."""
MOST_SLOTS: Final = 20
"""Of a rate above it, the window is the half, the third, ... of a second: the row stays small."""
LONGEST_WAIT_S: Final = 20.0
"""A step that would wait longer is tried later, so that it does not outlive its lease."""
MAX_OVERSLEPT: Final = 5
LONGEST_LEAD_S: Final = 2.0
"""How far ahead a slot is taken where the store is slow to commit."""
CLOCKS_AGREE_S: Final = 30.0
"""Two clocks that nobody sets drift apart by less than LATE_S in that time."""


def fingerprint_of(token: SecretStr) -> str:
    """What names a token in the store without telling it."""
    return hashlib.sha256(b"deel-token:" + token.get_secret_value().encode()).hexdigest()[:16]


def pace_of(rate: float) -> budgets.Pace:
    """No second, wherever it begins, holds more than `rate` calls: a window is a half of one, a third, or longer."""
    times = max(1, math.ceil(math.floor(rate) / MOST_SLOTS))
    slots = max(1, math.floor(rate / times))
    return budgets.Pace(slots, max(1 / times, 1 / rate) + SLACK_S, LONGEST_WAIT_S, UNHURRIED_S)


class Budget:
    """The budget of one Deel token. Safe for threads and processes: the store holds it."""

    def __init__(self, store: Store, token: SecretStr, rate: float) -> None:
        self.fingerprint = fingerprint_of(token)
        self.rate = rate
        self._store = store
        self._pace = pace_of(rate)
        self._clocks = Clocks()
        self._lead_s = 0.0

    def take(self) -> float:
        """Wait for a slot, at most 20 s, and no longer than the step has left. To be called before every request.

        Returns the moment, on the monotonic clock, by which the request has to be on its way: another slot is
        to be taken after that.

        Raises TryLater (`rate_limited`) when none comes free by then, StoreUnavailable when the store is away.
        """
        patience_s = min(LONGEST_WAIT_S, time_left())
        for _ in range(MAX_OVERSLEPT):
            slot = self._reserve(patience_s)
            earliest, latest = self._clocks.ours(slot.begins_at)
            time.sleep(max(0.0, latest - time.monotonic()))
            late_s = time.monotonic() - earliest
            spare_s = slot.ends_at - slot.begins_at - self._pace.window_s
            leave_by = earliest + LATE_S + spare_s * OF_WHAT_IS_SPARE
            if late_s > LATE_S:
                self._busy(slot, late_s, latest - earliest)
            if time.monotonic() < leave_by:
                return leave_by  # later, its time has passed: another call may start with ours
            self._lead_s = max(self._lead_s, min(2 * late_s, LONGEST_LEAD_S))
        raise TryLater(Reason.RATE_LIMITED)

    def _reserve(self, patience_s: float) -> budgets.Slot:
        if self._clocks.need_a_look(time.monotonic()):
            for _ in range(2):  # the first one may have had to connect
                self._clocks.saw(self._store.read(budgets.look_at_clock))
        for _ in range(2):
            slot = self._store.write_one(
                lambda db: budgets.reserve(db, self.fingerprint, self._pace, patience_s, self._lead_s)
            )
            if slot is not None:
                self._clocks.saw(slot)
                took_s = slot.answered - slot.asked  # where nobody waits, a slot begins when its commit is over
                self._lead_s = min(1.5 * took_s, LONGEST_LEAD_S) if took_s > UNHURRIED_S * OF_WHAT_IS_SPARE / 2 else 0.0
                return slot
            wait_s = self._store.write(lambda db: budgets.lay_out(db, self.fingerprint, self._pace))
            if wait_s > patience_s:
                break
        raise TryLater(Reason.RATE_LIMITED, after_s=wait_s)

    def _busy(self, slot: budgets.Slot, late_s: float, uncertain_s: float) -> None:
        """It was late for its slot, and others may be so on their way already: windows are longer for a while.

        So they are for who cannot know the time any better, as the database is that far away; but not for who only
        waited for a commit.
        """
        if slot.begins_at > slot.given_at or uncertain_s > LATE_S:
            wider_s = max(late_s, 2 * uncertain_s)
            self._store.write(lambda db: budgets.allow_for(db, self.fingerprint, wider_s))

    def hold(self, seconds: float) -> None:
        """After a 429: nobody starts for so long, and fewer start for a while."""
        slower_s = self._store.write(lambda db: budgets.hold(db, self.fingerprint, self._pace, seconds))
        if slower_s is not None:
            log.warning("budget_slowed", rate=self.rate, now=round(self.rate_with(slower_s), 1))

    def use(self) -> budgets.Use:
        """Slots taken at this moment, and whether the pace is slower."""
        return self._store.read(lambda db: budgets.use(db, self.fingerprint))

    def rate_with(self, slower_s: float) -> float:
        """Requests per second while each window is longer by so much."""
        return rate_with(self._pace, slower_s)


def rate_with(pace: budgets.Pace, slower_s: float) -> float:
    """Requests per second while each window is longer by so much."""
    return pace.slots / (pace.window_s + slower_s)


class Clocks:
    """How far the database's clock is ahead of this process's monotonic one: between two bounds.

    An answer gives bounds as far apart as it took, with the wait for the row in it. Those of the quickest answer
    lately hold for the others, too, unless one contradicts them: then a clock was set.
    """

    def __init__(self) -> None:
        self._seen: deque[tuple[float, float, float]] = deque(maxlen=50)
        self._looked_at = -math.inf

    def need_a_look(self, now: float) -> bool:
        """Whether nothing tells the time well enough: what writes waits for its commit, and is no quick answer."""
        known = any(most - least < LATE_S for at, least, most in self._seen if at > now - CLOCKS_AGREE_S)
        if known or self._looked_at > now - CLOCKS_AGREE_S:
            return False
        self._looked_at = now
        return True

    def saw(self, answer: budgets.Clock) -> None:
        """The database told its time."""
        seen = (answer.answered, answer.given_at - answer.answered, answer.given_at - answer.asked)
        while self._seen and self._seen[0][0] < answer.answered - CLOCKS_AGREE_S:
            self._seen.popleft()
        if any(least > seen[2] or most < seen[1] for _, least, most in self._seen):
            self._seen.clear()
        self._seen.append(seen)

    def ours(self, moment: float) -> tuple[float, float]:
        """When that is on our clock, at the earliest and at the latest."""
        least = max(each[1] for each in self._seen)
        most = min(each[2] for each in self._seen)
        return moment - most, moment - least
