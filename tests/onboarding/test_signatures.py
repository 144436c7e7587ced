"""Deel's signature under a webhook: what it proves."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pydantic import SecretStr

from onboarding.events import Dead, Why, read
from tests.onboarding.hris_messages import (
    CLOUD_EVENT,
    EMAIL,
    PLAIN,
    PROFILE,
    VECTOR_BODY,
    VECTOR_SIGNATURE,
    WEBHOOK,
    message,
    only,
    signed,
    webhook,
)


@pytest.mark.parametrize("encode", [str, str.encode])
@pytest.mark.parametrize(
    "names", [("x-deel-signature", "x-deel-hmac-label"), ("X-Deel-Signature", "X-DEEL-HMAC-LABEL")]
)
def test_deels_signature_is_known_as_right(encode, names):
    """The vector; header names in any case, values as str or bytes."""
    headers = dict(zip(names, (encode(VECTOR_SIGNATURE), encode("New Webhook")), strict=True))
    event = only(VECTOR_BODY, headers=headers)

    assert (event.contract_id, event.signed) == ("abc1234", True)
    assert event.told is not None


def test_a_right_signature_makes_the_facts_believed():
    """Type, address and profile come with the event; the profile id only where it is one."""
    told = only(signed(webhook(resource={"worker": {"id": PROFILE, "email": EMAIL.upper()}}))).told

    assert (told.contract_type, told.emails, told.hris_profile_id) == ("eor", (SecretStr(EMAIL),), PROFILE)


def test_without_a_label_any_known_key_may_have_signed():
    """The old key counts as long as it is configured."""
    assert only(signed(WEBHOOK, key=b"whsec_old", label="")).signed


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-deel-signature": "", "x-deel-hmac-label": "New Webhook"},
        {"x-deel-signature": None, "x-deel-hmac-label": "New Webhook"},
        {"x-deel-signature": VECTOR_SIGNATURE, "x-deel-hmac-label": "Another"},
        {"x-deel-signature": "zz", "x-deel-hmac-label": b"\xff"},
        {"x-deel-hmac-label": "New Webhook"},
    ],
)
def test_no_signature_or_no_key_for_its_label_is_accepted_unbelieved(headers):
    """The facts are then fetched from Deel."""
    event = only(VECTOR_BODY, headers=headers)

    assert (event.signed, event.told) == (False, None)


def test_without_any_key_no_signature_can_be_wrong():
    """An installation that has no key configured still works; an empty key is none, as anybody has it."""
    forged = signed(WEBHOOK, key=b"", label="New Webhook")

    for keys in ({}, {"New Webhook": SecretStr("")}):
        (event,) = read(forged, keys)
        assert not event.signed


@pytest.mark.parametrize(
    "signature",
    [
        *(
            "0" * 64,
            VECTOR_SIGNATURE.upper(),
            VECTOR_SIGNATURE[:-1],
            f" {VECTOR_SIGNATURE}",
            f"sha256={VECTOR_SIGNATURE}",
        ),
        *("zz", "é" * 32, "\ud800", b"\xff\xfe", VECTOR_SIGNATURE.encode("utf-16"), 5, True, [VECTOR_SIGNATURE]),
    ],
)
@pytest.mark.parametrize("label", ["New Webhook", "Old Webhook", None, ""])
def test_a_wrong_signature_is_dead(signature, label):
    """Malformed ones too, and with a label or without: a claim that can be checked and fails is no accident."""
    headers = {"x-deel-signature": signature, "x-deel-hmac-label": label}

    assert only(VECTOR_BODY, headers=headers).why is Why.BAD_SIGNATURE


def test_a_labels_key_and_no_other_counts():
    """What the old key signed does not pass under the new one's label."""
    assert only(signed(WEBHOOK, key=b"whsec_old", label="New Webhook")).why is Why.BAD_SIGNATURE


@pytest.mark.parametrize("document", [PLAIN, CLOUD_EVENT, b"no json", [], b"\xff"])
def test_a_signature_proves_deels_own_body_only(document):
    """A wrong one is dead whatever the shape; a right one under another shape proves nothing."""
    wrong = message(document, headers={"x-deel-signature": "0" * 64, "x-deel-hmac-label": "New Webhook"})

    assert only(wrong).why is Why.BAD_SIGNATURE
    answer = only(signed(document))
    assert isinstance(answer, Dead) or (answer.signed, answer.told) == (False, None)


def test_a_type_that_only_the_routing_key_names_is_not_signed():
    """Else a genuine body of another kind could be made to tell facts."""
    untyped = signed(webhook(meta={"event_type": ""}))
    event = only(replace(untyped, routing_key="contract.created"))

    assert (event.signed, event.told) == (False, None)


def test_any_changed_byte_breaks_the_signature():
    """Each byte of the body is signed."""
    original = signed(VECTOR_BODY)
    for place in range(len(VECTOR_BODY)):
        body = bytearray(VECTOR_BODY)
        body[place] ^= 1
        assert only(replace(original, body=bytes(body))).why is Why.BAD_SIGNATURE
