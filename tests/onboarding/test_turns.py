"""Many runs at once: so many are under way, the others wait in the store, in the order of their coming."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import insert

from onboarding import turns
from onboarding.events import Message
from onboarding.runs import State, Step
from onboarding.store import upkeep as statements
from onboarding.store.engine import Store
from onboarding.store.sql import from_now
from onboarding.store.tables import runs
from onboarding.turns import Nudge
from tests.onboarding.store.rows import ORG, add_run, run_row
from tests.onboarding.worlds import Driver

FULL = statements.IN_FLIGHT


def under_way(store: Store, count: int, **how: Any) -> None:
    """Runs whose message is in the broker."""
    row = {"organization_id": ORG, "state": "pending", "step": "ensure_profile", "nudge_at": from_now(60), **how}
    with store.engine.begin() as db:
        for number in range(count):
            db.execute(insert(runs).values(id=f"busy-{number}", contract_id=f"busy-{number}", **row))


def test_an_event_that_finds_the_line_full_makes_a_run_that_waits_its_turn(onboard: Driver):
    """Nothing is sent for it; it is due, and the next one."""
    under_way(onboard.store, FULL)
    event = Message(b'{"type": "contract.created", "contract_id": "c-1"}', {}, "contract.created")
    assert onboard.intake.accept(event) == []
    row = onboard.run("c-1")
    assert (row.state, row.nudge_at <= row.now) == (State.PENDING, True)
    assert onboard.store.write(lambda db: statements.take_due(db, 10, 60)) == []


def test_who_came_first_is_sent_first_and_no_more_than_there_is_room_for(store: Store):
    """However many a turn may send."""
    under_way(store, FULL - 2)
    for number in (3, 1, 2):
        add_run(store, f"run-{number}", contract_id=f"c-{number}", nudge_at=from_now(number - 10))
    assert [row.id for row in store.write(lambda db: statements.take_due(db, 100, 60))] == ["run-1", "run-2"]
    assert store.write(lambda db: statements.take_due(db, 100, 60)) == []


@pytest.mark.parametrize(
    "how",
    [
        {"nudges": statements.FRUITLESS},  # its messages go nowhere
        {"nudge_at": from_now(-1)},  # its message is lost
        {"state": "waiting", "next_attempt_at": from_now(60)},  # a long wait lies in the row alone
        {"state": "waiting", "reason": "paused"},
        {"state": "completed", "nudge_at": None},
    ],
)
def test_a_run_without_a_message_takes_nobodys_place(store: Store, how: dict[str, Any]):
    """Else one broker that drops everything would keep all others out."""
    under_way(store, FULL, **how)
    assert store.read(statements.room) == FULL


def test_a_short_wait_rides_in_the_broker_and_keeps_its_place(store: Store):
    """In an outage of Deel's thousands would else be sent to it, a hundred every turn."""
    under_way(store, 7, state="waiting", next_attempt_at=from_now(30))
    assert store.read(statements.room) == FULL - 7


def test_the_end_of_a_chain_lets_one_more_in(onboard: Driver):
    """The first in the line; where nobody waits, nothing is written or sent."""
    sent: list[str] = []

    def admit(nudge: Nudge) -> None:
        turns.admit(onboard.store, onboard.world.terms.lease_s, nudge)

    def takes(_run_id: str, contract_id: str, _step: Step) -> bool:
        sent.append(contract_id)
        return True

    admit(takes)
    assert sent == []
    for contract in ("c-1", "c-2"):
        onboard.hire(contract)
    onboard.pass_time()
    admit(takes)
    assert sent == ["c-1"]
    admit(lambda *_: False)
    assert run_row(onboard.store, onboard.run("c-2").id).nudges == 0
    assert onboard.run("c-2").nudge_at > onboard.run("c-2").now
