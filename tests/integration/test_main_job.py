"""The main job on RabbitMQ and PostgreSQL, with the processes that a deployment has."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from kombu import Connection

from onboarding.runs import STEPS
from tasks import topology
from tests.integration.system import System

pytestmark = [pytest.mark.rabbitmq, pytest.mark.postgres]


def test_a_webhook_becomes_a_verified_token_and_a_notification(system: System):
    """Contract created, profile, token, verified, notified: three calls, five attempts, one signed message."""
    system.all()
    system.hire("c-1")
    system.until(lambda: system.states() == {"completed": 1}, 30, "c-1 completed")
    assert [(step, outcome) for step, outcome, _ in system.timeline("c-1")] == [(step, "done") for step in STEPS]
    # one more for the very first token: Deel names the session field that it wants, and all processes remember it
    assert [call.status for call in system.deel.ledger.calls("POST /workers/session")] == [400, 201]
    system.hire("c-2")
    system.until(lambda: system.states() == {"completed": 2}, 30, "c-2 completed")
    assert system.deel.ledger.count(contract="c-2") == 3
    notification = system.sink.wait_for(1)[0]
    assert notification.verified
    assert notification.body["type"] == "onboarding.completed"
    run = system.runs()["c-1"]
    assert notification.body["data"]["run_id"] == run.id
    token = json.loads(system.cli("token", "c-1", "--because", "a test", "--json").stdout)
    assert token["token"] == system.deel.live_token("c-1")


def test_the_troubles_of_a_day(system: System):
    """Doubled, not EOR, 500 twice, superseded, cut off after the effect, rejected target: each ends as it should."""
    system.all()
    system.hire("c-plain")
    webhook = system.deel.webhook("contract.created", "c-plain")
    system.publish(webhook.body, dict(webhook.headers))
    system.hire("c-contractor", type="ongoing_time_based")
    system.deel.fails("POST /eor/worker", status=500, times=2, contract="c-500")
    system.hire("c-500")
    system.deel.has_contract("c-superseded", email="s@example.com")
    system.deel.supersedes_after_issue("c-superseded", times=1)
    superseded = system.deel.webhook("contract.created", "c-superseded")
    system.publish(superseded.body, dict(superseded.headers))
    system.deel.cuts_connection(after="POST /workers/session", times=1, contract="c-cut")
    system.hire("c-cut")
    system.until(lambda: system.states() == {"completed": 4, "failed": 1}, 60, "all ended")
    assert system.runs()["c-contractor"].reason == "not_eor"
    assert [o for s, o, _ in system.timeline("c-500") if s == "ensure_profile"] == ["retry", "retry", "done"]
    assert [o for s, o, _ in system.timeline("c-cut") if s == "issue_token"] == ["retry", "done"]
    assert system.deel.tokens_issued_for("c-cut") == 1
    assert [o for s, o, _ in system.timeline("c-superseded") if s == "verify_token"] == ["superseded", "done"]
    for contract in ("c-plain", "c-500", "c-superseded", "c-cut"):
        row = system.runs()[contract]
        shown = system.cli("token", contract, "--because", "a test").stdout.strip()
        assert shown == system.deel.live_token(contract), row
        assert len(system.deel.profiles_of(contract)) == 1
    system.until(lambda: len(system.sink.unique()) == 5, 20, "four completed and one failed are told")


def test_a_retry_waits_in_the_broker_and_not_in_a_worker(system: System):
    """Native delayed delivery: five retries of one task, and its only worker serves others meanwhile."""
    system.deel.fails("POST /eor/worker", status=503, times=5, contract="c-slow")
    system.deel.policy.retry_after_s = 1  # it wins over our own backoff
    system.all(concurrency=1)
    system.hire("c-slow")
    with Connection(system.broker_url) as connection:
        system.until(
            lambda: waiting_in(connection, "celery_delayed_0"), 30, "the broker holds the message for a second"
        )
    for number in range(5):
        system.hire(f"c-{number}")
    system.until(lambda: system.states().get("completed", 0) >= 5, 30, "the others complete")
    system.until(lambda: system.runs()["c-slow"].state == "completed", 60, "c-slow completes")
    assert [o for s, o, _ in system.timeline("c-slow") if s == "ensure_profile"] == ["retry"] * 5 + ["done"]
    began = [attempt.started_at for attempt in system.attempts("c-slow") if attempt.step == "ensure_profile"]
    assert all((later - earlier).total_seconds() >= 0.5 for earlier, later in pairwise(began))


def waiting_in(connection: Connection, queue: str) -> int:
    return connection.default_channel.queue_declare(queue, passive=True).message_count


def test_what_cannot_be_understood_stops_nothing(system: System):
    """Garbage, a megabyte of it, wrong types, no contract id, a bad signature: dead letters; the good one passes."""
    system.all()
    system.deel.has_contract("c-1", email="ada@example.com")
    webhook = system.deel.webhook("contract.created", "c-1")
    system.publish(b"\xff\xfe not json")
    system.publish(b"x" * (1 << 20), content_type="text/plain")
    system.publish(b"[1, 2, 3]")
    system.publish(json.dumps({"type": "contract.created"}).encode())
    system.publish(json.dumps({"type": "contract.created", "contract_id": {"a": 1}}).encode())
    system.publish(webhook.body, {**webhook.headers, "x-deel-signature": "f" * 64})
    system.publish(json.dumps({"type": "no.such.event", "contract_id": "c-9"}).encode(), routing_key="x")
    simulated = system.deel.webhook("contract.created", "c-1", is_simulation=True)
    system.publish(simulated.body, dict(simulated.headers))
    system.publish(webhook.body, dict(webhook.headers))
    system.until(lambda: system.states() == {"completed": 1}, 30, "c-1 completed")
    dead = json.loads(system.cli("dead", "list", "--json").stdout)
    assert len(dead) == 6
    assert {letter["reason"] for letter in dead} >= {"not_json", "too_large", "no_contract_id", "bad_signature"}
    stats = json.loads(system.cli("stats", "--json").stdout)
    assert stats["events"] == {"accepted": 1, "dead": 6, "ignored": 2}


@pytest.mark.slow
def test_a_purged_broker_loses_nothing(make_system, broker: str, postgres_url: str):
    """Fifty runs in flight, every queue emptied: the reconciler finds them all."""
    system: System = make_system(broker, postgres_url, lease_seconds="1")
    for number in range(50):
        system.hire(f"c-{number}")
    system.intake()
    system.beat()
    system.until(lambda: len(system.runs()) == 50, 30, "fifty runs")
    with Connection(broker) as connection:
        assert topology.celery_queue(topology.STEPS)(connection.default_channel).purge() == 50
    system.worker()
    system.until(lambda: system.states().get("completed", 0) >= 5, 60, "some are done")
    with Connection(broker) as connection:
        topology.celery_queue(topology.STEPS)(connection.default_channel).purge()
    system.until(lambda: system.states() == {"completed": 50}, 90, "all fifty completed")
    assert all(len(system.deel.profiles_of(f"c-{number}")) == 1 for number in range(50))
    assert len({one.body["data"]["run_id"] for one in system.sink.unique()}) == 50
