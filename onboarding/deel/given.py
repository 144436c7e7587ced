"""What the client is given: the budget, and which field a session is asked by."""

from __future__ import annotations

from typing import Final, Protocol

SESSION_FIELDS: Final = ("hris_profile_id", "profile_id")


class Budget(Protocol):
    """The requests that Deel allows. `take` waits for one, or raises TryLater; `hold` stops all for a while."""

    def take(self) -> float:
        """One request, of whichever token, that has to be on its way by the moment returned (monotonic)."""

    def hold(self, seconds: float) -> None:
        """Deel answered 429."""


class SessionField(Protocol):
    """Which field of POST /workers/session takes the profile: Deel's own pages name two."""

    def get(self) -> str:
        """`hris_profile_id` or `profile_id`."""

    def remember(self, field: str) -> None:
        """Deel took this one."""


class SessionFieldInMemory:
    """For one process: `doctor` and tests."""

    def __init__(self, field: str = SESSION_FIELDS[0]) -> None:
        self._field = field

    def get(self) -> str:
        """As last remembered."""
        return self._field

    def remember(self, field: str) -> None:
        """Until the process ends."""
        self._field = field
