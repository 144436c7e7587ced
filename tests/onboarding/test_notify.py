"""Notifications."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from pydantic import SecretStr

from onboarding import notify
from onboarding.notify import Answer, ExchangeTarget, PublishFailed, Verdict, WebhookTarget
from onboarding.simulator import Sink
from onboarding.transport import Http

SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()
AT = datetime(2026, 1, 5, 9, 0, 0, 123000, tzinfo=UTC)
RUN = SimpleNamespace(
    id="run-1",
    organization_id="org-1",
    contract_id="c-1",
    hris_profile_id="p-1",
    token_expires_at=datetime(2026, 1, 6, 9, 0, tzinfo=UTC),
    reason="not_eor",
    step="contract_created",
    parkings=1,
)


@pytest.fixture
def sink() -> Iterator[Sink]:
    with Sink(secret=SECRET) as made:
        yield made


@pytest.fixture
def http() -> Iterator[Http]:
    made = Http()
    yield made
    made.close()


def target(http: Http, url: str, *, allow_private: bool = True) -> WebhookTarget:
    return WebhookTarget(http, SecretStr(url), SecretStr(SECRET), allow_private=allow_private)


def test_a_webhook_is_signed_and_says_what_it_promises(http: Http, sink: Sink):
    """The body of the design, a signature that the standard's own library accepts, never a token."""
    assert target(http, sink.url).send(notify.completed(RUN, AT)) == Answer(Verdict.DELIVERED, 204)
    (received,) = sink.received
    assert received.verified
    assert received.id == notify.message_id("run-1", notify.COMPLETED)
    assert received.body == {
        "type": "onboarding.completed",
        "timestamp": "2026-01-05T09:00:00.123Z",
        "data": {
            "run_id": "run-1",
            "organization_id": "org-1",
            "contract_id": "c-1",
            "hris_profile_id": "p-1",
            "token_expires_at": "2026-01-06T09:00:00Z",
        },
    }


def test_a_failure_names_reason_and_step(http: Http, sink: Sink):
    """And has an id of its own per parking."""
    target(http, sink.url).send(notify.failed(RUN, AT))
    data = sink.received[0].body["data"]
    assert (data["reason"], data["step"]) == ("not_eor", "contract_created")
    assert notify.message_id("r", notify.FAILED, 1) != notify.message_id("r", notify.FAILED, 2)
    assert notify.message_id("r", notify.COMPLETED) == notify.message_id("r", notify.COMPLETED)


def test_the_body_is_the_same_at_every_try(http: Http, sink: Sink):
    """Id and bytes; only the signature's time moves."""
    sink.answers(500, times=1)
    for _ in range(2):
        target(http, sink.url).send(notify.completed(RUN, AT))
    first, second = sink.received
    assert (first.id, first.raw) == (second.id, second.raw)
    assert first.verified
    assert second.verified


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (200, Verdict.DELIVERED),
        (204, Verdict.DELIVERED),
        (302, Verdict.LATER),
        (400, Verdict.REFUSED),
        (404, Verdict.REFUSED),
        (408, Verdict.LATER),
        (410, Verdict.REFUSED),
        (425, Verdict.LATER),
        (429, Verdict.LATER),
        (500, Verdict.LATER),
        (503, Verdict.LATER),
    ],
)
def test_what_a_status_means(http: Http, sink: Sink, status: int, verdict: Verdict):
    """2xx is delivered, 4xx never will be but for three of them, the rest may be tried again."""
    sink.answers(status, times=1)
    assert target(http, sink.url).send(notify.completed(RUN, AT)) == Answer(verdict, status)


def test_a_target_that_is_away_is_tried_later(http: Http, sink: Sink):
    """Nobody listens."""
    sink.stop()
    assert target(http, sink.url).send(notify.completed(RUN, AT)) == Answer(Verdict.LATER)


def test_a_private_target_is_refused_unless_allowed(http: Http, sink: Sink):
    """No request leaves the process."""
    assert target(http, sink.url, allow_private=False).send(notify.completed(RUN, AT)).verdict is Verdict.REFUSED
    assert sink.received == []


def test_a_target_is_named_without_its_secrets(http: Http):
    """Chat URLs carry a secret in their path; the name in the store and in logs must not."""
    made = target(http, "https://hooks.example.com/services/T0/secret-path?token=abc")
    assert made.name.startswith("hooks.example.com ")
    assert "secret" not in made.name
    assert made.name != target(http, "https://hooks.example.com/other").name


def test_the_exchange_is_delivered_when_the_broker_confirms():
    """Otherwise later."""

    def fails(_notification):
        raise PublishFailed("gone")

    sent = []
    assert ExchangeTarget(sent.append).send(notify.completed(RUN, AT)).verdict is Verdict.DELIVERED
    assert json.loads(sent[0].body())["type"] == "onboarding.completed"
    assert ExchangeTarget(fails).send(notify.completed(RUN, AT)).verdict is Verdict.LATER
