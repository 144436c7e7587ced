"""The time that Deel's side lives in: real, plus what a test added."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


class Clock:
    """Decides expiry, idempotency and visibility. The rate limiter alone runs on the real clock."""

    def __init__(self) -> None:
        self._ahead = timedelta()

    def now(self) -> datetime:
        """Aware, in UTC."""
        return datetime.now(UTC) + self._ahead

    def advance(self, seconds: float) -> None:
        """Move time on for Deel's side alone."""
        self._ahead += timedelta(seconds=seconds)


def stamp(moment: datetime) -> str:
    """As Deel writes it: milliseconds and Z. Source: Deel's guide "Managing worker tokens"."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
