"""Replay, cancel and what people look at."""

from __future__ import annotations

import pytest
from sqlalchemy import select, update

from onboarding.runs import Backoff, Done, Park, Reason, State, Step, settle
from onboarding.store import consents
from onboarding.store import runs as run_statements
from onboarding.store.engine import Store
from onboarding.store.records import record
from onboarding.store.runs import Replay
from onboarding.store.sql import from_now
from onboarding.store.tables import audit, runs
from tests.onboarding.store.rows import KEYRING, TERMS, add_run, claim, run_row, timeline


def replay(store: Store, wish: Replay, run_id: str = "run-1") -> bool:
    row = store.read(lambda db: run_statements.find(db, run_id))
    return store.write(lambda db: run_statements.replay(db, row, wish))


def finish(store: Store, held, outcome) -> bool:
    change = settle(held.run, outcome, Backoff(), lambda: 0.5)
    return store.write(lambda db: record(db, held, change, KEYRING, TERMS))


@pytest.mark.parametrize(
    ("before", "wish", "step"),
    [
        ({"state": "failed", "step": "ensure_profile"}, Replay(), "ensure_profile"),
        ({"state": "completed", "step": "notify"}, Replay(), "verify_token"),
        ({"state": "completed", "step": "notify"}, Replay(reissue=True), "issue_token"),
        ({"state": "failed", "step": "ensure_profile"}, Replay(reissue=True), "ensure_profile"),
        ({"state": "cancelled", "step": "issue_token"}, Replay(), "issue_token"),
        ({"state": "completed", "step": "notify"}, Replay(step=Step.CONTRACT_CREATED), "contract_created"),
        ({"state": "completed", "step": "notify"}, Replay(step=Step.NOTIFY), "notify"),
    ],
)
def test_a_replay_goes_on_where_it_should(store: Store, before, wish: Replay, step: str):
    """Where it stopped; a completed run is verified again; a new token only when it is asked for."""
    add_run(store, **before, tries=4, starts=2, reissues=2)
    assert replay(store, wish)
    row = run_row(store)
    assert (row.state, row.step, row.reissue_asked) == (State.PENDING, step, wish.reissue)
    assert (row.tries, row.starts, row.reissues, row.reason) == (0, 0, 0, None)
    assert row.nudge_at is not None


def test_a_replay_does_not_touch_a_run_at_work(store: Store):
    """A worker that holds the run finishes first."""
    add_run(store)
    claim(store)
    assert not replay(store, Replay())
    assert run_row(store).fence == 1


def test_what_an_older_attempt_does_after_a_replay_is_refused(store: Store):
    """A worker that hung beyond its lease does not write over the replay."""
    add_run(store)
    late = claim(store)
    store.write(lambda db: db.execute(update(runs).values(lease_until=from_now(-1))))
    assert replay(store, Replay())
    assert not finish(store, late, Park(reason=Reason.NOT_EOR))
    assert timeline(store) == [("contract_created", "crashed")]
    assert run_row(store).state == State.PENDING


def test_a_cancelled_run_stays_cancelled(store: Store):
    """A step in flight ends without being recorded."""
    add_run(store)
    held = claim(store)
    row = store.read(lambda db: run_statements.find(db, "run-1"))
    assert store.write(lambda db: run_statements.cancel(db, row))
    assert not finish(store, held, Done())
    assert (run_row(store).state, run_row(store).nudge_at) == (State.CANCELLED, None)
    assert not store.write(lambda db: run_statements.cancel(db, row))


def test_runs_are_found_by_both_names_and_listed_newest_first(store: Store):
    """Run ids and contract ids, and a count of the attempts."""
    add_run(store, "run-1", created_at=from_now(-10))
    add_run(store, "run-2", state="failed", reason="not_eor", parkings=1)
    claim(store)
    rows = store.read(lambda db: run_statements.listing(db))
    assert [(row.id, row.attempts) for row in rows] == [("run-2", 0), ("run-1", 1)]
    failed = store.read(lambda db: run_statements.listing(db, state=State.FAILED, reason="not_eor"))
    assert [row.id for row in failed] == ["run-2"]
    for name in ("run-1", "contract-of-run-1"):
        assert store.read(lambda db, name=name: run_statements.find(db, name)).id == "run-1"
    assert store.read(lambda db: run_statements.find(db, "nobody")) is None


def test_the_newest_come_first_whatever_their_state(store: Store):
    """Of a few states each has its share in the list, and a limit cuts off the oldest of all."""
    states = ("completed", "failed", "completed", "waiting", "cancelled", "failed")
    for number, state in enumerate(states):
        add_run(store, f"run-{number}", state=state, reason="not_eor" if state == "failed" else None)
        store.write(
            lambda db, number=number: db.execute(
                update(runs).where(runs.c.id == f"run-{number}").values(created_at=from_now(-number))
            )
        )

    def listed(**wanted) -> list[str]:
        return [row.id for row in store.read(lambda db: run_statements.listing(db, **wanted))]

    assert listed() == [f"run-{number}" for number in range(6)]
    assert listed(limit=4) == [f"run-{number}" for number in range(4)]
    assert listed(state=State.COMPLETED) == ["run-0", "run-2"]
    assert listed(reason="not_eor", limit=1) == ["run-1"]
    assert listed(state=State.WAITING, reason="not_eor") == []


def test_many_runs_are_found_at_once(store: Store, monkeypatch: pytest.MonkeyPatch):
    """By either name, in as many queries as it takes; what is not known is left out."""
    monkeypatch.setattr(run_statements, "MOST_NAMES", 2)
    for number in range(5):
        add_run(store, f"run-{number}")
    names = ["contract-of-run-0", "run-1", "nobody", "run-2", "contract-of-run-3", "run-4", "contract-of-run-4"]
    found = store.read(lambda db: run_statements.find_all(db, names))
    assert {name: row.id for name, row in found.items()} == {
        name: f"run-{name[-1]}" for name in names if name != "nobody"
    }
    assert found["run-1"].attempts == 0


def test_stats_count(store: Store):
    """By state, by reason, by disposition."""
    add_run(store, "run-1", state="failed", reason="not_eor")
    add_run(store, "run-2", state="completed")
    stats = store.read(run_statements.stats)
    assert stats["runs"] == {"failed": 1, "completed": 1}
    assert stats["reasons"] == {"not_eor": 1}
    assert stats["oldest_waiting_at"] is None


def test_an_audit_line_says_who_and_why(store: Store):
    """Of what, and by whom."""
    add_run(store)
    row = store.read(lambda db: run_statements.find(db, "run-1"))
    store.write(lambda db: run_statements.note(db, "ada", "token", "payslips", row))
    line = store.read(lambda db: db.execute(select(audit)).one())
    assert (line.who, line.did, line.because, line.contract_id) == ("ada", "token", "payslips", row.contract_id)


def test_a_consent_lets_the_waiting_run_go_on(store: Store):
    """And its withdrawal is the newest line that counts."""
    add_run(store, state="waiting", reason="consent_missing", step="issue_token")
    contract = "contract-of-run-1"
    assert not store.read(lambda db: consents.given(db, contract))
    store.write(lambda db: consents.record(db, contract, evidence="doc-1", version="v1", who="ada"))
    assert store.read(lambda db: consents.given(db, contract))
    assert run_row(store).nudge_at is not None
    store.write(lambda db: consents.record(db, contract, evidence="mail", version="v1", who="ada", given=False))
    assert not store.read(lambda db: consents.given(db, contract))
