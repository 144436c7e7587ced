"""Broker or store away, at the start and in mid-flight: waited for, said once, nothing lost, no stack trace."""

from __future__ import annotations

import signal
from urllib.parse import urlsplit

import pytest

from tests.integration.proxy import Proxy
from tests.integration.system import System

pytestmark = [pytest.mark.rabbitmq, pytest.mark.postgres]


def proxied(url: str, proxy: Proxy) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[0] + f"@127.0.0.1:{proxy.port}").geturl()


def proxy_to(url: str, *, down: bool = False) -> Proxy:
    parts = urlsplit(url)
    return Proxy(parts.hostname or "127.0.0.1", parts.port or 0, down=down)


def through(system: System, variable: str, proxy: Proxy) -> None:
    name = f"ONBOARDING_{variable}"
    system.environment[name] = proxied(system.environment[name], proxy)


def said(system: System, name: str, event: str) -> int:
    return sum(entry["event"] == event for entry in system.entries(name))


def test_a_store_that_is_away_is_waited_for(system: System, postgres_url: str):
    """At the start and in mid-flight: events stay on the queue, runs come through."""
    with proxy_to(postgres_url, down=True) as proxy:
        through(system, "DATABASE_URL", proxy)
        system.hire("c-1")
        system.all()
        system.until(lambda: said(system, "intake", "store_unavailable"), 30, "intake says that the store is away")
        proxy.restore()
        system.until(lambda: system.states() == {"completed": 1}, 60, "c-1 completed")
        proxy.cut()
        system.hire("c-2")
        system.until(lambda: said(system, "intake", "store_unavailable") == 2, 30, "said again, once")
        proxy.restore()
        system.until(lambda: system.states() == {"completed": 2}, 60, "c-2 completed")
        assert said(system, "intake", "store_unavailable") == 2
        assert "Traceback" not in system.logs()


def test_a_broker_that_is_away_is_waited_for(system: System, broker: str):
    """At the start and in mid-flight: the rows know, and the reconciler nudges."""
    with proxy_to(broker, down=True) as proxy:
        through(system, "BROKER_URL", proxy)
        system.environment["ONBOARDING_LEASE_SECONDS"] = "3"
        system.hire("c-1")
        system.intake()
        system.beat()
        system.until(lambda: said(system, "intake", "broker_unavailable"), 30, "intake says that the broker is away")
        proxy.restore()
        system.worker()
        system.until(lambda: system.states() == {"completed": 1}, 60, "c-1 completed")
        system.deel.is_slow("POST /workers/session", 1.5, contract="c-2")
        system.hire("c-2")
        system.until(lambda: system.deel.ledger.count("POST /eor/worker", contract="c-2"), 30, "c-2 is under way")
        proxy.cut()
        proxy.restore()
        system.until(lambda: system.states() == {"completed": 2}, 90, "c-2 completed")
        assert system.deel.tokens_issued_for("c-2") == 1
        assert said(system, "intake", "broker_unavailable") == 2
        assert said(system, "worker", "broker_unavailable") == 1, system.log("worker")
        assert "Traceback" not in system.logs()


def test_a_killed_worker_costs_a_lease(make_system, broker: str, postgres_url: str):
    """kill -9 of the whole worker in the middle of a call: another takes over, and the token is the same."""
    system: System = make_system(broker, postgres_url, lease_seconds="3")
    system.deel.is_slow("POST /workers/session", 2.0, times=1, contract="c-1")
    system.intake()
    system.beat()
    system.worker("first")
    system.hire("c-1")
    system.until(lambda: system.deel.ledger.count("POST /eor/worker"), 30, "the run is under way")
    system.until(lambda: ("issue_token", None, None) in system.timeline("c-1"), 30, "issue_token began")
    system.kill("first")
    system.worker("second")
    system.until(lambda: system.states() == {"completed": 1}, 60, "c-1 completed")
    assert ("issue_token", "crashed", None) in system.timeline("c-1")
    assert system.deel.tokens_issued_for("c-1") == 1
    assert len(system.sink.unique()) == 1


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_each_process_and_leaves_nothing(system: System, sent: signal.Signals):
    """The step in flight ends, the next one is somebody else's, no process stays."""
    system.deel.is_slow("POST /eor/worker", 1.0, contract="c-1")
    system.all()
    system.hire("c-1")
    system.until(lambda: ("ensure_profile", None, None) in system.timeline("c-1"), 30, "ensure_profile began")
    for name in ("worker", "intake", "beat"):
        process = system.processes.pop(name)
        process.send_signal(sent)
        process.wait(20)
    assert ("ensure_profile", "done", None) in system.timeline("c-1")
    assert "Traceback" not in system.logs()
    system.worker("next")
    system.until(lambda: system.states() == {"completed": 1}, 30, "another worker goes on")
