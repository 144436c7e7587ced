"""What each understood type asks for, in each shape."""

from __future__ import annotations

import copy
from datetime import UTC, datetime

import pytest

from onboarding.consent_events import NOT_TAKEN, Evidence
from onboarding.events import Consented, Dead, Ending, Event, News, Why
from tests.onboarding.hris_messages import (
    ATTRIBUTES,
    CLOUD_EVENT,
    EMAIL,
    PLAIN,
    PROFILE,
    binary,
    key,
    only,
    signed,
    webhook,
)

GIVEN = {
    "type": "worker.consent.given",
    "contract_id": "c-1",
    "evidence": "DOC-1",
    "version": "terms-3",
    "channel": "portal",
    "who": "hr-portal",
    "time": "2026-01-05T09:00:00+01:00",
}
WITHDRAWN = GIVEN | {"type": "worker.consent.withdrawn"}
AT = datetime(2026, 1, 5, 8, tzinfo=UTC)


def of_worker(event_type: str, **resource):
    """A webhook whose resource is a worker's."""
    document = copy.deepcopy(webhook(meta={"event_type": event_type}))
    document["data"]["resource"] = resource
    return document


# --- contracts


def test_a_status_update_starts_what_contract_created_should_have():
    """Signed, its facts are as good."""
    event = only(signed(webhook(meta={"event_type": "contract.status.updated"})))

    assert isinstance(event, Event)
    assert (event.contract_id, event.told.contract_type, event.signed) == ("abc12de", "eor", True)


@pytest.mark.parametrize("changed", [{"type": "ongoing_time_based"}, {"status": "completed"}])
def test_a_status_update_of_what_needs_no_onboarding_is_news(changed):
    """Unsigned as well: what is said against a start is believed."""
    for document in (webhook(meta={"event_type": "contract.status.updated"}, resource=changed),):
        for answer in (only(document), only(signed(document))):
            assert isinstance(answer, News)
            assert answer.contract_id == "abc12de"


@pytest.mark.parametrize("status", ["cancelled", "user_cancelled", "rejected", "terminated"])
def test_a_status_that_ends_a_contract_is_an_ending(status):
    """As `contract.terminated` is, whatever its status says."""
    update = webhook(meta={"event_type": "contract.status.updated"}, resource={"status": status})
    terminated = webhook(meta={"event_type": "contract.terminated"})

    for document in (update, terminated):
        assert isinstance(only(document), Ending)
        assert not only(document).signed
        assert only(signed(document)).signed


def test_the_plain_form_of_a_status_update_starts_a_run():
    """Its type is the event's: the contract's is asked of Deel."""
    assert isinstance(only(PLAIN | {"type": "contract.status.updated"}), Event)
    assert isinstance(only(PLAIN | {"type": "contract.status.updated", "status": "cancelled"}), Ending)


# --- workers


@pytest.mark.parametrize("name", ["employee.created.eor", "worker.v2.created", "onboarding.status.updated"])
def test_an_event_of_a_worker_names_the_profile(name):
    """And no contract: nothing more is documented. Of another thing's id none is made."""
    for found in ({"id": PROFILE.upper()}, {"hris_profile_id": PROFILE, "id": "x"}, {"worker": {"id": PROFILE}}):
        answer = only(of_worker(name, **found))
        assert isinstance(answer, News)
        assert (answer.contract_id, answer.hris_profile_id) == (None, PROFILE)
    for nothing in ({}, {"id": 5}, {"id": EMAIL}, {"worker": "x"}):
        answer = only(of_worker(name, **nothing))
        assert (answer.contract_id, answer.hris_profile_id) == (None, None)


def test_an_event_of_a_worker_that_names_an_eor_contract_starts_its_run():
    """`worker.v2.created` does not: a worker may have any kind of contract."""
    employee = of_worker("employee.created.eor", contract_id="c-2", id=PROFILE)
    onboarding = of_worker("onboarding.status.updated", contract_id="c-2", hiring_type="eor")
    assert all(isinstance(only(each), Event) for each in (employee, onboarding))

    contractor = of_worker("onboarding.status.updated", contract_id="c-2", hiring_type="contractor")
    worker = of_worker("worker.v2.created", contract_id="c-2", id=PROFILE)
    assert all(isinstance(only(each), News) for each in (contractor, worker))
    assert {only(each).contract_id for each in (employee, onboarding, contractor, worker)} == {"c-2"}


def test_a_workers_type_is_not_the_contracts():
    """Else it would look like another kind of contract, and raise an alarm."""
    told = only(signed(of_worker("worker.v2.created", id=PROFILE, type="employee", worker_email=EMAIL))).told

    assert told.contract_type is None
    assert [email.get_secret_value() for email in told.emails] == [EMAIL]


@pytest.mark.parametrize("raw", ["c/1", EMAIL, ["c-1"]])
def test_a_bad_contract_id_is_dead_in_news_too(raw):
    """It says something that we cannot make out."""
    assert only(of_worker("worker.v2.created", id=PROFILE, contract_id=raw)).why is Why.BAD_CONTRACT_ID


# --- consents


@pytest.mark.parametrize("document", [GIVEN, WITHDRAWN])
def test_a_consent_is_read_with_its_evidence(document):
    """In the plain form, and as a CloudEvent, whose time serves where the data has none."""
    data = {name: value for name, value in document.items() if name not in ("type", "time")}
    event = CLOUD_EVENT | {"type": document["type"], "data": data, "time": GIVEN["time"]}
    for answer in (only(document), only(event)):
        assert isinstance(answer, Consented)
        assert answer.given is (document is GIVEN)
        assert answer.evidence == Evidence("DOC-1", "terms-3", "portal", "hr-portal", AT)


def test_a_consent_without_channel_sender_or_time_is_one():
    """The time of its arrival counts then."""
    bare = {name: GIVEN[name] for name in ("type", "contract_id", "evidence", "version")}

    assert only(bare).evidence == Evidence("DOC-1", "terms-3", "event", "hris", None)
    assert only(bare | {"time": "yesterday"}).evidence.decided_at is None


@pytest.mark.parametrize("field", ["evidence", "version"])
@pytest.mark.parametrize("value", [None, "", "  ", 5, f"mail of {EMAIL}", "a@b", "x" * 201, "two\nlines"])
def test_a_consent_that_proves_nothing_or_tells_too_much_is_dead(field, value):
    """A withdrawal of the same kind counts: nobody's token lives on for want of a reference."""
    answer = only(GIVEN | {field: value})
    assert isinstance(answer, Dead)
    assert answer.why is Why.CONSENT_INCOMPLETE

    assert getattr(only(WITHDRAWN | {field: value}).evidence, field) == NOT_TAKEN


def test_deel_has_no_event_of_a_consent():
    """One in Deel's shape is a mistake, or worse."""
    assert only(webhook(meta={"event_type": "worker.consent.given"})).why is Why.UNKNOWN_TYPE


def test_a_forged_withdrawal_cannot_take_a_genuine_ones_place():
    """With its id, and a time at which it counts for nothing: what a consent says identifies it."""
    genuine, forged = WITHDRAWN | {"id": "evt-1"}, WITHDRAWN | {"id": "evt-1", "time": "1970-01-01T00:00:00Z"}

    assert key(genuine) != key(forged)
    assert key(genuine) == key(dict(genuine))
    attributes = ATTRIBUTES | {"type": "worker.consent.withdrawn", "subject": "c-1"}
    assert only(binary(attributes)).dedup_key != only(binary(attributes | {"time": GIVEN["time"]})).dedup_key
