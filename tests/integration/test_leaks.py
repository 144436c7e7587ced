"""Marked tokens, keys, addresses and names through the whole chain, failures included: none may come out anywhere.

One day of troubles on the real processes, the worker with JSON logs and the others with console logs; then each test
searches one place.
"""

from __future__ import annotations

import base64
import json
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import pytest

from onboarding.runs import STEPS
from onboarding.settings import load
from tasks.application import make_app
from tests.integration.canaries import Canary, found
from tests.integration.listening import (
    FakeSentry,
    Flower,
    Wiretap,
    control_evidence,
    free_port,
    store_evidence,
)
from tests.integration.system import BIN, System
from tests.integration.troubles import REASONS, Troubles, credentials, quoting_deel

pytestmark = [pytest.mark.rabbitmq, pytest.mark.postgres, pytest.mark.slow]

Evidence = dict[str, bytes]
LISTINGS = [("runs", "--json"), ("dead", "list", "--json"), ("show", "c-defect", "--json")]
TASKS = {f"onboarding.{name}" for name in (*STEPS, "reconcile", "tell_failures", "keep_alive", "retire")}


@dataclass(frozen=True)
class Day:
    """What was left of it: all that could be seen from outside, and what may not be in there."""

    canaries: list[Canary]
    logs: Evidence
    sentry: Evidence
    reports: list[dict[str, Any]]
    broker: Evidence
    store: Evidence
    flower: Evidence
    control: Evidence
    listings: Evidence
    rows: list[Any]


@pytest.fixture(scope="module")
def day(vhost: str, postgres_database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Day]:
    """Live through it."""
    with ExitStack() as stack:
        broker_url, store_url = stack.enter_context(credentials(vhost, postgres_database))
        stack.enter_context(quoting_deel())
        sentry = stack.enter_context(FakeSentry())
        wiretap = stack.enter_context(Wiretap(vhost))
        folder = tmp_path_factory.mktemp("leaks")
        dsn = sentry.dsn(secrets.token_hex(16))
        system = System(folder, broker_url, store_url, sentry_dsn=dsn, lease_seconds="3", crash_limit="1")
        stack.callback(system.close)
        troubles = Troubles(system)
        flower = start_flower(system)
        start(system)
        troubles.endure()
        troubles.lose_the_organisation()
        system.until(troubles.told, 30, "every failure is told")
        system.until(lambda: troubles.reported(sentry.events()), 20, "every parked run is reported")
        seen = flower.evidence(nodes_of(flower)), control_evidence(make_app(load(system.environment)))
        assert system.stop("worker", "beat", "intake") == [0, 0, 0]
        yield Day(
            canaries=troubles.canaries(),
            logs={path.name: path.read_bytes() for path in folder.glob("*.log")},
            sentry=sentry.evidence(),
            reports=sentry.events(),
            broker=wiretap.evidence(),
            store=store_evidence(system.store.engine),
            flower=seen[0],
            control=seen[1],
            listings={" ".join(command): system.cli(*command).stdout.encode() for command in LISTINGS},
            rows=list(system.runs().values()),
        )


def start(system: System) -> None:
    system.worker(concurrency=1)
    system.environment["ONBOARDING_LOG_FORMAT"] = "console"
    system.intake()
    system.beat()


def start_flower(system: System) -> Flower:
    port = free_port()
    command = (str(BIN / "celery"), "-A", "tasks", "flower", "--address=127.0.0.1", f"--port={port}")
    system.start("flower", *command, FLOWER_UNAUTHENTICATED_API="true")
    flower = Flower(f"http://127.0.0.1:{port}")
    system.until(flower.answers, 30, "Flower answers")
    return flower


def nodes_of(flower: Flower) -> list[str]:
    return list(flower.json("/api/workers?refresh=1"))


def no_canary(day: Day, evidence: Evidence, *, planted: bool = True) -> None:
    assert sum(map(len, evidence.values())) > 1000, "there was nothing to search"
    assert found([canary for canary in day.canaries if planted or not canary.planted], evidence) == []


def test_logs_tell_of_every_trouble_and_of_no_secret(day: Day):
    """JSON and console lines, tracebacks, Celery's own lines, warnings: all that six processes wrote."""
    for word in (b"step_defect", b"carry_defect", b"run_parked", b"Careless", b"[masked]", b"organisation_paused"):
        assert word in day.logs["worker.log"], word
    assert b"intake_defect" in day.logs["intake.log"]
    no_canary(day, day.logs)


def test_sentry_gets_one_report_per_parked_run_and_no_secret(day: Day):
    """Grouped by reason and step, the run's id as a tag; a paused organisation and defects are reported too."""
    parked = {row.id: ["parked", row.reason, row.step] for row in day.rows if row.state == "failed"}
    told = [report for report in day.reports if report.get("fingerprint", ["none"])[0] == "parked"]
    assert {report["tags"]["run_id"]: report["fingerprint"] for report in told} == parked
    assert len(told) == len(parked)
    assert {reason for _, reason, _ in parked.values()} == REASONS
    kinds = [report.get("fingerprint", ["none"])[0] for report in day.reports]
    assert kinds.count("paused") == 1
    assert kinds.count("defect") >= 3
    no_canary(day, day.sentry)


def test_messages_carry_ids_and_no_secret(day: Day):
    """Tasks, retries, events, control and its replies, dead letters, notifications: headers, properties, bodies."""
    seen = " ".join(day.broker)
    for exchange in ("onboarding.steps", "onboarding.upkeep", "onboarding.events", "celeryev", "celery_delayed_27"):
        assert exchange in seen, f"nothing was seen on {exchange}"
    no_canary(day, day.broker, planted=False)


def test_the_store_has_no_secret_in_any_column(day: Day):
    """Every column of every table; of sealed ones the bytes."""
    for column in ("runs.emails_sealed", "worker_tokens.sealed", "dead_letters.sealed", "data_keys.wrapped"):
        assert day.store[column]
    no_canary(day, day.store)


def test_flower_shows_readable_tasks_with_ids_and_no_secret(day: Day):
    """Its API, its pages of tasks and workers; `broker_url` shows without its password."""
    tasks = json.loads(day.flower["/api/tasks?limit=10000"]).values()
    assert {task["name"] for task in tasks} - {None} >= {f"onboarding.{step}" for step in STEPS}
    assert {task["name"] for task in tasks} - {None} <= TASKS
    ids = {row.id for row in day.rows} | {row.contract_id for row in day.rows}
    for task in tasks:
        assert set(re.findall(r"[\w-]+", task["args"] or "")) <= ids
        assert task["kwargs"] in (None, "{}")
    assert any(task["retries"] for task in tasks)
    no_canary(day, day.flower)


def test_a_worker_answers_celerys_questions_without_a_secret(day: Day):
    """`inspect conf`, `stats`, `report`, `active_queues`, `registered`."""
    for question, answer in day.control.items():
        assert b"onboarding" in answer, f"no worker answered to {question}"
    no_canary(day, day.control)


def test_listings_show_ids_and_no_secret(day: Day):
    """`onboarding runs`, `show` and `dead list`: what an engineer pastes into a ticket."""
    assert all(day.listings.values())
    no_canary(day, day.listings)


# The searches themselves: each is shown a leak.

SECRET = "canary-4f1c0d9e8b7a6f5e4d3c2b1a-of/a+test=="


@pytest.mark.parametrize(
    "written",
    [
        lambda s: s,
        lambda s: json.dumps({"token": s}),
        lambda s: repr({"token": (s, b"x")}),
        str.upper,
        lambda s: f"a log line, cut in the middle of it {s[:30]}",
        lambda s: "https%3A%2F%2Fexample.com%2F" + quote(s, safe=""),
        lambda s: s.encode().hex(),
        lambda s: base64.b64encode(s.encode()).decode(),
        lambda s: base64.b64encode(b"x" + s.encode() + b"y").decode(),
        lambda s: base64.urlsafe_b64encode(b"xy" + s.encode()).decode(),
    ],
)
def test_the_search_finds_a_secret_in_each_form(written: Callable[[str], str]):
    """Whole or cut, quoted, in hex, or in base64 at any alignment."""
    canary = Canary.of("a token", SECRET + SECRET)
    assert found([canary], {"a place": written(SECRET + SECRET).encode()}) == ["a token in a place"]
    assert found([canary], {"a place": written("nothing of the kind, but as long as that" * 2).encode()}) == []
