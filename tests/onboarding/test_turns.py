"""Many runs at once: so many of an organisation are under way, the others wait in the store, in their order."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import insert, update

from onboarding import turns
from onboarding.events import Message
from onboarding.runs import Reason, State, Step
from onboarding.store import claims, organizations
from onboarding.store import line as lines
from onboarding.store import runs as pressed
from onboarding.store.engine import Store
from onboarding.store.events import HOME
from onboarding.store.line import FRUITLESS, MOST_RIDING, Line
from onboarding.store.sql import from_now
from onboarding.store.tables import organizations as organizations_table
from onboarding.store.tables import runs
from onboarding.turns import Nudge
from tests.onboarding.store.rows import LINE, ORG, TERMS, add_run, run_row, take_due
from tests.onboarding.worlds import Driver


def under_way(store: Store, count: int, **how: Any) -> None:
    """Runs whose message is in the broker."""
    row = {"organization_id": ORG, "state": "pending", "step": "ensure_profile", "nudge_at": from_now(60), **how}
    with store.engine.begin() as db:
        for number in range(count):
            db.execute(insert(runs).values(id=f"busy-{number}", contract_id=f"busy-{number}", **row))


def in_line(store: Store, *ids: str, **how: Any) -> None:
    """Runs that wait for their message, the first one longest."""
    for place, run_id in enumerate(ids):
        add_run(store, run_id, nudge_at=from_now(place - 100), **how)


def sent(store: Store) -> list[str]:
    return [row.id for row in take_due(store)]


def room(store: Store) -> int:
    return store.read(lambda db: lines.room(db, ORG, LINE))


def test_an_event_that_finds_the_line_full_makes_a_run_that_waits_its_turn(onboard: Driver):
    """Nothing is sent for it; it is due, and the next one."""
    under_way(onboard.store, onboard.world.line.places, organization_id=HOME)
    event = Message(b'{"type": "contract.created", "contract_id": "c-1"}', {}, "contract.created")
    assert onboard.intake.accept(event) == []
    row = onboard.run("c-1")
    assert (row.state, row.nudge_at <= row.now) == (State.PENDING, True)
    assert take_due(onboard.store, onboard.world.line) == []


def test_who_came_first_is_sent_first_and_no_more_than_there_is_room_for(store: Store):
    """Whatever else is due."""
    under_way(store, LINE.places - 2)
    in_line(store, "run-3", "run-1", "run-2")
    assert sent(store) == ["run-3", "run-1"]
    assert sent(store) == []


def test_the_living_go_before_the_dead(store: Store):
    """A replay of thousands leaves places for new events, and stands behind those that wait."""
    in_line(store, *(f"dead-{number}" for number in range(9)), behind=True)
    assert sent(store) == ["dead-0", "dead-1", "dead-2"]
    in_line(store, "new-1", "new-2")
    assert sent(store) == ["new-1", "new-2"]
    assert sent(store) == []


def test_the_dead_take_what_is_left(store: Store):
    """And no more: with as many of the living under way as replays may be, none of these is sent."""
    under_way(store, LINE.behind - 1)
    in_line(store, "dead-1", "dead-2", behind=True)
    assert sent(store) == ["dead-1"]


def test_one_organisation_holds_no_other_up(store: Store):
    """Each has a line of its own, however long that of another is."""
    under_way(store, LINE.places)
    in_line(store, "busy")
    in_line(store, "run-2", organization_id="org-2")
    in_line(store, "run-3", organization_id="org-3", behind=True)
    assert store.read(lines.organizations_due) == [ORG, "org-2", "org-3"]
    assert sent(store) == ["run-2", "run-3"]


def test_a_probe_goes_first(store: Store):
    """Else it stood behind thousands that find their organisation paused, and a replay behind all of them for ever."""
    in_line(store, *(f"run-{number}" for number in range(9)))
    held_up = {"state": "waiting", "reason": "scope_missing", "step": "ensure_profile"}
    add_run(store, "probe", nudge_at=from_now(900), behind=True, **held_up)
    store.write(lambda db: organizations.pause(db, ORG, Reason.SCOPE_MISSING, Step.ENSURE_PROFILE))
    store.write(lambda db: db.execute(update(organizations_table).values(probe_at=from_now(-1))))
    store.write(organizations.nudge_probes)
    assert sent(store)[0] == "probe"


def test_a_run_that_finds_its_organisation_paused_leaves_its_place(store: Store):
    """Though it was between two tries."""
    store.write(lambda db: organizations.pause(db, ORG, Reason.SCOPE_MISSING, Step.ENSURE_PROFILE))
    under_way(store, MOST_RIDING, state="waiting", next_attempt_at=from_now(-1))
    assert room(store) == 0
    for number in range(MOST_RIDING):
        claims.claim(store, f"busy-{number}", Step.ENSURE_PROFILE, TERMS)
    assert room(store) == LINE.places


def test_a_replay_stands_behind_the_living(store: Store):
    """From then on, also where it is tried again."""
    add_run(store, state="failed", reason="deel_unavailable")
    row = store.read(lambda db: pressed.find(db, "run-1"))
    assert store.write(lambda db: pressed.replay(db, row, pressed.Replay()))
    assert run_row(store).behind


@pytest.mark.parametrize(
    "how",
    [
        {"nudges": FRUITLESS},  # its messages go nowhere
        {"nudge_at": from_now(-1)},  # its message is lost
        {"state": "waiting", "next_attempt_at": from_now(60)},  # a long wait lies in the row alone
        {"state": "waiting", "next_attempt_at": from_now(30)},  # between two tries
        {"state": "waiting", "reason": "paused"},
        {"state": "completed", "nudge_at": None},
        {"organization_id": "org-2"},
    ],
)
def test_a_run_without_a_step_under_way_takes_nobodys_place(store: Store, how: dict[str, Any]):
    """Else one broker that drops everything would keep all others out."""
    under_way(store, LINE.places, **how)
    assert room(store) == LINE.places


def test_in_an_outage_of_deels_no_more_are_sent_to_it(store: Store):
    """Each that is tried and waits for its next try has left its place; a hundred of them are enough."""
    between_tries = {"state": "waiting", "next_attempt_at": from_now(30)}
    under_way(store, MOST_RIDING - 1, **between_tries)
    assert room(store) == LINE.places
    add_run(store, nudge_at=from_now(60), **between_tries)
    assert room(store) == 0


@pytest.mark.parametrize(("rate", "places", "behind"), [(5, 6, 3), (0.5, 2, 1), (100, 101, 60)])
def test_a_line_has_the_places_that_its_budget_can_serve(rate: float, places: int, behind: int):
    """So that what is sent is worked on at once, and a new event waits 3 s for its three calls at most."""
    assert Line.for_rate(rate, 60) == Line(60, places, behind)


def test_the_end_of_a_chain_lets_the_next_ones_in(onboard: Driver):
    """Where nobody waits, nothing is written or sent."""
    told: list[str] = []
    organization = onboard.deel.organization_id

    def admit(nudge: Nudge) -> None:
        turns.admit(onboard.store, Line(places=1), organization, nudge)

    def takes(_run_id: str, contract_id: str, _step: Step) -> bool:
        told.append(contract_id)
        return True

    admit(takes)
    assert told == []
    for contract in ("c-1", "c-2"):
        onboard.hire(contract)
    onboard.pass_time()
    admit(takes)
    assert told == ["c-1"]
    onboard.store.write(lambda db: db.execute(runs.update().where(runs.c.contract_id == "c-1").values(state="failed")))
    admit(lambda *_: False)
    assert run_row(onboard.store, onboard.run("c-2").id).nudges == 0
    assert onboard.run("c-2").nudge_at > onboard.run("c-2").now
