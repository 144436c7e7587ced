"""The main job on RabbitMQ and PostgreSQL, with the processes that a deployment has."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import pairwise
from typing import Any

import pytest
from kombu import Connection

from onboarding.runs import STEPS
from onboarding.settings import load
from onboarding.store import runs, tokens
from tests.integration.system import System
from tests.servers import empty_broker, empty_store

pytestmark = [pytest.mark.rabbitmq, pytest.mark.postgres]


@pytest.fixture(scope="module")
def running(vhost: str, postgres_database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """All processes, for the tests that leave them as they are; each has contracts of its own."""
    empty_broker(vhost)
    empty_store(postgres_database)
    settings = {"deel_rates": "5"}  # mistyped
    with closing(System(tmp_path_factory.mktemp("main"), vhost, postgres_database, **settings)) as system:
        system.environment["PYTHONWARNINGS"] = "ignore"  # Celery's own, where the tests run as root
        system.all(concurrency=1)
        yield system


def ends(system: System, **states: str) -> None:
    """Each of these contracts gets there."""
    contracts = {name.replace("_", "-"): state for name, state in states.items()}
    system.until(lambda: contracts.items() <= states_of(system).items(), 60, f"{contracts}")


def states_of(system: System) -> dict[str, str]:
    return {contract: row.state for contract, row in system.runs().items()}


def told(system: System, contract: str) -> list[str]:
    return [one.body["type"] for one in system.sink.unique() if one.body["data"]["contract_id"] == contract]


def test_a_webhook_becomes_a_verified_token_and_a_notification(running: System):
    """Contract created, profile, token, verified, notified: three calls, five attempts, one signed message."""
    running.hire("c-1")
    ends(running, c_1="completed")
    assert [(step, outcome) for step, outcome, _ in running.timeline("c-1")] == [(step, "done") for step in STEPS]
    # one more for the very first token: Deel names the session field that it wants, and all processes remember it
    assert [call.status for call in running.deel.ledger.calls("POST /workers/session", "c-1")] == [400, 201]
    running.hire("c-2")
    ends(running, c_2="completed")
    assert running.deel.ledger.count(contract="c-2") == 3
    notification = running.sink.wait_for(1)[0]
    assert notification.verified
    assert notification.body["type"] == "onboarding.completed"
    run = running.runs()["c-1"]
    assert notification.body["data"]["run_id"] == run.id
    token = json.loads(running.cli("token", "c-1", "--because", "a test", "--json").stdout)
    assert token["token"] == running.deel.live_token("c-1")


def test_the_troubles_of_a_day(running: System):
    """Doubled, not EOR, 500 twice, superseded, cut off after the effect: each ends as it should."""
    deel = running.deel
    running.hire("c-plain")
    webhook = deel.webhook("contract.created", "c-plain")
    running.publish(webhook.body, dict(webhook.headers))
    running.hire("c-contractor", type="ongoing_time_based")
    deel.fails("POST /eor/worker", status=500, times=2, contract="c-500")
    running.hire("c-500")
    deel.has_contract("c-superseded", email="s@example.com")
    deel.supersedes_after_issue("c-superseded", times=1)
    superseded = deel.webhook("contract.created", "c-superseded")
    running.publish(superseded.body, dict(superseded.headers))
    deel.cuts_connection(after="POST /workers/session", times=1, contract="c-cut")
    running.hire("c-cut")
    completed = dict.fromkeys(("c_plain", "c_500", "c_superseded", "c_cut"), "completed")
    ends(running, c_contractor="failed", **completed)
    assert running.runs()["c-contractor"].reason == "not_eor"
    assert [o for s, o, _ in running.timeline("c-500") if s == "ensure_profile"] == ["retry", "retry", "done"]
    assert [o for s, o, _ in running.timeline("c-cut") if s == "issue_token"] == ["retry", "done"]
    assert deel.tokens_issued_for("c-cut") == 1
    assert [o for s, o, _ in running.timeline("c-superseded") if s == "verify_token"] == ["superseded", "done"]
    keyring = load(running.environment).keyring()
    for contract in ("c-plain", "c-500", "c-superseded", "c-cut"):
        profile = running.runs()[contract].hris_profile_id
        kept = running.store.read(lambda db, of=profile: tokens.live(db, keyring, of))
        assert kept is not None
        assert kept.token.get_secret_value() == deel.live_token(contract)
        assert len(deel.profiles_of(contract)) == 1
        assert told(running, contract) == ["onboarding.completed"]
    running.until(lambda: told(running, "c-contractor") == ["onboarding.failed"], 20, "the parked one is told, too")


def test_what_cannot_be_understood_stops_nothing(running: System):
    """Garbage, a megabyte of it, wrong types, no contract id, a bad signature: dead letters; the good one passes."""
    before = running.store.read(runs.stats)["events"]
    running.deel.has_contract("c-good", email="ada@example.com")
    webhook = running.deel.webhook("contract.created", "c-good")
    running.publish(b"\xff\xfe not json")
    running.publish(b"x" * (1 << 20), content_type="text/plain")
    running.publish(b"[1, 2, 3]")
    running.publish(json.dumps({"type": "contract.created"}).encode())
    running.publish(json.dumps({"type": "contract.created", "contract_id": {"a": 1}}).encode())
    running.publish(webhook.body, {**webhook.headers, "x-deel-signature": "f" * 64})
    running.publish(json.dumps({"type": "no.such.event", "contract_id": "c-9"}).encode(), routing_key="x")
    simulated = running.deel.webhook("contract.created", "c-good", is_simulation=True)
    running.publish(simulated.body, dict(simulated.headers))
    running.publish(webhook.body, dict(webhook.headers))
    ends(running, c_good="completed")
    dead = json.loads(running.cli("dead", "list", "--json").stdout)
    assert len(dead) == 6
    assert {letter["reason"] for letter in dead} >= {"not_json", "too_large", "no_contract_id", "bad_signature"}
    after = running.store.read(runs.stats)["events"]
    assert {word: count - before.get(word, 0) for word, count in after.items() if count != before.get(word)} == {
        "accepted": 1,
        "dead": 6,
        "ignored": 2,
    }


def test_json_logs_are_json_from_the_first_line(running: System):
    """No banner; a mistyped setting is told in it; a step's lines bear its ids; of upkeep's comings and goings
    nothing."""
    running.hire("c-logged")
    ends(running, c_logged="completed")
    running.until(lambda: len(turns_of(running)) >= 2, 30, "upkeep was done")
    for name in ("worker", "beat"):
        lines = [json.loads(line) for line in running.log(name).splitlines()]
        assert [line["hint"] for line in lines if line["event"] == "setting_unknown"] == [
            "ONBOARDING_DEEL_RATES: no such setting; do you mean ONBOARDING_DEEL_RATE?"
        ]
        assert not [line for line in lines if "reconcile" in line["event"]]
        assert not [line for line in lines if line["logger"].startswith("alembic")]
    run_id = running.runs()["c-logged"].id
    steps = [entry for entry in running.entries("worker") if entry.get("run_id") == run_id]
    assert [entry["step"] for entry in steps if entry["event"] == "step_done"] == list(STEPS)
    assert all(entry["contract_id"] == "c-logged" for entry in steps)
    assert len({entry["task_id"] for entry in steps}) == len(STEPS)


def turns_of(system: System) -> Sequence[Any]:
    with system.store.engine.connect() as db:
        return db.exec_driver_sql("SELECT work FROM turns").all()


def test_a_retry_waits_in_the_broker_and_not_in_a_worker(running: System):
    """Native delayed delivery: three retries of one task, and its only worker serves others meanwhile."""
    running.deel.fails("POST /eor/worker", status=503, times=3, contract="c-slow")
    running.hire("c-slow")
    with Connection(running.broker_url) as connection:
        running.until(
            lambda: waiting_in(connection, "celery_delayed_0"), 30, "the broker holds the message for a second"
        )
    for number in range(5):
        running.hire(f"c-quick-{number}")
    ends(running, **{f"c_quick_{number}": "completed" for number in range(5)})
    ends(running, c_slow="completed")
    assert [o for s, o, _ in running.timeline("c-slow") if s == "ensure_profile"] == ["retry"] * 3 + ["done"]
    began = [attempt.started_at for attempt in running.attempts("c-slow") if attempt.step == "ensure_profile"]
    assert all((later - earlier).total_seconds() >= 0.5 for earlier, later in pairwise(began))
    quick = [running.attempts(f"c-quick-{number}")[-1].ended_at for number in range(5)]
    assert max(quick) < running.attempts("c-slow")[-1].ended_at


def waiting_in(connection: Connection, queue: str) -> int:
    return connection.default_channel.queue_declare(queue, passive=True).message_count
