"""When two messages are the same event, and when they must not be taken for it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from onboarding.events import Why, read
from tests.onboarding.hris_messages import (
    CLOUD_EVENT,
    EMAIL,
    KEYS,
    ORGANIZATION,
    PLAIN,
    STRUCTURED,
    WEBHOOK,
    binary,
    key,
    message,
    only,
    signed,
    webhook,
)


def test_an_events_own_id_identifies_it():
    """The same event is known again though its body differs."""
    assert key(PLAIN) == key(PLAIN | {"note": "again"})
    assert key(CLOUD_EVENT) == key(CLOUD_EVENT | {"time": "2026-01-05T09:00:00Z"})
    named = webhook(meta={"event_id": "evt-1"})
    assert key(named) == key(named | {"timestamp": "later"})
    assert key(webhook(event_id="evt-1")) == key(webhook(event_id="evt-1", timestamp="later"))


def test_another_id_is_another_event():
    """In each shape."""
    assert key(PLAIN) != key(PLAIN | {"id": "evt-2"})
    assert key(CLOUD_EVENT) != key(CLOUD_EVENT | {"id": "evt-2"})
    assert key(webhook(meta={"event_id": "evt-1"})) != key(webhook(meta={"event_id": "evt-2"}))


def test_cloud_events_ids_are_unique_within_their_source_only():
    """Two sources may count alike."""
    assert key(CLOUD_EVENT) != key(CLOUD_EVENT | {"source": "/other"})


def test_without_an_id_a_cloud_event_is_its_source_type_subject_and_time():
    """And without a time it is its body: else all events of one contract would be one."""
    nameless = {name: value for name, value in CLOUD_EVENT.items() if name != "id"} | {"subject": "c-1"}
    timed = nameless | {"time": "2026-01-05T09:00:00Z"}

    assert key(timed) == key(timed | {"note": "again"})
    for change in ({"source": "/other"}, {"subject": "c-2"}, {"time": "2026-01-05T09:00:01Z"}):
        assert key(timed) != key(timed | change)
    assert key(nameless) != key(nameless | {"note": "again"})


def test_deels_webhook_without_an_id_is_its_body():
    """`event_type_id` names the type; whether `tracking_id` is stable nobody says: neither identifies an event."""
    assert key(WEBHOOK) == key(WEBHOOK)
    assert key(WEBHOOK) != key(webhook(timestamp="2026-01-05T09:01:02.114Z"))


def test_a_binary_cloud_event_without_id_and_body_is_its_attributes():
    """Two dead letters with the same, empty body are two."""
    first, second = (
        binary({"specversion": "1.0", "subject": f"no/{n}"}, routing_key="contract.created") for n in (1, 2)
    )

    assert only(first).why is Why.BAD_CONTRACT_ID
    assert key(first) != key(second)


@pytest.mark.parametrize(
    "forged",
    [
        webhook(meta={"event_id": "evt-1"}, resource={"id": "another"}),
        webhook(meta={"event_id": "evt-1", "event_type": "contract.amended"}),
        webhook(meta={"event_id": "evt-1", "is_simulation": True}),
        webhook(meta={"event_id": "evt-1", "organization_id": "another"}),
        webhook(meta={"event_id": "evt-1"}, resource={"id": "no/id"}),
        webhook(meta={"event_id": "evt-1"}),
        {"type": "contract.created", "id": "evt-1", "contract_id": "abc12de", "organization_id": ORGANIZATION},
        CLOUD_EVENT | {"data": {"contract_id": "abc12de", "organization_id": ORGANIZATION}},
    ],
)
def test_a_forged_event_cannot_take_a_signed_events_place(forged):
    """Whoever may publish knows, or guesses, ids; the genuine event must still be taken."""
    assert key(forged) != key(signed(webhook(meta={"event_id": "evt-1"})))


@pytest.mark.parametrize(
    "change",
    [{"contract_id": "c-2"}, {"organization_id": "org-2"}, {"type": "contract.amended"}, {"contract_id": "no/id"}],
)
def test_an_id_used_twice_loses_no_event_that_means_something_else(change):
    """Unsigned senders cannot be told apart, but only an event that starts the same run shares a key."""
    assert key(PLAIN) != key(PLAIN | change)


def test_the_same_body_dead_and_alive_has_two_keys():
    """A genuine body sent first under a wrong signature, or a wrong content type, is not lost."""
    genuine = signed(WEBHOOK)
    variants = [
        genuine,
        replace(genuine, headers={}),
        replace(genuine, headers=genuine.headers | {"x-deel-signature": "0"}),
        replace(genuine, content_type=STRUCTURED),
        replace(genuine, content_encoding="gzip"),
        replace(genuine, headers=genuine.headers | {"cloudEvents:specversion": "1.0"}),
    ]

    assert len({key(each) for each in variants}) == len(variants)


@pytest.mark.parametrize("event_id", ["x" * 100_000, EMAIL, "\ud800", "\x00", 10**4000])
def test_a_key_is_short_and_holds_nothing_of_the_id(event_id):
    """It stands in a plain column."""
    found = key(PLAIN | {"id": event_id})

    assert len(found) <= 76
    assert EMAIL not in found


@pytest.mark.parametrize("event_id", [True, 1.5, [], {}, None, ""])
def test_what_is_no_id_identifies_nothing(event_id):
    """The body does then."""
    assert key(PLAIN | {"id": event_id}) != key(PLAIN | {"id": event_id, "note": "again"})


@pytest.mark.parametrize(
    ("event_type", "resource"),
    [
        ("worker.v2.created", [{"id": "p-1"}, {"id": "p-2"}]),
        ("contract.created", [{}, {}]),
        ("contract.created", [5, 5]),
    ],
)
def test_elements_that_name_no_contract_are_told_apart_by_their_place(event_type, resource):
    """Else the second would be filed as a duplicate of the first."""
    document = webhook(meta={"event_type": event_type, "event_id": "evt-1"}, resource=resource)
    first, second = (answer.dedup_key for answer in read(message(document), KEYS))

    assert first != second


def test_an_ignored_events_type_is_a_part_of_its_key():
    """A sender that numbers each type by itself loses nothing from the listing."""
    assert key(PLAIN | {"type": "contract.amended"}) != key(PLAIN | {"type": "contract.terminated"})
