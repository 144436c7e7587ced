"""Idempotency-Key on POST and PATCH, as Deel describes it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from onboarding.simulator.visit import Answer

METHODS: Final = ("POST", "PATCH")
MAX_LENGTH: Final = 64
TWIN_RETRY_AFTER_S: Final = 1
_KEPT = timedelta(hours=24)


@dataclass(frozen=True)
class First:
    """The first answer that a key got: it is every later one's, for 24 hours."""

    answer: Answer
    request_id: str
    at: datetime


class InProgress:
    """The key's first call is not answered yet."""


class IdempotencyKeys:
    """Keys of all organisations. Not locked: its user holds the one lock.

    Source: Deel's API, idempotency page (2xx kept 24 h, a twin in progress gets 429, others are not kept).
    What a key does on another route or with another body is not documented: it replays.
    """

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], First | InProgress] = {}

    def begin(self, organization_id: str, key: str, now: datetime) -> First | InProgress | None:
        """None: the key is new (or forgotten) and is in progress from now on."""
        seen = self._seen.get((organization_id, key))
        if seen is None or (isinstance(seen, First) and now >= seen.at + _KEPT):
            self._seen[organization_id, key] = InProgress()
            return None
        return seen

    def finish(self, organization_id: str, key: str, first: First | None) -> None:
        """Keep the first answer; None frees the key again."""
        if first is None:
            self._seen.pop((organization_id, key), None)
        else:
            self._seen[organization_id, key] = first
