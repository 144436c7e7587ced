"""Intake: nothing is acknowledged before it is committed, nothing stops the queue."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from onboarding import events as reading
from onboarding import failpoints
from onboarding.events import Message
from onboarding.store import events as statements
from onboarding.store.engine import StoreUnavailable
from onboarding.store.tables import dead_letters, events, runs
from tests.onboarding.worlds import Death, Driver

PLAIN = Message(b'{"type": "contract.created", "contract_id": "c-1", "organization_id": "org-1"}', {}, "")


def count(onboard: Driver, table) -> int:
    return onboard.store.read(lambda db: db.execute(select(func.count()).select_from(table)).scalar_one())


def test_a_message_makes_a_run_once(onboard: Driver):
    """And says which, for the nudge."""
    (new,) = onboard.intake.accept(PLAIN)
    assert new.contract_id == "c-1"
    assert onboard.intake.accept(PLAIN) == []
    assert count(onboard, runs) == 1


@pytest.mark.parametrize("point", ["intake.recording", "intake.recorded"])
def test_a_death_before_or_after_the_commit_loses_and_doubles_nothing(onboard: Driver, point: str):
    """The message was not acknowledged, so it comes again."""

    def die() -> None:
        failpoints.disarm()
        raise Death

    failpoints.arm(point, die)
    with pytest.raises(Death):
        onboard.intake.accept(PLAIN)
    onboard.intake.accept(PLAIN)
    assert count(onboard, runs) == 1
    accepted = select(func.count()).where(events.c.disposition == "accepted")
    assert onboard.store.read(lambda db: db.execute(accepted).scalar_one()) == 1


def test_a_store_that_is_away_is_told_to_the_caller(onboard: Driver, monkeypatch):
    """Who keeps the message."""

    def away(_work):
        raise StoreUnavailable("gone")

    monkeypatch.setattr(onboard.store, "write", away)
    with pytest.raises(StoreUnavailable):
        onboard.intake.accept(PLAIN)


def test_a_message_that_trips_us_is_a_dead_letter(onboard: Driver, monkeypatch):
    """A defect of ours must not stop the queue: the message is kept, and reported."""

    def broken(*_arguments):
        raise RuntimeError("a defect")

    monkeypatch.setattr(statements, "file", broken)
    assert onboard.intake.accept(PLAIN) == []
    (letter,) = onboard.store.read(statements.letters)
    assert letter.reason == "internal_error"


def test_an_array_with_a_bad_element_lets_the_others_pass(onboard: Driver):
    """Each element stands for itself."""
    for contract in ("c-1", "c-2"):
        onboard.deel.has_contract(contract)
    body = json.loads(onboard.deel.webhook("contract.created", "c-1", as_array=True).body)
    body["data"]["resource"] += [{"title": "no id"}, {**body["data"]["resource"][0], "id": "c-2"}]
    made = onboard.intake.accept(Message(json.dumps(body).encode(), {}, ""))
    assert [run.contract_id for run in made] == ["c-1", "c-2"]
    assert count(onboard, dead_letters) == 1


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200), st.dictionaries(st.text(max_size=20), st.text(max_size=20), max_size=3), st.text())
def test_no_garbage_stops_the_queue(onboard: Driver, body, headers, routing_key):
    """Whatever comes is filed, and the next good message passes."""
    before = count(onboard, events)
    onboard.intake.accept(Message(body, headers, routing_key))
    assert count(onboard, events) == before + len(reading.read(Message(body, headers, routing_key), {}))
