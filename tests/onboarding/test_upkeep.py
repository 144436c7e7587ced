"""Upkeep: the reconciler, and telling of failures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from sqlalchemy import select, update

from onboarding import failpoints, upkeep
from onboarding.runs import Reason, State, Step
from onboarding.store import organizations, retention
from onboarding.store import runs as run_statements
from onboarding.store import upkeep as statements
from onboarding.store.engine import Store
from onboarding.store.retention import Retention
from onboarding.store.sql import from_now
from onboarding.store.tables import notifications, turns
from tests.onboarding.store.rows import add_run, run_row, take_due
from tests.onboarding.worlds import Death, Driver, driver


@pytest.fixture
def onboard(store_url: str) -> Iterator[Driver]:
    with driver(store_url) as made:
        yield made


def next_turn(onboard: Driver) -> None:
    onboard.store.write(lambda db: db.execute(update(turns).values(last_at=from_now(-3600))))
    onboard.store.write(lambda db: db.execute(update(notifications).values(next_try_at=None)))


def told(onboard: Driver) -> list[tuple[str, str]]:
    return [(one.body["type"], one.body["data"]["contract_id"]) for one in onboard.sink.unique()]


def test_due_runs_are_nudged_at_their_step(onboard: Driver):
    """One message each, and none again before its next look."""
    onboard.hire("c-1")
    onboard.hire("c-2")
    onboard.deliver("c-2", "contract_created")
    onboard.pass_time()
    sent: list[tuple[str, Step]] = []

    def nudge(_run_id: str, contract_id: str, step: Step) -> bool:
        sent.append((contract_id, step))
        return True

    assert upkeep.reconcile(onboard.world, nudge, 5) == 2
    assert set(sent) == {("c-1", "contract_created"), ("c-2", "ensure_profile")}
    next_turn(onboard)
    assert upkeep.reconcile(onboard.world, nudge, 5) == 0


def test_a_broker_that_is_away_ends_the_round_and_loses_nothing(onboard: Driver):
    """The rows name their next look."""
    onboard.hire()
    onboard.pass_time()
    assert upkeep.reconcile(onboard.world, lambda *_: False, 5) == 0
    assert onboard.recover() == State.COMPLETED


def test_a_death_in_the_reconciler_loses_nothing(onboard: Driver):
    """On either side of its commit."""
    for point in ("upkeep.recording", "upkeep.recorded"):
        onboard.hire(point.replace("upkeep.", "c-"))
        onboard.pass_time()

        def die(point=point):
            raise Death(point)

        failpoints.arm(point, die)
        next_turn(onboard) if point == "upkeep.recorded" else None
        with pytest.raises(Death):
            upkeep.reconcile(onboard.world, lambda *_: True, 5)
        failpoints.disarm()
        onboard.pass_time()
        assert onboard.recover(point.replace("upkeep.", "c-")) == State.COMPLETED


def test_a_parked_run_is_told_once_to_every_target(onboard: Driver):
    """Webhook and exchange, under an id of its own; the next parking has another."""
    onboard.hire(type="peo")
    onboard.carry()
    assert upkeep.tell_failures(onboard.world, 5) == 1
    next_turn(onboard)
    assert upkeep.tell_failures(onboard.world, 5) == 0
    assert told(onboard) == [("onboarding.failed", "c-1")]
    assert [one.type for one in onboard.published] == ["onboarding.failed"]
    row = onboard.run()
    onboard.store.write(lambda db: run_statements.replay(db, row, run_statements.Replay()))
    onboard.carry()
    next_turn(onboard)
    assert upkeep.tell_failures(onboard.world, 5) == 1
    assert len({one.id for one in onboard.sink.received}) == 2


def test_a_target_that_is_away_is_told_later_under_the_same_id(onboard: Driver):
    """Whoever has it does not get it twice."""
    onboard.hire(type="peo")
    onboard.carry()
    onboard.sink.answers(500, times=1)
    assert upkeep.tell_failures(onboard.world, 5) == 0
    next_turn(onboard)
    assert upkeep.tell_failures(onboard.world, 5) == 1
    assert len(onboard.published) == 1
    assert len({one.id for one in onboard.sink.received}) == 1


def test_a_death_after_telling_tells_again_under_the_same_id(onboard: Driver):
    """The receiver drops the double."""
    onboard.hire(type="peo")
    onboard.carry()
    deaths: list[int] = []

    def die() -> None:
        if not deaths:
            deaths.append(1)
            raise Death

    failpoints.arm("upkeep.called", die)
    with pytest.raises(Death):
        upkeep.tell_failures(onboard.world, 5)
    next_turn(onboard)
    assert upkeep.tell_failures(onboard.world, 5) == 1
    assert len(onboard.sink.unique()) == 1


def test_a_target_that_said_gone_is_not_told_that_it_failed_because_of_that(onboard: Driver):
    """410: the exchange still gets the news."""
    onboard.sink.answers(410, times=1)
    onboard.hire()
    assert onboard.carry() == State.FAILED
    assert upkeep.tell_failures(onboard.world, 5) == 1
    assert [one.body["type"] for one in onboard.sink.received] == ["onboarding.completed"]
    assert [one.type for one in onboard.published] == ["onboarding.completed", "onboarding.failed"]


def test_a_target_that_never_answers_is_given_up(onboard: Driver):
    """After twelve tries, so that a dead target is not asked for ever."""
    onboard.hire(type="peo")
    onboard.carry()
    onboard.sink.answers(500, times=99)
    settled = []
    for _ in range(14):
        settled.append(upkeep.tell_failures(onboard.world, 5))
        next_turn(onboard)
    assert sum(settled) == 1
    assert len(onboard.sink.received) == 12
    refused = onboard.store.read(lambda db: db.execute(select(notifications.c.refused_at)).scalars().all())
    assert any(refused)


def test_retiring_takes_its_turn(onboard: Driver):
    """Once an hour."""
    upkeep.retire(onboard.world)
    upkeep.retire(onboard.world)
    assert len(onboard.store.read(lambda db: db.execute(select(turns)).all())) == 1


def test_retiring_ends_with_its_time_and_goes_on_at_the_next_turn(onboard: Driver, monkeypatch):
    """Of many old runs some go in each round, by the setting's days; a worker is not held for hours."""
    monkeypatch.setattr(retention, "BATCH", 1)
    for number in range(5):
        add_run(onboard.store, f"run-{number}", state="completed", updated_at=from_now(-(31 + number) * 86_400))
    add_run(onboard.store, "young", state="completed", updated_at=from_now(-29 * 86_400))
    onboard.world = replace(onboard.world, retention=Retention(days=30))
    left = iter([1.0, 1.0, -1.0])
    monkeypatch.setattr(upkeep, "time_left", lambda: next(left, -1.0))
    upkeep.retire(onboard.world)
    assert sorted(row.id for row in onboard.store.read(run_statements.listing)) == ["run-0", "run-1", "run-2", "young"]
    monkeypatch.undo()
    next_turn(onboard)
    upkeep.retire(onboard.world)
    assert [row.id for row in onboard.store.read(run_statements.listing)] == ["young"]


def test_failures_that_wait_for_a_target_do_not_hide_new_ones(onboard: Driver, monkeypatch):
    """One message a round here: the second run is told while the first one's target is away."""
    monkeypatch.setattr(upkeep, "BATCH", 1)
    onboard.hire("c-1", type="peo")
    onboard.carry("c-1")
    onboard.sink.answers(500, times=1)
    assert upkeep.tell_failures(onboard.world, 0) == 0
    onboard.hire("c-2", type="peo")
    onboard.carry("c-2")
    onboard.store.write(lambda db: db.execute(update(turns).values(last_at=from_now(-3600))))
    assert upkeep.tell_failures(onboard.world, 5) == 1
    assert ("onboarding.failed", "c-2") in told(onboard)


def test_a_broker_that_is_away_is_no_fruitless_nudge(onboard: Driver):
    """When it is back, nobody waits for longer than a turn: nothing was sent, so nothing was in vain."""
    for number in range(3):
        onboard.hire(f"c-{number}")
    for _ in range(6):
        onboard.pass_time()
        assert upkeep.reconcile(onboard.world, lambda *_: False, 0.0) == 0
    rows = [onboard.run(f"c-{number}") for number in range(3)]
    assert all((row.nudge_at - row.now).total_seconds() < 1 and row.nudges == 0 for row in rows)


def test_many_paused_organisations_do_not_keep_the_reconciler_busy(store: Store):
    """Each gets one probe's message, and the round ends."""
    for number in range(120):
        add_run(
            store,
            f"run-{number}",
            organization_id=f"org-{number}",
            state="waiting",
            reason="scope_missing",
            nudge_at=from_now(900),
        )
        store.write(lambda db, of=f"org-{number}": organizations.pause(db, of, Reason.SCOPE_MISSING, None))
    store.write(lambda db: db.execute(update(organizations.organizations).values(probe_at=from_now(-1))))
    store.write(organizations.nudge_probes)
    assert [len(take_due(store)) for _ in range(2)] == [120, 0]
    store.write(organizations.nudge_probes)
    assert take_due(store) == []


def test_a_clock_that_jumped_back_holds_nobody_up(store: Store):
    """Leases begin anew, waits are over, and who waits for an act of somebody's still does."""
    ahead = {"updated_at": from_now(3600)}
    add_run(store, "run-1", state="running", lease_until=from_now(3660), nudge_at=from_now(3660), **ahead)
    add_run(store, "run-2", state="waiting", next_attempt_at=from_now(3630), nudge_at=from_now(3690), **ahead)
    add_run(store, "run-3", state="waiting", reason="consent_missing", **ahead)
    add_run(store, "run-4", nudge_at=from_now(30))
    assert store.write(lambda db: statements.mend_clock(db, 60)) == 3
    assert [row.id for row in take_due(store)] == ["run-2"]
    assert 50 < (run_row(store, "run-1").lease_until - datetime.now(UTC)).total_seconds() < 61
    assert run_row(store, "run-3").nudge_at is None
    assert store.write(lambda db: statements.mend_clock(db, 60)) == 0


def test_a_consent_that_is_no_longer_asked_for_is_not_waited_for(onboard: Driver):
    """ONBOARDING_CONSENT went back to off."""
    world, due = onboard.world, []
    onboard.world = replace(world, consent_required=True)
    onboard.hire()
    onboard.carry()
    assert (onboard.run().reason, onboard.run().nudge_at) == (Reason.CONSENT_MISSING, None)
    onboard.world = world
    upkeep.reconcile(world, lambda _run_id, contract_id, _step: not due.append(contract_id), 0.0)
    assert due == ["c-1"]
    assert onboard.carry() == State.COMPLETED
