"""What comes after a contract's first event: it wakes, it completes, or it contradicts, and then it only says so."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import select, update
from structlog.testing import capture_logs

from onboarding import observe
from onboarding.events import Message
from onboarding.runs import Step
from onboarding.store import data_keys, facts, news, runs
from onboarding.store.tables import events as events_table
from onboarding.store.tables import runs as runs_table
from tests.onboarding.tidings import on_both, take
from tests.onboarding.worlds import Driver

OTHER = "canary.other@example.com"
STRANGER = "5f4e1f77-0f1c-4f6d-8b0f-1b1b4b1b1b1b"


@pytest.fixture
def reported(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """What Sentry would get."""
    told: list[tuple[str, ...]] = []
    monkeypatch.setattr(observe, "report_changed_input", lambda *tags: told.append(tags))
    return told


def last_event(onboard: Driver) -> Any:
    columns = (events_table.c.disposition, events_table.c.reason, events_table.c.differs)
    return tuple(onboard.store.read(lambda db: db.execute(select(*columns).order_by(events_table.c.id.desc()))).first())


# --- starts


@pytest.mark.parametrize("signed", [True, False])
def test_a_status_update_stands_in_for_a_lost_contract_created(onboard: Driver, signed: bool):
    """Whichever comes first starts the run, once."""
    onboard.deel.has_contract("c-1", email="c-1@example.com")
    take(onboard, "contract.status.updated", signed=signed)
    take(onboard, "contract.created", signed=signed)
    assert last_event(onboard)[:2] == ("duplicate", "run_exists")
    assert onboard.carry() == "completed"
    onboard.as_promised()


def test_a_contractors_status_update_starts_nothing(onboard: Driver):
    """An organisation has contracts of every kind: each would be a run that fails."""
    onboard.deel.has_contract("c-1", type="ongoing_time_based")
    take(onboard, "contract.status.updated")
    assert last_event(onboard)[:2] == ("ignored", "no_run")


@pytest.mark.parametrize("event_type", ["employee.created.eor", "worker.v2.created", "onboarding.status.updated"])
def test_an_event_of_a_worker_finds_the_run_by_the_profile(onboard: Driver, event_type: str):
    """Or nobody's: then there is nothing to do."""
    onboard.deel.has_contract("c-1", with_profile=True)
    take(onboard, event_type)
    assert last_event(onboard)[:2] == ("ignored", "no_run")
    take(onboard, "contract.created")
    take(onboard, event_type)
    assert last_event(onboard)[:2] == ("accepted", "run_exists")


# --- wakes


@pytest.mark.parametrize(("event_type", "signed"), [("contract.status.updated", False), ("contract.created", True)])
def test_news_of_a_contract_wakes_a_run_that_waits_for_it(onboard: Driver, event_type: str, signed: bool):
    """Its wait is over now, not in some minutes; and it begins to count anew."""
    onboard.deel.has_contract("c-1", visible_after_s=900)
    onboard.plain("c-1")
    onboard.deliver("c-1", Step.CONTRACT_CREATED)
    assert (onboard.run().state, onboard.run().reason) == ("waiting", "contract_not_found")
    onboard.deel.clock.advance(901)
    take(onboard, event_type, signed=signed)
    row = onboard.run()
    assert (row.state, row.reason, row.next_attempt_at, row.not_found) == ("pending", None, None, 0)
    assert onboard.carry() == "completed"


@on_both
@pytest.mark.parametrize(("signed", "state"), [(True, "pending"), (False, "failed")])
def test_what_deel_signed_wakes_a_parked_one_too(onboard: Driver, signed: bool, state: str):
    """It lacked just this. Anybody else's word leaves it to the engineer."""
    onboard.deel.has_contract("c-1")
    onboard.plain("c-1")
    parked = {"state": "failed", "reason": "contract_not_found", "parkings": 1}
    onboard.store.write(lambda db: db.execute(update(runs_table).values(parked)))
    take(onboard, "contract.status.updated", signed=signed)
    assert onboard.run().state == state


@pytest.mark.parametrize("reason", ["crash_loop", "request_rejected", "identity_mismatch"])
def test_a_run_parked_for_another_reason_sleeps_on(onboard: Driver, reason: str):
    """News of the contract mends none of these."""
    onboard.hire()
    onboard.store.write(lambda db: db.execute(update(runs_table).values(state="failed", reason=reason)))
    take(onboard, "contract.status.updated")
    assert (onboard.run().state, onboard.run().reason) == ("failed", reason)


@on_both
def test_a_profile_that_an_event_brings_is_not_made_again(onboard: Driver):
    """It saves the call, and is Deel's own word."""
    onboard.hire()
    assert onboard.run().hris_profile_id is None
    take(onboard, "contract.status.updated", worker={"id": STRANGER, "email": "c-1@example.com"})
    assert onboard.run().hris_profile_id == STRANGER


# --- contradicts


@on_both
@pytest.mark.parametrize(
    ("worker", "extra", "differs"),
    [
        ({"email": OTHER}, {}, "email"),
        ({"id": STRANGER, "email": "c-1@example.com"}, {}, "profile"),
        ({"email": "c-1@example.com"}, {"type": "peo"}, "type"),
        ({"id": STRANGER, "email": OTHER}, {"type": "peo"}, "type profile email"),
    ],
)
def test_other_facts_raise_an_alarm_and_change_nothing(onboard: Driver, reported, worker, extra, differs):
    """Which fact, never what it is; one issue for each kind."""
    onboard.hire()
    onboard.carry()
    before = onboard.run()
    with capture_logs() as lines:
        take(onboard, "contract.status.updated", worker=worker, **extra)
    assert last_event(onboard)[1:] == ("changed_input", differs)
    assert onboard.run()._asdict() | {"now": None} == before._asdict() | {"now": None}
    assert [tags[2] for tags in reported] == differs.split()
    (line,) = [line for line in lines if line["event"] == "changed_input"]
    assert (line["log_level"], line["differs"]) == ("warning", differs)
    assert OTHER not in json.dumps([lines, reported], default=str)
    assert onboard.store.read(news.count_changed) == 1


def test_the_same_facts_raise_none(onboard: Driver, reported):
    """In whichever case the address is written, and with another beside it."""
    onboard.hire()
    onboard.carry()
    for address in ("c-1@example.com", "C-1@Example.com"):
        take(onboard, "contract.status.updated", worker={"email": address, "expected_email": OTHER})
        assert last_event(onboard)[1:] == ("run_exists", None)
    assert reported == []


def test_an_unsigned_event_raises_none(onboard: Driver, reported):
    """Anybody could."""
    onboard.hire()
    take(onboard, "contract.status.updated", signed=False, worker={"email": OTHER})
    assert last_event(onboard)[1:] == ("run_exists", None)
    assert reported == []


def test_the_same_message_again_raises_no_second_one(onboard: Driver, reported):
    """Deel delivers ten times where it must."""
    onboard.hire()
    for _ in range(2):
        take(onboard, "contract.status.updated", worker={"email": OTHER}, tracking_id="t-1", event_type_id="e-1")
    webhook = onboard.deel.webhook("contract.status.updated", "c-1", worker={"email": OTHER})
    reported.clear()
    for _ in range(2):
        onboard.intake.accept(Message(webhook.body, dict(webhook.headers), ""))
    assert len(reported) == 1


@on_both
def test_a_replay_from_the_first_step_takes_the_new_facts(onboard: Driver, reported):
    """And settles the alarm."""
    onboard.hire()
    onboard.carry()
    onboard.deel.has_email("c-1", OTHER)
    take(onboard, "contract.status.updated")
    assert onboard.store.read(news.count_changed) == 1
    row = onboard.run()
    onboard.store.write(lambda db: runs.replay(db, row, runs.Replay(Step.CONTRACT_CREATED)))
    assert onboard.recover() == "completed"
    assert onboard.store.read(news.count_changed) == 0
    emails = onboard.store.read(lambda db: facts.emails_of(db, onboard.world.keyring, row.hris_profile_id))
    assert emails == (SecretStr(OTHER),)


def test_facts_that_do_not_open_stop_no_event(onboard: Driver, reported):
    """The queue goes on: nothing is compared, and it is said."""
    onboard.hire()
    onboard.store.write(lambda db: data_keys.erase(db, ["contract:c-1"]))
    with capture_logs() as lines:
        take(onboard, "contract.status.updated", worker={"email": OTHER})
    assert last_event(onboard)[1:] == ("run_exists", None)
    assert "facts_not_compared" in [line["event"] for line in lines]
    assert reported == []
