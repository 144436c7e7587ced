"""The backfill on a schedule: a page at a time, where it stopped, behind the living."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update

from onboarding import backfill, failpoints, rounds
from onboarding.deel.client import MAX_PER_PAGE
from onboarding.runs import State
from onboarding.store import arrivals, backfills, organizations
from onboarding.store.sql import from_now
from onboarding.store.tables import backfills as table
from onboarding.store.tables import turns
from tests.onboarding.worlds import Death, Driver, die


@pytest.fixture
def onboard(onboard: Driver) -> Driver:
    """Its organisation is known; no list is due yet."""
    onboard.world = replace(onboard.world, backfill_s=3600.0)
    tick(onboard)
    return onboard


def tick(onboard: Driver) -> int:
    """One turn of beat."""
    onboard.store.write(lambda db: db.execute(update(turns).values(last_at=from_now(-100))))
    return rounds.go_on(onboard.world, lambda *_: True, 30.0)


def time_passes(onboard: Driver) -> None:
    onboard.store.write(lambda db: db.execute(update(table).values(due_at=from_now(-1))))


def pages_read(onboard: Driver) -> int:
    return sum(call.route == "GET /contracts" for call in onboard.deel.ledger)


def hire(onboard: Driver, count: int, prefix: str = "c") -> None:
    for number in range(count):
        onboard.deel.has_contract(f"{prefix}-{number}", email=f"{prefix}-{number}@example.com", invited=True)


def row(onboard: Driver) -> Any:
    (found,) = onboard.store.read(backfills.listing)
    return found


def test_what_no_webhook_told_is_found(onboard: Driver):
    """Not before the first round is due; then a page a turn, and nothing more until the next round."""
    hire(onboard, MAX_PER_PAGE + 1)
    assert (tick(onboard), pages_read(onboard)) == (0, 0)
    time_passes(onboard)
    assert [tick(onboard) for _ in range(4)] == [MAX_PER_PAGE, 1, 0, 0]
    assert pages_read(onboard) == 2
    found = row(onboard)
    assert (found.made, found.pages, found.cursor, found.ended_at is not None) == (MAX_PER_PAGE + 1, 0, None, True)
    assert onboard.carry("c-7") == State.COMPLETED
    assert onboard.run("c-8").behind


def test_off_means_off(onboard: Driver):
    """ONBOARDING_BACKFILL_HOURS=0."""
    hire(onboard, 1)
    time_passes(onboard)
    onboard.world = replace(onboard.world, backfill_s=0.0)
    assert (tick(onboard), pages_read(onboard)) == (0, 0)


def test_contracts_from_before_are_not_its(onboard: Driver):
    """Who sets this up does not get a token for each worker of ten years: that is `onboarding backfill`'s to ask."""
    hire(onboard, 3)
    later = datetime.now(UTC) + timedelta(hours=1)
    onboard.store.write(lambda db: db.execute(update(table).values(known_at=later)))
    time_passes(onboard)
    assert (tick(onboard), pages_read(onboard)) == (0, 1)


@pytest.mark.parametrize("point", ["backfill.calling", "backfill.called", "backfill.recording", "backfill.recorded"])
def test_a_crash_in_the_middle_goes_on(onboard: Driver, point: str):
    """At most one page is read twice, and no run is made twice."""
    hire(onboard, MAX_PER_PAGE + 1)
    time_passes(onboard)
    tick(onboard)
    failpoints.arm(point, die)
    with pytest.raises(Death):
        tick(onboard)
    failpoints.disarm()
    tick(onboard)
    assert row(onboard).made == MAX_PER_PAGE + 1
    assert pages_read(onboard) == 2 + (point in ("backfill.called", "backfill.recording"))
    counted = onboard.store.read(arrivals.completeness)[onboard.deel.organization_id]
    assert sum(counted.values()) == MAX_PER_PAGE + 1


def test_two_processes_read_a_page_once(onboard: Driver):
    """The second finds that the page was read, and makes nothing of its own answer."""
    hire(onboard, 3)
    time_passes(onboard)
    before = row(onboard)
    assert tick(onboard) == 3
    hire(onboard, 2, "late")
    assert rounds._go_on(onboard.world, before, lambda *_: True) == 0
    assert row(onboard).made == 3


def test_it_waits_while_many_wait_behind_and_while_the_organisation_is_paused(
    onboard: Driver, monkeypatch: pytest.MonkeyPatch
):
    """No call is spent."""
    time_passes(onboard)
    monkeypatch.setattr(backfill, "MOST_WAITING", 0)
    assert (tick(onboard), pages_read(onboard)) == (0, 0)
    monkeypatch.undo()
    onboard.store.write(lambda db: organizations.hold(db, onboard.deel.organization_id))
    assert (tick(onboard), pages_read(onboard)) == (0, 0)
    onboard.store.write(lambda db: organizations.resume(db, onboard.deel.organization_id))
    tick(onboard)
    assert pages_read(onboard) == 1


def test_a_page_that_cannot_be_read_is_asked_for_again_later(onboard: Driver):
    """Not at every turn; the reason is kept."""
    time_passes(onboard)
    onboard.deel.fails("GET /contracts", status=500)
    tick(onboard)
    tick(onboard)
    assert (pages_read(onboard), row(onboard).reason) == (1, "deel_unavailable")
    time_passes(onboard)
    tick(onboard)
    assert (pages_read(onboard), row(onboard).reason) == (2, None)


def test_a_cursor_that_deel_takes_no_more_begins_anew(onboard: Driver):
    """It was kept over an outage: the list is read from its start."""
    hire(onboard, MAX_PER_PAGE + 1)
    time_passes(onboard)
    tick(onboard)
    onboard.deel.fails("GET /contracts", status=400)
    tick(onboard)
    assert (row(onboard).cursor, row(onboard).pages) == (None, 0)
    time_passes(onboard)
    assert [tick(onboard), tick(onboard)] == [0, 1]


def test_completeness_counts_how_each_became_known(onboard: Driver):
    """By webhook; late, where the backfill was first; by the list alone."""
    onboard.hire("told")
    hire(onboard, 2)
    time_passes(onboard)
    assert tick(onboard) == 2
    onboard.plain("c-0")
    counted = onboard.store.read(arrivals.completeness)
    expected = {"told_by_webhook": 1, "told_late": 1, "found_by_poll_only": 1}
    assert counted == {onboard.deel.organization_id: expected}
