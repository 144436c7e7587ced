"""Whose turn it is: messages for runs that are due, those that wait longest first, while there is room."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from onboarding.failpoints import fail_point
from onboarding.runs import Step
from onboarding.store import upkeep
from onboarding.store.engine import Store

Nudge = Callable[[str, str, Step], bool]
"""Send the message of a run (its id, its contract's, its step). False: the broker is away."""
SOON_S: Final = 5.0


def send_due(store: Store, lease_s: float, nudge: Nudge, *, limit: int, soon_s: float) -> list[str]:
    """Send at most `limit` messages; returns the ids of the runs that got one.

    What the broker did not take is due again after `soon_s`.
    """
    fail_point("upkeep.recording")
    rows = store.write(lambda db: upkeep.take_due(db, limit, lease_s))
    fail_point("upkeep.recorded")
    sent: list[str] = []
    for row in rows:
        if not nudge(row.id, row.contract_id, Step(row.step)):
            break
        sent.append(row.id)
    unsent = [row.id for row in rows[len(sent) :]]
    if unsent:
        store.write(lambda db: upkeep.give_back(db, unsent, soon_s))
    return sent


def admit(store: Store, lease_s: float, nudge: Nudge) -> None:
    """A chain has ended: the run that waits longest for its turn gets a message, if any does."""
    if store.read(upkeep.is_due):
        send_due(store, lease_s, nudge, limit=1, soon_s=SOON_S)
