"""What is old goes, what is young or open stays, and nobody is locked out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Table, func, insert, select

from onboarding.runs import State
from onboarding.store import data_keys, notifications, retention
from onboarding.store.engine import Store
from onboarding.store.retention import DAY_S, Batch, Retention
from onboarding.store.sql import from_now
from onboarding.store.tables import attempts, dead_letters, events, runs, worker_tokens
from onboarding.store.tables import data_keys as data_keys_table
from onboarding.store.tables import notifications as notifications_table
from tests.onboarding.store.rows import KEYRING, add_run


def days_ago(days: float) -> Any:
    return from_now(-days * DAY_S)


def add(store: Store, table: Table, **columns: Any) -> None:
    store.write(lambda db: db.execute(insert(table).values(**columns)))


def ended(store: Store, run_id: str, days: float, *, state: str = "completed", **columns: Any) -> None:
    add_run(store, run_id, state=state, updated_at=days_ago(days), created_at=days_ago(days), **columns)


def retire(store: Store, days: int = 400) -> dict[str, int]:
    """Every kind, to the end."""
    gone = dict.fromkeys(retention.KINDS, 0)
    for kind, batch in retention.KINDS.items():
        done = Batch(0, datetime(1970, 1, 1, tzinfo=UTC))
        while done.after is not None:
            done = store.write(lambda db, batch=batch, after=done.after: batch(db, Retention(days), after))  # type: ignore[misc]
            gone[kind] += done.deleted
    return gone


def left(store: Store, column: Any = runs.c.id) -> list[Any]:
    return list(store.read(lambda db: db.execute(select(column).order_by(column)).scalars().all()))


def test_what_is_old_goes_and_what_is_young_or_open_stays(store: Store):
    """Events after 90 days, ended runs after 400; a failed run never by itself."""
    for number, state in enumerate((State.COMPLETED, State.CANCELLED, State.FAILED, State.PENDING)):
        ended(store, f"run-{number}", 401, state=state)
        ended(store, f"young-{number}", 399, state=state)
        for name in ("run", "young"):
            add(store, attempts, run_id=f"{name}-{number}", step="notify", fence=1, started_at=days_ago(91))
            add(store, attempts, run_id=f"{name}-{number}", step="notify", fence=2, started_at=days_ago(89))
    for days in (91, 89):
        add(store, events, source="s", disposition="dead", received_at=days_ago(days))
        letter = {"routing_key": "k", "reason": "no_json", "size": 1, "sealed": b"x", "received_at": days_ago(days)}
        add(store, dead_letters, id=str(days), source="hris", **letter)
    # the old attempts of the runs that go, go with them
    assert retire(store) == {"events": 1, "dead_letters": 1, "attempts": 2, "runs": 2}
    assert left(store) == ["run-2", "run-3", *(f"young-{number}" for number in range(4))]
    assert len(left(store, attempts.c.id)) == 10
    assert retire(store) == {"events": 0, "dead_letters": 0, "attempts": 0, "runs": 0}


def test_that_a_consent_came_is_never_forgotten(store: Store):
    """A recorded webhook that gives it comes again years later: a repeat still, whatever was withdrawn meanwhile."""
    for reason in ("consent_given", "consent_withdrawn", "run_exists", None):
        add(store, events, source="s", disposition="accepted", reason=reason, received_at=days_ago(1000))
    assert retire(store)["events"] == 2
    assert left(store, events.c.reason) == ["consent_given", "consent_withdrawn"]


def test_what_leads_to_a_run_does_not_outlive_it(store: Store):
    """With seven days, events and dead letters go after seven, too; with a thousand, after ninety."""
    ended(store, "run-1", 8)
    add(store, events, source="s", disposition="accepted", received_at=days_ago(8))
    add(store, events, source="s", disposition="accepted", received_at=days_ago(100))
    assert retire(store, days=1000) == {"events": 1, "dead_letters": 0, "attempts": 0, "runs": 0}
    assert retire(store, days=7) == {"events": 1, "dead_letters": 0, "attempts": 0, "runs": 1}


def test_all_that_is_a_runs_own_goes_with_it(store: Store):
    """Its notifications, and the key that opened its worker's addresses; those of others stay."""
    ended(store, "run-1", 401)
    add_run(store, "run-2")
    for run_id in ("run-1", "run-2"):
        message = f"msg_{run_id}"
        store.write(lambda db, run_id=run_id, of=message: notifications.prepare(db, run_id, of, ["a"]))
        store.write(lambda db, of=message: notifications.refused(db, of, "a", 404))
        subject = f"contract:contract-of-{run_id}"
        store.write(lambda db, subject=subject: data_keys.get_or_make(db, KEYRING, subject))
    assert retire(store)["runs"] == 1
    assert left(store, notifications_table.c.run_id) == ["run-2"]
    assert left(store, data_keys_table.c.subject) == ["contract:contract-of-run-2"]


def test_a_run_whose_workers_token_is_live_stays(store: Store):
    """Whichever run of the worker it was issued for; one that expired, died or was forgotten keeps nobody."""
    tokens: dict[str, dict[str, Any]] = {
        "live": {"expires_at": from_now(60)},
        "dead": {"expires_at": from_now(60), "dead": True},
        "expired": {"expires_at": from_now(-60)},
        "forgotten": {"expires_at": from_now(60), "sealed": None},
    }
    for profile, columns in tokens.items():
        ended(store, f"run-{profile}", 401, hris_profile_id=profile)
        row = {"organization_id": "org-1", "issue_number": 1, "intended_by": "another", "sealed": b"x", "dead": False}
        add(store, worker_tokens, hris_profile_id=profile, **row | columns)
    ended(store, "run-none", 401)
    assert retire(store)["runs"] == 4
    assert left(store) == ["run-live"]


def test_a_run_with_an_open_notification_stays_a_month_longer(store: Store):
    """And no more: a cancelled run's, or one to a target of former days, is never settled."""
    for days in (401, 429, 431):
        ended(store, f"run-{days}", days, state="cancelled")
        add(store, notifications_table, message_id=str(days), target="a", run_id=f"run-{days}", tries=1)
    assert retire(store)["runs"] == 1
    assert left(store) == ["run-401", "run-429"]


@pytest.mark.parametrize("blocked", [0, 7])
def test_batches_get_past_what_has_to_stay(store: Store, monkeypatch: pytest.MonkeyPatch, blocked: int):
    """However many old rows stay, each batch looks at a few, and the last one is reached."""
    monkeypatch.setattr(retention, "BATCH", 3)
    for number in range(blocked):
        ended(store, f"parked-{number}", 500 - number, state="failed")
    for number in range(7):
        ended(store, f"run-{number}", 450 - number)
    assert retire(store)["runs"] == 7
    assert len(left(store)) == blocked


def test_many_of_one_moment_that_stay_do_not_go_round_in_circles(store: Store, monkeypatch: pytest.MonkeyPatch):
    """A batch that neither deletes nor gets on is the last."""
    monkeypatch.setattr(retention, "BATCH", 3)
    moment = datetime.now(UTC) - timedelta(days=401)
    for number in range(5):
        add_run(store, f"parked-{number}", state="failed", updated_at=moment)
    assert retire(store)["runs"] == 0


def test_a_run_that_somebody_holds_is_left_alone_and_nobody_waits(postgres_url: str):
    """An engineer replays an old run while it would be deleted: the batch goes on without it."""
    store, other = Store(postgres_url), Store(postgres_url)
    for number in range(3):
        ended(store, f"run-{number}", 401)
    with other.engine.begin() as held:
        held.execute(select(runs.c.id).where(runs.c.id == "run-1").with_for_update())
        assert store.write(lambda db: retention.retire_runs(db, Retention())).deleted == 2
        held.execute(runs.update().values(state="pending", updated_at=func.now()))
    assert store.write(lambda db: retention.retire_runs(db, Retention())).deleted == 0
    assert left(store) == ["run-1"]
    other.close()
    store.close()
