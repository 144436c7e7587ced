"""The slots of a budget: one row, whose lock is the waiting line."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import update

from onboarding.store import budgets
from onboarding.store.budgets import Pace
from onboarding.store.engine import Store
from onboarding.store.tables import budgets as table

JITTER_S = 0.03  # between the reading of the database's clock and of ours
PACE = Pace(slots=5, window_s=1.05, longest_wait_s=20.0)


def taken(store: Store, pace: Pace = PACE) -> budgets.Slot:
    """The next slot, however far off it is."""
    for _ in range(2):
        slot = store.write_one(lambda db: budgets.reserve(db, "f", pace, 1e9))
        if slot is not None:
            return slot
        store.write(lambda db: budgets.lay_out(db, "f", pace))
        _ago(store, budgets.SLOW_FOR_S + budgets.CAREFUL_FOR_S)  # a new one is careful
    raise AssertionError("no slot")


def wait_s(store: Store, pace: Pace = PACE) -> float:
    """As the database's clock has it."""
    slot = taken(store, pace)
    return slot.begins_at - slot.given_at


def begins(store: Store, pace: Pace = PACE) -> float:
    """When a call would start, on our own clock."""
    slot = taken(store, pace)
    return slot.answered + slot.begins_at - slot.given_at


def test_five_go_at_once_and_the_sixth_waits_for_the_window(store: Store):
    """A burst up to the budget, then a slot a fifth of a second apart at the earliest."""
    assert [round(wait_s(store), 1) for _ in range(5)] == [0.0] * 5
    assert 0.8 < wait_s(store) <= PACE.window_s


def test_who_asks_first_starts_first(store: Store):
    """Waiting is in the order of asking, and no window of a second holds more than five starts."""
    starts = [begins(store) for _ in range(23)]
    assert all(later - earlier > -JITTER_S for earlier, later in pairwise(starts))
    assert all(later - earlier >= 1.0 for earlier, later in zip(starts, starts[5:], strict=False))


def test_many_at_once_get_different_slots(store: Store):
    """The row's lock is the queue."""
    with ThreadPoolExecutor(8) as pool:
        waits = sorted(pool.map(lambda _: wait_s(store), range(20)))
    assert waits[4] < 0.7
    assert waits[5] > 0.3
    assert waits[19] > 2.0


def test_the_wait_for_the_row_does_not_count(store: Store):
    """A slot begins when the row is ours: told by a clock that was read before, the next would come too early."""
    first = taken(store)
    asked = threading.Event()

    def ask() -> budgets.Slot:
        asked.set()
        return taken(store)

    with ThreadPoolExecutor(1) as pool:
        with store.engine.begin() as db:
            assert budgets.reserve(db, "f", PACE, 1e9) is not None
            second = pool.submit(ask)
            asked.wait(5)
            time.sleep(0.4)
        third = second.result(5)
    assert 0.4 < third.begins_at - first.begins_at < PACE.window_s - JITTER_S
    assert abs(third.begins_at - third.given_at) < JITTER_S


def test_who_would_wait_too_long_takes_nothing(store: Store):
    """Its step is tried later; the slot stays for others."""
    pace = Pace(slots=1, window_s=30.0, longest_wait_s=20.0)
    assert wait_s(store, pace) < 0.1
    assert store.write_one(lambda db: budgets.reserve(db, "f", pace, 20.0)) is None
    assert 29 < store.write(lambda db: budgets.lay_out(db, "f", pace)) <= 30.01
    assert 29 < wait_s(store, pace) <= 30.1


@pytest.mark.parametrize("slots", [3, 8])
def test_another_rate_takes_over_the_slots_that_are_taken(store: Store, slots: int):
    """After a restart with another ONBOARDING_DEEL_RATE, and beside a process that has the old one."""
    for _ in range(5):
        taken(store)
    pace = Pace(slots, PACE.window_s, PACE.longest_wait_s)
    waits = [wait_s(store, pace) for _ in range(slots)]
    free = max(0, slots - 5)
    assert [round(wait, 1) for wait in waits[:free]] == [0.0] * free
    assert min(waits[free:]) > PACE.window_s - JITTER_S * 10


def test_a_hold_stops_all(store: Store):
    """After a 429 nobody starts for so long."""
    store.write(lambda db: budgets.hold(db, "f", PACE, 3.0))
    assert 2.5 < wait_s(store) <= 3.0


def test_refused_calls_slow_the_pace_for_a_while(store: Store):
    """Somebody else spends the same budget. Those that were refused together count once."""
    held = [store.write(lambda db: budgets.hold(db, "f", PACE, 0.0)) for _ in range(4)]
    assert held == [budgets.FIRST_SLOWER_S, None, None, None]
    for _ in range(5):
        taken(store)
    assert PACE.window_s + budgets.FIRST_SLOWER_S - 0.2 < wait_s(store) <= PACE.window_s + budgets.FIRST_SLOWER_S
    _ago(store, budgets.ONE_REFUSAL_S)
    assert store.write(lambda db: budgets.hold(db, "f", PACE, 0.0)) == 2 * budgets.FIRST_SLOWER_S
    _ago(store, budgets.SLOW_FOR_S)
    assert store.read(lambda db: budgets.use(db, "f")).slower_s == budgets.CAREFUL_S
    assert store.write(lambda db: budgets.hold(db, "f", PACE, 0.0)) == budgets.FIRST_SLOWER_S
    _ago(store, budgets.SLOW_FOR_S + budgets.CAREFUL_FOR_S)
    assert store.read(lambda db: budgets.use(db, "f")).slower_s == 0.0


def test_a_new_budget_is_careful(store: Store):
    """Nobody knows yet whether the machine is calm."""
    store.write(lambda db: budgets.lay_out(db, "f", PACE))
    assert store.read(lambda db: budgets.use(db, "f")).slower_s == budgets.CAREFUL_S
    _ago(store, budgets.CAREFUL_FOR_S)
    assert store.read(lambda db: budgets.use(db, "f")).slower_s == 0.0


def test_a_slot_that_nobody_waits_for_lasts_longer(store: Store):
    """So that a slow commit is no loss; who is waited for has no time to spare."""
    pace = Pace(slots=1, window_s=0.2, longest_wait_s=20.0, unhurried_s=0.1)
    first, second = taken(store, pace), taken(store, pace)
    assert first.ends_at - first.begins_at == pytest.approx(0.3, abs=1e-4)
    assert second.begins_at == pytest.approx(first.ends_at, abs=1e-4)
    assert second.ends_at - second.begins_at == pytest.approx(0.2, abs=1e-4)


def test_windows_that_have_begun_are_longer_at_once(store: Store):
    """Who is on the way already may be as late; and who waits in line for a slot has the old pace."""
    pace = Pace(slots=1, window_s=0.5, longest_wait_s=20.0)
    first = taken(store, pace)
    store.write(lambda db: budgets.allow_for(db, "f", 0.0))
    second = taken(store, pace)
    assert second.begins_at == pytest.approx(first.ends_at + budgets.CAREFUL_S, abs=1e-4)
    store.write(lambda db: budgets.hold(db, "f", pace, 0.0))
    third = taken(store, pace)
    widened_s = budgets.FIRST_SLOWER_S - budgets.CAREFUL_S
    assert third.begins_at == pytest.approx(second.ends_at + widened_s, abs=0.02)


def test_a_wider_window_is_not_narrowed_by_who_is_less_late(store: Store):
    """Of two that were late the worse counts; a refusal of Deel's counts more than both."""
    store.write(lambda db: budgets.lay_out(db, "f", PACE))
    store.write(lambda db: budgets.allow_for(db, "f", 0.1))
    store.write(lambda db: budgets.allow_for(db, "f", 0.02))
    assert store.read(lambda db: budgets.use(db, "f")).slower_s == pytest.approx(0.15)
    refused_s = store.write(lambda db: budgets.hold(db, "f", PACE, 0.0))
    store.write(lambda db: budgets.allow_for(db, "f", 0.02))
    assert store.read(lambda db: budgets.use(db, "f")).slower_s == refused_s


def _ago(store: Store, seconds: float) -> None:
    store.write(lambda db: db.execute(update(table).values(slow_until=table.c.slow_until - seconds)))


def test_a_clock_that_jumped_back_does_not_stop_the_budget(store: Store):
    """Slots that are taken until an hour from now were written before the jump."""
    taken(store)
    later = [time.time() + 3600] * 5
    store.write(lambda db: db.execute(update(table).values(free_at=str(later))))
    assert store.write(lambda db: budgets.lay_out(db, "f", PACE)) <= PACE.window_s
    assert wait_s(store) <= PACE.window_s


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 12), st.floats(0.1, 3.0), st.integers(1, 40))
def test_no_window_ever_holds_more_than_its_slots(sqlite_url, slots, window_s, asks):
    """Whatever the pace."""
    store, pace = Store(sqlite_url), Pace(slots, window_s, 1e9)
    store.write(lambda db: db.execute(table.delete()))
    starts = [begins(store, pace) for _ in range(asks)]
    store.close()
    assert all(later - earlier >= window_s - JITTER_S for earlier, later in zip(starts, starts[slots:], strict=False))
