"""The Celery application: what guards against a loss is in force, and what is wrong is said before anything starts."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery, beat
from celery.backends.base import DisabledBackend
from celery.exceptions import QueueNotFound
from kombu.utils.imports import symbol_by_name
from pydantic import SecretStr

from onboarding.budget import fingerprint_of
from onboarding.runs import STEPS
from onboarding.settings import load
from onboarding.store import org_tokens
from onboarding.store.engine import Store
from onboarding.transport import Http
from tasks import application, chain, startup, topology, upkeep
from tasks.beat import Scheduler
from tasks.intake import read_death
from tasks.producer import Producer
from tasks.request import Request
from tasks.worker import SOFT_SHUTDOWN_S
from tests.onboarding.store.rows import KEYRING

ROOT = Path(__file__).parents[2]
CELERY = str(Path(sys.executable).with_name("celery"))
PASSWORD, OTHER = "canary-one-of-a-broker", "canary-two-of-a-broker"
ORCHESTRATORS_GRACE_S = 45
NOWHERE = "amqp://u:p@127.0.0.1:1/v"
UPKEEP_TASKS = {f"onboarding.{name}" for name in ("reconcile", "tell_failures", "keep_alive", "retire")}


@pytest.fixture(scope="module")
def app() -> Iterator[Celery]:
    """Made for a broker, as in production."""
    broker = f"amqp://u:{PASSWORD}@127.0.0.1:5672/v;amqp://u:{OTHER}@127.0.0.2:5672/v"
    made = application.make_app(load({"ONBOARDING_BROKER_URL": broker}))
    yield made
    made.close()
    application.app.set_current()


@pytest.fixture
def tasks() -> dict[str, Any]:
    """Those of ours, as a worker registers them."""
    assert chain.TASKS
    assert upkeep.reconcile
    return {name: task for name, task in application.app.tasks.items() if not name.startswith("celery.")}


def test_the_tasks_are_the_five_steps_and_upkeep(tasks: dict[str, Any]):
    """Others rely on the names: Flower's readers, dashboards, messages that wait while a release is rolled out."""
    assert set(tasks) == {f"onboarding.{step}" for step in STEPS} | UPKEEP_TASKS
    assert {f"onboarding.{step}": task for step, task in chain.TASKS.items()}.items() <= tasks.items()


def test_a_task_of_a_killed_process_comes_back(tasks: dict[str, Any]):
    """Acknowledged late, rejected when the worker is lost, tried as often as the row says: on each task itself."""
    for task in tasks.values():
        assert (task.acks_late, task.reject_on_worker_lost, task.max_retries) == (True, True, None), task.name
        assert task.acks_on_failure_or_timeout, "a bug must not become a hot loop"
        assert (task.soft_time_limit, task.time_limit) == (45, 60)
        assert symbol_by_name(task.Request) is Request


def test_a_worker_holds_what_it_works_on_and_no_more(app: Celery):
    """One message per process; and a lost connection ends its work, else two copies of a step run."""
    assert app.conf.worker_prefetch_multiplier == 1
    assert app.conf.worker_cancel_long_running_tasks_on_connection_loss
    assert app.conf.broker_connection_max_retries is None
    assert app.conf.broker_connection_retry_on_startup


def test_publishing_is_confirmed_and_bounded(app: Celery):
    """A publish that the broker did not take is an error within seconds; tests/integration measures it."""
    assert app.amqp.producer_pool.Producer is Producer
    for connection in (app.connection_for_write(), app.connection_for_read()):
        with connection:
            assert connection.transport_options["confirm_publish"]
            assert connection.transport_options["read_timeout"] == connection.transport_options["write_timeout"] == 8
            assert connection.connect_timeout == 3


@pytest.mark.parametrize(
    ("name", "end"),
    [
        ("onboarding.steps", {"x-dead-letter-exchange": "onboarding.dead"}),
        ("onboarding.upkeep", {"x-max-length": 100}),  # beat's turns expire: while no worker runs, thousands a day
    ],
)
def test_the_queues_are_quorum_queues_on_topic_exchanges(app: Celery, name: str, end: dict[str, Any]):
    """They survive a broker and count deliveries; native delayed delivery needs the topic exchange."""
    queue = app.amqp.queues[name]
    assert queue.queue_arguments == {"x-queue-type": "quorum", "x-delivery-limit": 20, **end}
    assert (queue.durable, queue.exclusive, queue.auto_delete) == (True, False, False)
    assert (queue.exchange.name, queue.exchange.type, queue.exchange.durable) == (name, "topic", True)
    assert queue.routing_key == name


def test_no_event_is_dropped_for_being_delivered_too_often():
    """RabbitMQ 4 drops after 20 where nothing else is said: ours become dead letters, which somebody sees."""
    assert topology.INTAKE_QUEUE.queue_arguments == {
        "x-queue-type": "quorum",
        "x-delivery-limit": 100,
        "x-dead-letter-exchange": "onboarding.dead",
    }
    assert read_death([{"reason": "delivery_limit", "queue": topology.INTAKE}]) == ("delivery_limit", topology.INTAKE)


def test_workers_of_one_name_do_not_lock_each_other_out(app: Celery):
    """Control queues that are not exclusive, and durable, as RabbitMQ 4.3 wants every other queue."""
    assert (app.conf.control_queue_exclusive, app.conf.control_queue_durable) == (False, True)


def test_there_are_two_queues_and_a_typo_is_an_error(app: Celery):
    """A queue that nobody consumes is never made."""
    assert set(app.amqp.queues) == {"onboarding.steps", "onboarding.upkeep"}
    with pytest.raises(QueueNotFound):
        app.amqp.router.route({"queue": "onboarding.step"}, "onboarding.notify")
    assert app.amqp.router.route({}, "onboarding.notify")["queue"].name == "onboarding.steps"


def test_nothing_keeps_results(app: Celery, tasks: dict[str, Any]):
    """The store knows; a result backend would only be one more place to leak from."""
    assert app.conf.result_backend is None
    assert isinstance(app.backend, DisabledBackend)
    assert all(task.ignore_result for task in tasks.values())


def test_only_json_is_read_and_written(app: Celery):
    """No pickle from anybody."""
    conf = app.conf
    assert set(conf.accept_content) == {"json"}
    assert {conf.task_serializer, conf.event_serializer, conf.result_serializer} == {"json"}
    assert conf.result_accept_content is None, "None is as accept_content"


def test_beat_sends_upkeep_where_it_is_consumed_and_lets_it_expire(app: Celery, tasks: dict[str, Any]):
    """To its own queue; what a stopped worker did not do in a minute is not done in a burst later."""
    entries = app.conf.beat_schedule.values()
    assert {entry["task"] for entry in entries} == UPKEEP_TASKS <= set(tasks)
    for entry in entries:
        assert entry["options"] == {"queue": "onboarding.upkeep", "expires": 60.0}
        assert entry["schedule"] > 0
    assert not issubclass(Scheduler, beat.PersistentScheduler), "no schedule file: it runs in a read-only container"


def test_stopping_is_slower_than_a_call_and_quicker_than_the_orchestrator():
    """A step in hand is finished; nothing is killed half way."""
    http = Http()
    http.close()
    assert http.total_s < SOFT_SHUTDOWN_S < ORCHESTRATORS_GRACE_S


def test_celery_leaves_the_logs_to_us(app: Celery):
    """Its own set-up would print past the mask."""
    assert not app.conf.worker_hijack_root_logger
    assert not app.conf.worker_redirect_stdouts


def run(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """`celery -A tasks ...` with these settings and no others."""
    ours = {f"ONBOARDING_{name.upper()}": value for name, value in settings.items()}
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ONBOARDING_")}
    command = [CELERY, "-A", "tasks", *arguments]
    environment = {**kept, "PYTHONWARNINGS": "ignore", **ours}  # Celery's own, where the tests run as root
    return subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=30)


def test_a_report_of_the_settings_shows_no_password():
    """`celery -A tasks report` is what one pastes into an issue; here with a cluster of two nodes."""
    nodes = [f"amqp://u:{password}@127.0.0.1:1/v" for password in (PASSWORD, OTHER)]
    report = run("report", broker_url=";".join(nodes), deel_token="canary-of-deel")
    assert report.returncode == 0
    assert "amqp://u:********@127.0.0.1" in report.stdout
    assert "canary" not in report.stdout + report.stderr


@pytest.mark.parametrize(
    ("process", "settings", "variable"),
    [
        ("worker", {"broker_url": "redis://:canary-of-redis@127.0.0.1/0"}, "BROKER_URL"),
        (
            "beat",
            {"broker_url": NOWHERE, "deel_token": "canary", "database_url": "postgresql://u:canary@127.0.0.1:1/x"},
            "VAULT_KEYS",
        ),
        ("worker", {"broker_url": NOWHERE, "deel_token": "canary", "failpoints": "foo=kill"}, "FAILPOINTS"),
        ("flower", {"deel_token": "canary"}, "BROKER_URL"),
    ],
)
def test_a_wrong_setting_ends_a_process_with_a_line_that_names_it(
    process: str, settings: dict[str, str], variable: str, tmp_path: Path
):
    """Before it reaches the broker; without a traceback, and without the value. None runs on a broker of its own."""
    ended = run(process, **{"database_url": f"sqlite:///{tmp_path}/onboarding.db", **settings})
    assert ended.returncode == 2
    named = [line for line in ended.stderr.splitlines() if line.startswith("ONBOARDING_")]
    assert [line.partition(":")[0] for line in named] == [f"ONBOARDING_{variable}"]
    assert "Traceback" not in ended.stderr
    assert "canary" not in ended.stdout + ended.stderr


def test_a_worker_needs_a_token_of_the_settings_or_of_an_organisation(sqlite_url: str):
    """Without both it ends with a line that names them."""
    ended = run("worker", broker_url=NOWHERE, database_url=sqlite_url)
    assert ended.returncode == 2
    assert "ONBOARDING_DEEL_TOKEN" in ended.stderr
    assert "onboarding org add" in ended.stderr
    store, token = Store(sqlite_url), SecretStr("own-token")
    store.write(lambda db: org_tokens.keep(db, KEYRING, "org-1", token, fingerprint_of(token)))
    store.close()
    startup.require_deel_token(load({"ONBOARDING_DATABASE_URL": sqlite_url}))


def test_help_needs_no_broker():
    """Who asks how to start a worker has not started one."""
    assert run("worker", "--help").returncode == 0
