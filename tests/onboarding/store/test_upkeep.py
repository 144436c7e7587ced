"""What the reconciler finds."""

from __future__ import annotations

from sqlalchemy import update

from onboarding.runs import Backoff, Pause, Reason, settle
from onboarding.store import notifications, organizations, upkeep
from onboarding.store.engine import Store
from onboarding.store.records import record
from onboarding.store.sql import from_now
from onboarding.store.tables import runs, turns
from tests.onboarding.store.rows import KEYRING, ORG, TERMS, add_run, claim, run_row, take_due


def due(store: Store) -> list[str]:
    return [row.id for row in take_due(store)]


def test_what_is_due_is_taken_once(store: Store):
    """Oldest first; what is not yet due, ended, or was just taken is left alone."""
    add_run(store, "run-1", nudge_at=from_now(-1))
    add_run(store, "run-2", nudge_at=from_now(-5))
    add_run(store, "run-3", nudge_at=from_now(60))
    add_run(store, "run-4", nudge_at=from_now(-5), state="failed")
    assert due(store) == ["run-2", "run-1"]
    assert due(store) == []


def test_each_fruitless_nudge_waits_twice_as_long(store: Store):
    """A long queue is not flooded with copies of what it holds already."""
    add_run(store, nudge_at=from_now(-1))
    waits = []
    for _ in range(8):
        assert due(store) == ["run-1"]
        row = run_row(store)
        waits.append(round((row.nudge_at - row.updated_at).total_seconds(), -1))
        store.write(lambda db: db.execute(update(runs).values(nudge_at=from_now(-1))))
    assert waits == [60, 120, 240, 480, 960, 1920, 3600, 3600]
    claim(store)
    assert run_row(store).nudges == 0


def test_a_lease_that_ran_out_is_found(store: Store):
    """A worker that died: its run is nudged when its lease is over, and not before."""
    add_run(store)
    claim(store)
    assert due(store) == []
    store.write(lambda db: db.execute(update(runs).values(lease_until=from_now(-1), nudge_at=from_now(-1))))
    assert due(store) == ["run-1"]


def test_after_a_restart_of_an_empty_broker_each_run_is_due_when_it_may_be_tried(store: Store):
    """At once, or when its wait or its lease is over; who waits for an act of somebody's still does."""
    add_run(store, "run-1", nudge_at=from_now(60))
    add_run(store, "run-2", nudge_at=from_now(90), state="waiting", next_attempt_at=from_now(30))
    add_run(store, "run-3", nudge_at=from_now(90), state="running", lease_until=from_now(20))
    add_run(store, "run-4", nudge_at=None, state="waiting", reason="consent_missing")
    add_run(store, "run-5", nudge_at=None, state="failed")
    store.write(upkeep.no_message_is_left)
    assert due(store) == ["run-1"]
    assert run_row(store, "run-2").nudge_at == run_row(store, "run-2").next_attempt_at
    assert run_row(store, "run-3").nudge_at == run_row(store, "run-3").lease_until
    assert [run_row(store, run_id).nudge_at for run_id in ("run-4", "run-5")] == [None, None]


def test_a_due_probe_nudges_one_waiting_run(store: Store):
    """One run of a paused organisation, at the step of the trouble."""
    add_run(store, "run-1")
    add_run(store, "run-2", state="waiting", reason="scope_missing", step="issue_token")
    held = claim(store)
    change = settle(held.run, Pause(reason=Reason.SCOPE_MISSING), Backoff(), lambda: 0.5)
    store.write(lambda db: record(db, held, change, KEYRING, TERMS))
    assert due(store) == []
    store.write(lambda db: db.execute(update(organizations.organizations).values(probe_at=from_now(-1))))
    store.write(organizations.nudge_probes)
    assert due(store) == ["run-1"]
    store.write(organizations.nudge_probes)
    assert due(store) == []  # its message is on its way


def test_of_two_beats_one_has_the_turn(store: Store):
    """And a clock that jumped back does not stop the turns for an hour."""
    assert store.write(lambda db: upkeep.my_turn(db, "reconcile", 5))
    assert not store.write(lambda db: upkeep.my_turn(db, "reconcile", 5))
    store.write(lambda db: db.execute(update(turns).values(last_at=from_now(3600))))
    assert store.write(lambda db: upkeep.my_turn(db, "reconcile", 5))


def test_each_parking_is_told_once(store: Store):
    """A parking that was told is not told again; the next one is."""
    add_run(store, state="failed", parkings=1)
    assert [row.id for row in store.read(lambda db: upkeep.untold_failures(db, 10))] == ["run-1"]
    store.write(lambda db: upkeep.mark_told(db, "run-1", 1))
    assert store.read(lambda db: upkeep.untold_failures(db, 10)) == []
    store.write(lambda db: db.execute(update(runs).values(parkings=2)))
    assert len(store.read(lambda db: upkeep.untold_failures(db, 10))) == 1


def test_a_message_is_prepared_once_and_reopened_by_a_replay(store: Store):
    """Id and time stay; what is delivered or refused is not sent again until a replay asks."""
    add_run(store)

    def prepare():
        rows = store.write(lambda db: notifications.prepare(db, "run-1", "msg_1", ["a", "b", "c"]))
        assert {row.target for row in rows} == {"a", "b", "c"}, "those that are settled are told too"
        return {row.target: row for row in rows if row.delivered_at is None and row.refused_at is None}

    def take():
        return {row.target for row in store.write(lambda db: notifications.take_due(db, "msg_1", 60))}

    first = prepare()
    store.write(lambda db: notifications.delivered(db, "msg_1", "a", 200))
    store.write(lambda db: notifications.refused(db, "msg_1", "b", 410))
    store.write(lambda db: notifications.failed(db, "msg_1", "c", 503, 30))
    left = prepare()
    assert set(left) == {"c"}
    assert (left["c"].tries, left["c"].created_at) == (1, first["c"].created_at)
    assert take() == set()
    assert store.read(lambda db: notifications.gone(db, "run-1")) == {"b"}
    store.write(lambda db: notifications.reopen(db, "run-1"))
    assert set(prepare()) == {"b", "c"}
    assert take() == {"b", "c"}
    assert take() == set()  # the one who took them sends them, nobody else
    assert run_row(store).organization_id == ORG
