"""`dead list` and `dead show`: what nobody could use, without what it says of people."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onboarding.cli.outline import MAX_LINES, outline_of, outline_of_headers
from onboarding.events import Message, Why
from onboarding.store import events
from tests.onboarding.cli.conftest import EMAIL, TOKEN, Desk
from tests.onboarding.store.rows import KEYRING

NAME = "Canary Lovelace"
BODY = {
    "type": "contract.created",
    "data": {
        "worker": {"name": NAME, "email": EMAIL, "age": 36, "remote": True, "notes": []},
        "resource": [{"id": "c-1", "token": TOKEN}],
    },
    EMAIL: "",
}


def bury(onboarding: Desk, body: bytes, *, reason: str = "wrong_shape", routing_key: str = "contract.created") -> str:
    message = Message(body, {"x-deel-hmac-label": "staging", "x-who": NAME}, routing_key)
    return onboarding.store.write(lambda db: events.bury(db, message, reason, KEYRING, "hris"))


def test_dead_letters_as_json(onboarding: Desk):
    """The array of the design; an empty one is `[]`."""
    assert onboarding.json("dead", "list") == []
    letter = bury(onboarding, b"x")
    (found,) = onboarding.json("dead", "list")
    assert found.pop("received_at").endswith("Z")
    expected = {"source": "hris", "routing_key": "contract.created", "reason": "wrong_shape", "size": 1}
    assert found == {"id": letter, **expected}


def test_dead_letters_for_people(onboarding: Desk):
    """A table; below it each reason's advice and what to type."""
    assert "No dead letter" in onboarding("dead", "list").stderr
    letter = bury(onboarding, b"x")
    bury(onboarding, b"x", reason="delivery_limit")
    result = onboarding("dead", "list")
    assert letter in result.stdout
    assert Why.WRONG_SHAPE.advice in result.stderr
    assert "Workers died on this message" in result.stderr
    assert f"onboarding dead show {letter}" in result.stderr


def test_a_dead_letter_shows_its_shape_and_no_person(onboarding: Desk):
    """Every place and its kind; values only where they are no person's."""
    letter = bury(onboarding, json.dumps(BODY).encode())
    shown = onboarding.json("dead", "show", letter)
    assert shown["headers"] == {"x-deel-hmac-label": "staging", "x-who": "a text of 15"}
    assert shown["body"] == {
        "type": "contract.created",
        "data.worker.name": "a text of 15",
        "data.worker.email": "a text of 22",
        "data.worker.age": "a number",
        "data.worker.remote": "true",
        "data.worker.notes": "empty",
        "data.resource[0].id": "c-1",
        "data.resource[0].token": f"a text of {len(TOKEN)}",
        "[masked]": "an empty text",
    }
    said = onboarding("dead", "show", letter).output
    for secret in (NAME, EMAIL, TOKEN):
        assert secret not in said
    assert "data.worker.email" in said
    assert Why.WRONG_SHAPE.advice in said


def test_a_dead_letter_that_is_not_there(onboarding: Desk):
    """Exit 3, also while there is no dead letter, and so no key, at all."""
    result = onboarding("dead", "show", "nix", "--json")
    assert (result.exit_code, result.stdout) == (3, "")


def test_a_dead_letter_whose_key_is_missing(onboarding: Desk, monkeypatch: pytest.MonkeyPatch):
    """Exit 1, naming the key."""
    letter = bury(onboarding, b"x")
    monkeypatch.setenv("ONBOARDING_VAULT_KEYS", "k2:" + "B" * 43 + "=")
    result = onboarding("dead", "show", letter)
    assert result.exit_code == 1
    assert "k1" in result.stderr


def test_a_hostile_routing_key_does_not_move_the_cursor(onboarding: Desk):
    """Terminal escapes in what others wrote are not shown."""
    letter = bury(onboarding, b"x", routing_key="a\x1b[2Jb\nc")
    for words in (("dead", "list"), ("dead", "show", letter)):
        said = onboarding(*words).stdout
        assert "\x1b" not in said
        assert "(sealed)" in said


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"<?xml version='1.0'?>" + NAME.encode(), {"": "no JSON, or nested too deep; it begins with b'<?xm'"}),
        (b"\x1f\x8b\x08\x00", {"": r"no JSON, or nested too deep; it begins with b'\x1f\x8b\x08\x00'"}),
        (b"", {"": "no JSON, or nested too deep; it begins with b''"}),
        (b"[" * 100_000, {"": "no JSON, or nested too deep; it begins with b'[[[['"}),
        (b"17", {"": "a number"}),
        (b'{"id": 17, "subject": null}', {"id": "17", "subject": "null"}),
        (json.dumps({"id": EMAIL, "subject": NAME}).encode(), {"id": "a text of 22", "subject": "a text of 15"}),
        (b'{"source": "urn:hris/1", "type": ""}', {"source": "urn:hris/1", "type": "an empty text"}),
        (json.dumps({"id": "x" * 100}).encode(), {"id": "a text of 100"}),
    ],
)
def test_outlines(body: bytes, expected: dict[str, str]):
    """Whatever came: kind before content, four characters of what is no JSON."""
    assert outline_of(body) == expected


def test_a_long_outline_is_cut():
    """Sixty places, and how many more there are."""
    outline = outline_of(json.dumps([*range(100)]).encode())
    assert len(outline) == MAX_LINES + 1
    assert outline["..."] == "40 more"


def test_cloudevents_attributes_are_shown():
    """By both prefixes."""
    headers = {"cloudEvents:type": "contract.created", "cloudEvents_id": "e-1", "cloudEvents:who": NAME}
    expected = {"cloudEvents:type": "contract.created", "cloudEvents_id": "e-1", "cloudEvents:who": "a text of 15"}
    assert outline_of_headers(headers) == expected


secrets_in_odd_places = st.recursive(
    st.sampled_from([NAME, EMAIL, TOKEN, None, True, 7]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["worker", "id", "subject", EMAIL, NAME]), inner)
    ),
    max_leaves=12,
)


@given(secrets_in_odd_places)
def test_no_outline_tells_of_a_person(document: Any):
    """Wherever a name, an address or a token stands, below whatever names of ours or others."""
    said = repr(outline_of(json.dumps({"data": document}).encode()))
    assert not any(secret in said for secret in (NAME, EMAIL, TOKEN))
