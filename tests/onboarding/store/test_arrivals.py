"""Events as people watch them arrive, and how runs came to be known."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, insert

from onboarding.store import arrivals
from onboarding.store.engine import Store
from onboarding.store.sql import from_now
from onboarding.store.tables import events, runs
from tests.onboarding.store.rows import ORG, add_run


def add(store: Store, **columns: Any) -> None:
    row = {"source": "deel", "disposition": "accepted", **columns}
    store.write(lambda db: db.execute(insert(events).values(**row)))


def test_the_latest_and_those_since(store: Store):
    """Oldest first; how each was signed and when is now."""
    assert store.read(arrivals.last_id) == 0
    for number in range(3):
        add(store, contract_id=f"c-{number}", signed=number == 1 or None)
    last = store.read(arrivals.last_id)
    assert [row.contract_id for row in store.read(lambda db: arrivals.latest(db, 2))] == ["c-1", "c-2"]
    found = store.read(lambda db: arrivals.since(db, last - 2))
    assert [(row.contract_id, row.signed) for row in found] == [("c-1", True), ("c-2", None)]
    assert all(row.now >= row.received_at for row in found)


def test_what_is_older_than_a_month_is_not_counted(store: Store):
    """Nor are events that made no run, nor those of runs that are gone."""
    add_run(store, "old", contract_id="c-old")
    add_run(store, "new", contract_id="c-new")
    add(store, run_id="old", received_at=from_now(-31 * 86_400.0))
    add(store, run_id="new", reason="contract_terminated")
    add(store, run_id="gone")
    add(store, disposition="ignored")
    assert store.read(arrivals.completeness) == {}


TOLD = st.lists(st.sampled_from(["backfill", "deel", "plain", "cloudevents"]), min_size=1, max_size=4)


@given(piles=st.lists(TOLD, max_size=5))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_came_in_whatever_order_each_run_is_counted_once(store: Store, piles: list[list[str]]):
    """The first event makes the run, the others are its duplicates."""
    store.write(lambda db: (db.execute(delete(events)), db.execute(delete(runs))))
    expected = dict.fromkeys(arrivals.HOWS, 0)
    for number, sources in enumerate(piles):
        add_run(store, f"run-{number}", contract_id=f"c-{number}")
        for place, source in enumerate(sources):
            how = {} if place == 0 else {"disposition": "duplicate", "reason": "run_exists"}
            add(store, run_id=f"run-{number}", source=source, **how)
        only_list = set(sources) == {"backfill"}
        first = "told_late" if sources[0] == "backfill" else "told_by_webhook"
        expected["found_by_poll_only" if only_list else first] += 1
    assert store.read(arrivals.completeness) == ({ORG: expected} if piles else {})
