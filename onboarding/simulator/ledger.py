"""Every call that reached Deel, and what became of it: a record of its own, beside the store's."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

TokenKind = Literal["org", "worker", "none"]


@dataclass(frozen=True)
class Call:
    """One call. `status` is what the caller saw: 0 where the connection was cut."""

    at_monotonic: float  # arrival, real clock
    at: datetime  # Deel's clock, when it was answered
    method: str
    route: str  # "" for a path that Deel does not have
    path: str
    status: int
    organization_id: str | None
    contract_id: str | None
    profile_id: str | None  # the HRIS profile
    idempotency_key: str | None
    token_kind: TokenKind
    counted: bool  # took a place in the rolling second
    refused: bool  # by the limiter
    replayed: bool  # the answer that the Idempotency-Key got before
    fault: str | None
    request_id: str


class Ledger:
    """In order of arrival. Safe to read while calls come in: a list is only ever appended to."""

    def __init__(self) -> None:
        self._calls: list[Call] = []

    def record(self, call: Call) -> None:
        """Before the answer leaves, so that who got an answer finds its call here."""
        self._calls.append(call)

    def __iter__(self) -> Iterator[Call]:
        """In order of arrival."""
        return iter(sorted(self._calls, key=lambda call: call.at_monotonic))

    def __len__(self) -> int:
        """All calls."""
        return len(self._calls)

    def calls(self, route: str | None = None, contract: str | None = None) -> list[Call]:
        """Those on this route and about this contract; None takes all."""
        return [call for call in self if route in (None, call.route) and contract in (None, call.contract_id)]

    def count(self, route: str | None = None, contract: str | None = None) -> int:
        """How many `calls` there are."""
        return len(self.calls(route, contract))

    def refused(self) -> int:
        """Calls that the limiter refused."""
        return sum(call.refused for call in self)

    def worst_second(self) -> int:
        """The most counted calls of one organisation in any rolling second."""
        arrivals: dict[str | None, list[float]] = defaultdict(list)
        for call in self:
            if call.counted:
                arrivals[call.organization_id].append(call.at_monotonic)
        return max((_most_in_a_second(times) for times in arrivals.values()), default=0)


def _most_in_a_second(times: Iterable[float]) -> int:
    window: list[float] = []
    most = 0
    for time in times:
        window = [earlier for earlier in window if earlier > time - 1.0] + [time]
        most = max(most, len(window))
    return most
