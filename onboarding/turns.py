"""Whose turn it is: messages for runs that are due, of each organisation as many as there is room for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from onboarding.failpoints import fail_point
from onboarding.runs import Step
from onboarding.settings import Settings
from onboarding.store import line as lines
from onboarding.store.engine import Store
from onboarding.store.line import Line

Nudge = Callable[[str, str, Step], bool]
"""Send the message of a run (its id, its contract's, its step). False: the broker is away."""
SOON_S: Final = 5.0


def line_of(settings: Settings) -> Line:
    """How many runs have a message at one time, as the settings have it."""
    return Line.for_rate(settings.deel_rate, settings.lease_seconds)


def send_due(
    store: Store, line: Line, nudge: Nudge, organizations: Iterable[str] | None = None, *, soon_s: float = SOON_S
) -> list[str]:
    """Send what is due, of these organisations or of all; returns the ids of the runs that got a message.

    What the broker did not take is due again after `soon_s`, and no other organisation is tried.
    """
    sent: list[str] = []
    for organization in store.read(lines.organizations_due) if organizations is None else organizations:
        fail_point("upkeep.recording")
        rows = store.write(lambda db, of=organization: lines.take(db, of, line))  # type: ignore[misc]
        fail_point("upkeep.recorded")
        for place, row in enumerate(rows):
            if not nudge(row.id, row.contract_id, Step(row.step)):
                unsent = [each.id for each in rows[place:]]
                store.write(lambda db, unsent=unsent: lines.give_back(db, unsent, soon_s))  # type: ignore[misc]
                return sent
            sent.append(row.id)
    return sent


def admit(store: Store, line: Line, organization_id: str, nudge: Nudge) -> None:
    """A run of the organisation has left its place: who waits longest gets a message, if anybody does."""
    if store.read(lambda db: lines.is_due(db, organization_id)):
        send_due(store, line, nudge, [organization_id])
