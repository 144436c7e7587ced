"""Broker or store away, at the start and in mid-flight: waited for, said once, nothing lost, no stack trace."""

from __future__ import annotations

import os
import time

import pytest
from kombu import Connection

from tasks import topology
from tests.integration.proxy import Proxy, proxied, proxy_to
from tests.integration.system import BIN, System

pytestmark = [pytest.mark.rabbitmq, pytest.mark.postgres]
HEARTBEATS_S = 22.0  # the broker gives up a client after two of ten seconds, and so does a client
AWAY_S = 15.0


def through(system: System, variable: str, proxy: Proxy) -> None:
    name = f"ONBOARDING_{variable}"
    system.environment[name] = proxied(system.environment[name], proxy)


@pytest.mark.slow
def test_a_store_that_is_away_is_waited_for(system: System, postgres_url: str):
    """At the start and, for longer than a connection lives without heartbeats, in mid-flight."""
    with proxy_to(postgres_url, down=True) as proxy:
        through(system, "DATABASE_URL", proxy)
        system.hire("c-1")
        system.intake()
        system.beat()
        system.start("worker", str(BIN / "celery"), "-A", "tasks", "worker", "-c", "2", "-n", "w@%h", "-l", "INFO")
        system.until(lambda: system.said("intake", "store_unavailable"), 30, "intake says that the store is away")
        proxy.restore()
        system.until(lambda: system.states() == {"completed": 1}, 60, "c-1 completed")
        proxy.cut()
        for number in range(2, 5):
            system.hire(f"c-{number}")
        system.until(lambda: system.said("intake", "store_unavailable") == 2, 30, "said again, once")
        time.sleep(HEARTBEATS_S)
        assert all(process.poll() is None for process in system.processes.values())
        proxy.restore()
        system.until(lambda: system.states() == {"completed": 4}, 60, "all completed")
        assert system.said("intake", "store_unavailable") == 2
        assert system.said("intake", "broker_unavailable") == 0
        assert "Traceback" not in system.logs()


@pytest.mark.slow
def test_a_broker_that_is_away_is_waited_for(system: System, broker: str):
    """At the start and in mid-flight, for three of beat's rounds: the rows know, and the reconciler nudges."""
    with proxy_to(broker, down=True) as proxy:
        through(system, "BROKER_URL", proxy)
        system.environment["ONBOARDING_LEASE_SECONDS"] = "3"
        system.hire("c-1")
        system.intake()
        system.beat()
        for name in ("intake", "beat"):
            system.until(lambda name=name: system.said(name, "broker_unavailable"), 30, f"{name} says it")
        proxy.restore()
        system.worker()
        system.until(lambda: system.states() == {"completed": 1}, 60, "c-1 completed")
        system.deel.is_slow("POST /workers/session", 1.5, contract="c-2")
        system.hire("c-2")
        system.until(lambda: system.deel.ledger.count("POST /eor/worker", contract="c-2"), 30, "c-2 is under way")
        proxy.cut()
        time.sleep(AWAY_S)
        proxy.restore()
        system.until(lambda: system.states() == {"completed": 2}, 90, "c-2 completed")
        assert system.deel.tokens_issued_for("c-2") == 1
        system.until(lambda: system.said("beat", "back_again") == 2, 30, "beat is back, too")
        assert system.said("intake", "broker_unavailable") == system.said("beat", "broker_unavailable") == 2
        assert system.said("intake", "back_again") == 2
        assert system.said("worker", "broker_unavailable") == 1, system.log("worker")
        assert "Traceback" not in system.logs()


@pytest.mark.slow
def test_a_lost_host_is_noticed_within_half_a_minute(system: System, broker: str):
    """Every connection silent for good, new ones pass: nobody waits for the kernel to find out, nor for other nodes."""
    with proxy_to(broker) as proxy:
        through(system, "BROKER_URL", proxy)
        system.intake()
        system.worker(concurrency=1)
        system.until(lambda: system.said("intake", "intake_ready"), 30, "intake is ready")
        proxy.lose()
        lost = time.monotonic()
        for name in ("intake", "worker"):
            system.until(lambda name=name: system.said(name, "back_again"), 60, f"{name} is back")
        assert time.monotonic() - lost < 35
        system.hire("c-1")
        system.until(lambda: system.states() == {"completed": 1}, 30, "c-1 completed")
        assert "Traceback" not in system.logs()


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


def test_a_signal_stops_each_process_and_leaves_nothing(system: System):
    """The step in flight ends, the next one is somebody else's, no process stays."""
    system.deel.is_slow("POST /eor/worker", 1.0, contract="c-1")
    system.all()
    system.hire("c-1")
    system.until(lambda: ("ensure_profile", None, None) in system.timeline("c-1"), 30, "ensure_profile began")
    groups = [process.pid for process in system.processes.values()]
    assert system.stop("worker", "intake", "beat") == [0, 0, 0]
    for group in groups:  # each was started as the head of one
        with pytest.raises(ProcessLookupError):
            os.killpg(group, 0)
    assert ("ensure_profile", "done", None) in system.timeline("c-1")
    assert "Traceback" not in system.logs()
    system.worker("next")
    system.until(lambda: system.states() == {"completed": 1}, 30, "another worker goes on")
