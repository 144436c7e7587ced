"""Deel's webhooks: signature, envelope, what a test may change in them."""

from __future__ import annotations

import json

import pytest

from onboarding.simulator.webhooks import signature

VECTOR = (
    b'{"data":{"meta":{"event_type":"contract.created"},"resource":{"id":"abc1234"}},'
    b'"timestamp":"2026-01-05T09:00:00.000Z"}'
)


def test_the_signature_is_deels():
    """HMAC-SHA256 of "POST" and the raw body, lower-case hex: the known vector."""
    expected = "fee307e06d6f0afd76c588d8a4c60685be58a4430ee95e8f02a0507b97ddfdf6"
    assert len(VECTOR) == 118
    assert signature("whsec_test", VECTOR) == expected


def test_a_webhook_is_signed_with_the_key_of_its_label(deel):
    """The header trio; another label is another key."""
    deel.has_contract("c-1")
    deel.signing_keys["Next"] = "whsec_next"
    for label in ("New Webhook", "Next"):
        webhook = deel.webhook("contract.created", "c-1", label=label)
        assert webhook.headers["x-deel-hmac-label"] == label
        assert webhook.headers["x-deel-signature"] == signature(deel.signing_keys[label], webhook.body)
        assert webhook.headers["x-deel-webhook-version"] == "1.0.0"


def test_the_envelope_tells_of_the_contract(deel):
    """Before there is a profile the worker has an expected e-mail, afterwards an id."""
    deel.has_contract("c-1", email="ada@example.com")
    envelope = json.loads(deel.webhook("contract.created", "c-1").body)
    meta, resource = envelope["data"]["meta"], envelope["data"]["resource"]
    assert (meta["event_type"], meta["organization_id"]) == ("contract.created", deel.organization_id)
    assert "is_simulation" not in meta
    assert (resource["id"], resource["type"], resource["status"]) == ("c-1", "eor", "under_review")
    assert resource["termination_date"] == ""
    expected = {"expected_email": "ada@example.com", "first_name": "Ada", "last_name": "Lovelace"}
    assert resource["worker"] == expected
    assert envelope["timestamp"].endswith("Z")

    deel.has_contract("c-2", email="bob@example.com", with_profile=True)
    worker = json.loads(deel.webhook("contract.status.updated", "c-2").body)["data"]["resource"]["worker"]
    assert (worker["id"], worker["email"]) == (deel.profiles_of("c-2")[0], "bob@example.com")


def test_what_a_test_may_change(deel):
    """An array of resources, a simulated delivery, other fields in resource, meta and envelope."""
    deel.has_contract("c-1")
    webhook = deel.webhook(
        "contract.created",
        "c-1",
        as_array=True,
        is_simulation=True,
        status="in_progress",
        organization_id="another",
        timestamp="2026-01-05T09:00:00.000Z",
    )
    envelope = json.loads(webhook.body)
    (resource,) = envelope["data"]["resource"]
    assert resource["status"] == "in_progress"
    assert "organization_id" not in resource
    assert envelope["data"]["meta"]["is_simulation"] is True
    assert envelope["data"]["meta"]["organization_id"] == "another"
    assert envelope["timestamp"] == "2026-01-05T09:00:00.000Z"


def test_a_status_update_carries_more(deel):
    """contract.status.updated has the external id too."""
    deel.has_contract("c-1", external_id="hr-7")
    updated, created = (
        json.loads(deel.webhook(name, "c-1").body)["data"]["resource"]
        for name in ("contract.status.updated", "contract.created")
    )
    assert updated["external_id"] == "hr-7"
    assert "external_id" not in created


def test_a_webhook_may_come_before_its_contract_can_be_seen(deel, ask):
    """The webhook of a contract that is still 404 is told all the same."""
    deel.has_contract("c-1", visible_after_s=30)
    assert b'"id":"c-1"' in deel.webhook("contract.created", "c-1").body
    assert ask("GET /contracts/c-1").status_code == 404


def test_a_webhook_needs_a_contract_and_a_key(deel):
    """A contract that Deel does not have, or a label without a key, is a mistake in the test."""
    with pytest.raises(KeyError):
        deel.webhook("contract.created", "nix")
    deel.has_contract("c-1")
    with pytest.raises(KeyError):
        deel.webhook("contract.created", "c-1", label="nix")


def test_a_webhook_shows_nothing_of_itself(deel):
    """Neither the worker's data nor the signature is in its repr."""
    deel.has_contract("c-1", email="ada@example.com")
    webhook = deel.webhook("contract.created", "c-1")
    assert "ada" not in repr(webhook)
    assert webhook.headers["x-deel-signature"] not in repr(webhook)
