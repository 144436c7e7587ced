"""The sink: what our notifications' receiver keeps and answers."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from standardwebhooks import Webhook

from onboarding.simulator import Sink

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
BODY = {"type": "onboarding.completed", "data": {"run_id": "r-1"}}


@pytest.fixture
def sink():
    with Sink(secret=SECRET) as receiver:
        yield receiver


def post(sink, name="m-1", *, secret=SECRET, body=None, at=None, **headers):
    text = json.dumps(BODY) if body is None else body
    moment = at or datetime.now(UTC)
    signed = {
        "webhook-id": name,
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": Webhook(secret).sign(name, moment, text),
        **headers,
    }
    return httpx.post(sink.url, content=text, headers=signed, verify=False)


def test_a_signed_notification_is_received(sink):
    """204; id, body and headers kept, and found to be signed with the sink's secret."""
    assert post(sink).status_code == 204
    (received,) = sink.received
    assert (received.id, received.body, received.verified, received.status) == ("m-1", BODY, True, 204)
    assert received.headers["webhook-id"] == "m-1"
    assert datetime.now(UTC) - received.at < timedelta(seconds=5)


@pytest.mark.parametrize(
    "wrong",
    [
        {"secret": "whsec_" + "A" * 32},
        {"at": datetime(2020, 1, 1, tzinfo=UTC)},
        {"webhook-signature": "v1"},
        {"webhook-signature": "v1,%%%"},
        {"webhook-timestamp": "soon"},
        {"webhook-id": ""},
    ],
    ids=["another secret", "too old", "no comma", "no base64", "no time", "no id"],
)
def test_what_is_not_signed_so_is_not_verified(sink, wrong):
    """A wrong, old or odd signature is kept as not verified, and breaks nothing."""
    post(sink, **wrong)
    assert [received.verified for received in sink.received] == [False]


def test_it_answers_as_told(sink):
    """answers: the next ones get that status, and are received all the same."""
    sink.answers(500, times=2)
    sink.answers(410)
    assert [post(sink).status_code for _ in range(4)] == [500, 500, 410, 204]
    assert [received.status for received in sink.received] == [500, 500, 410, 204]


def test_doubles_are_one(sink):
    """unique: the first of each webhook-id."""
    for name in ("a", "b", "a"):
        post(sink, name)
    assert [received.id for received in sink.received] == ["a", "b", "a"]
    assert [received.id for received in sink.unique()] == ["a", "b"]


def test_waiting_ends_when_they_are_there(sink):
    """wait_for gives what has come once there is enough of it."""
    threading.Timer(0.05, post, (sink, "late")).start()
    post(sink, "early")
    assert [received.id for received in sink.wait_for(2, 5)] == ["early", "late"]


def test_waiting_ends_when_time_is_up(sink):
    """wait_for says how many were missing."""
    post(sink)
    with pytest.raises(TimeoutError, match="1 of 2"):
        sink.wait_for(2, 0.05)


@pytest.mark.parametrize("body", ["", "no json", "[1]"])
def test_what_is_no_json_object_is_received_too(sink, body):
    """A body that is no JSON object is kept as an empty one."""
    post(sink, body=body)
    assert [received.body for received in sink.received] == [{}]


def test_a_notification_shows_nothing_of_itself(sink):
    """Neither body nor signature is in its repr."""
    post(sink)
    assert "r-1" not in repr(sink.received)
    assert "v1," not in repr(sink.received)
