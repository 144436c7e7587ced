"""Deel's request limit: so many per organisation in any rolling second, all tokens together."""

from __future__ import annotations

from collections import defaultdict, deque

WINDOW_S = 1.0


class Limiter:
    """Runs on the real monotonic clock. Not locked: its user holds the one lock.

    Source: Deel's API, rate limits page (5 per second, rolling, every token of the organisation).
    """

    def __init__(self, rate: int | None) -> None:
        self.rate = rate  # None: no limit
        self._counted: dict[str, deque[float]] = defaultdict(deque)

    def admit(self, organization_id: str, arrived: float, *, refused_count: bool) -> tuple[bool, float]:
        """Whether a call that arrived then (monotonic seconds) may pass, and when it was taken to arrive.

        Threads may come here in another order than their calls arrived: none is put before one that counts.
        """
        counted = self._counted[organization_id]
        if counted:
            arrived = max(arrived, counted[-1])
        while counted and counted[0] <= arrived - WINDOW_S:
            counted.popleft()
        admitted = self.rate is None or len(counted) < self.rate
        if admitted or refused_count:
            counted.append(arrived)
        return admitted, arrived
