"""Webhook subscriptions: as Deel's file documents them, and what Deel does with one that nobody answers."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

from onboarding.simulator import Simulator, Webhook
from onboarding.simulator.webhooks import signature
from tests.openapi import validate_request, validate_response

WANTED = {
    "name": "onboarding",
    "description": None,
    "status": "enabled",
    "url": "https://hooks.example.com/webhooks/deel",
    "signing_key": "key-1",
    "api_version": "v2",
    "events": ["contract.created"],
}
Call = Callable[..., httpx.Response]


@pytest.fixture
def call(ask: Call) -> Call:
    """Make a call, and hold request and answer against the file; the answer."""

    def make(what: str, template: str, status: int, body: object = None) -> httpx.Response:
        method, _ = what.split(" ")
        if body is not None:
            validate_request(method, template, body)
        answer = ask(what, json=body) if body is not None else ask(what)
        assert answer.status_code == status, answer.text
        validate_response(method, template, status, answer.json())
        return answer

    return make


def test_a_subscription_lives_as_documented(call: Call, deel: Simulator):
    """Made, listed, looked at, changed, deleted; the body is not wrapped, and the key is shown in the clear."""
    made = call("POST /webhooks", "/webhooks", 201, WANTED).json()["data"]
    assert (made["signing_key"], made["status"]) == ("key-1", "enabled")
    path = f"/webhooks/{made['id']}"
    assert call(f"GET {path}", "/webhooks/{id}", 200).json()["data"] == made
    changed = {**WANTED, "status": "disabled"}
    assert call(f"PATCH {path}", "/webhooks/{id}", 200, changed).json()["data"]["status"] == "disabled"
    assert [each["id"] for each in call("GET /webhooks", "/webhooks", 200).json()["data"]] == [made["id"]]
    assert call(f"DELETE {path}", "/webhooks/{id}", 200).json() == {"data": {"deleted": True}}
    call(f"DELETE {path}", "/webhooks/{id}", 404)
    names = [each["name"] for each in call("GET /webhooks/events/types", "/webhooks/events/types", 200).json()["data"]]
    assert "contract.created" in names


def test_what_deel_would_refuse_is_refused(ask: Call, deel: Simulator):
    """A field that is missing, an event that there is not, plain http; and another organisation's is not there."""
    for wrong in ({"events": ["contract.born"]}, {"events": []}, {"url": "http://a.example"}, {"status": "on"}):
        assert ask("POST /webhooks", json={**WANTED, **wrong}).status_code == 400
    assert ask("POST /webhooks", json={"name": "x"}).status_code == 400
    made = ask("POST /webhooks", json=WANTED).json()["data"]["id"]
    other = deel.add_token(["webhooks:read", "webhooks:write"], "another")
    assert ask("GET /webhooks", token=other).json()["data"] == []
    assert ask(f"DELETE /webhooks/{made}", token=other).status_code == 404


def test_the_scope_may_be_needed_or_not(ask: Call, deel: Simulator):
    """OpenAPI and guide disagree: a switch."""
    token = deel.add_token(["contracts:read"])
    assert ask("GET /webhooks", token=token).status_code == 403
    deel.policy.enforce_webhook_scopes = False
    assert ask("GET /webhooks", token=token).status_code == 200


def test_a_delivery_is_signed_with_the_subscriptions_key(ask: Call, deel: Simulator):
    """To each that wants it, under its own label."""
    ask("POST /webhooks", json=WANTED)
    ask("POST /webhooks", json={**WANTED, "name": "other", "events": ["contract.terminated"]})
    deel.has_contract("c-1")
    deel.emits("contract.created", "c-1")
    taken: list[tuple[str, Webhook]] = []
    assert deel.delivers(lambda url, webhook: not taken.append((url, webhook))) == 1
    ((url, webhook),) = taken
    assert url == WANTED["url"]
    assert webhook.headers["x-deel-hmac-label"] == "onboarding"
    assert webhook.headers["x-deel-signature"] == signature("key-1", webhook.body)
    assert deel.delivers(lambda *_: True) == 0


def test_ten_failures_in_a_row_disable_it(ask: Call, deel: Simulator):
    """Along the ladder of a single delivery; nothing is sent later for the time in which it was disabled."""
    made = ask("POST /webhooks", json=WANTED).json()["data"]["id"]
    deel.has_contract("c-1")
    deel.emits("contract.created", "c-1")
    tries = 0

    def fails(_url: str, _webhook: Webhook) -> bool:
        nonlocal tries
        tries += 1
        return False

    deel.delivers(fails)
    for wait_s in (60, 300, 900, 1800, 3600, 7200, 14_400, 28_800, 57_600):
        assert deel.subscriptions[0].status == "enabled"
        deel.clock.advance(wait_s - 1)
        deel.delivers(fails)
        deel.clock.advance(1)
        deel.delivers(fails)
    assert (tries, deel.subscriptions[0].status) == (10, "disabled")
    deel.emits("contract.created", "c-1")
    ask(f"PATCH /webhooks/{made}", json={**WANTED, "status": "enabled"})
    assert (deel.delivers(fails), tries, deel.subscriptions[0].failures) == (0, 10, 0)


def test_one_that_is_taken_begins_the_count_anew(ask: Call, deel: Simulator):
    """Ten in a row, not ten ever."""
    ask("POST /webhooks", json=WANTED)
    deel.has_contract("c-1")
    answers = iter([*[False] * 9, True, *[False] * 9])
    for _ in range(19):
        deel.emits("contract.created", "c-1")
    deel.delivers(lambda *_: next(answers))
    assert (deel.subscriptions[0].failures, deel.subscriptions[0].status) == (9, "enabled")
