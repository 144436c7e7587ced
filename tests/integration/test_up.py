"""Everything in one process on the embedded default: no server is needed, not even for these tests."""

from __future__ import annotations

import json
import signal
import sqlite3

import pytest

from onboarding.store import migrate
from onboarding.store.engine import Store
from tests.integration.system import BIN, System


@pytest.fixture
def embedded(make_system, tmp_path) -> System:
    """SQLite, the broker in memory."""
    url = f"sqlite:///{tmp_path / 'onboarding.db'}"
    store = Store(url)
    migrate.upgrade(store)
    store.close()
    return make_system("memory://", url)


def up(system: System) -> None:
    process = system.start("up", str(BIN / "onboarding"), "up")
    system.until(lambda: "ready" in system.log("up") or process.poll() is not None, 20, "it is up")
    assert process.poll() is None, system.log("up")


def test_an_event_sent_from_another_process_is_carried(embedded: System):
    """`send` files it into the store, and the reconciler of `up` finds it within a second or so."""
    embedded.deel.has_contract("c-1", email="ada@example.com")
    up(embedded)
    assert embedded.cli("send", "c-1").returncode == 0
    embedded.until(lambda: embedded.states() == {"completed": 1}, 20, "c-1 completed")
    assert embedded.sink.wait_for(1)[0].verified
    shown = json.loads(embedded.cli("show", "c-1", "--json").stdout)
    assert shown["organization_id"] == embedded.deel.organization_id
    assert [attempt["outcome"] for attempt in shown["timeline"]] == ["done"] * 5


def test_a_restart_goes_on_where_it_stopped(embedded: System):
    """The memory of the broker is gone; the store is enough, and no lease has to run out first."""
    embedded.deel.has_contract("c-1", email="ada@example.com")
    embedded.deel.fails("POST /eor/worker", status=503, times=3)
    up(embedded)
    embedded.cli("send", "c-1")
    embedded.until(lambda: ("ensure_profile", "retry", "deel_unavailable") in embedded.timeline("c-1"), 20, "a retry")
    embedded.kill("up")
    up(embedded)
    embedded.until(lambda: embedded.states() == {"completed": 1}, 25, "c-1 completed")
    assert len(embedded.deel.profiles_of("c-1")) == 1


def test_a_signal_ends_it_and_leaves_nothing_half_written(embedded: System):
    """Ctrl-C in the middle of a call: the step ends, the store is whole, no stack trace."""
    embedded.deel.has_contract("c-1", email="ada@example.com")
    embedded.deel.is_slow("POST /eor/worker", 1.0)
    up(embedded)
    embedded.cli("send", "c-1")
    embedded.until(lambda: ("ensure_profile", None, None) in embedded.timeline("c-1"), 20, "ensure_profile began")
    process = embedded.processes.pop("up")
    process.send_signal(signal.SIGINT)
    assert process.wait(15) == 0
    assert ("ensure_profile", "done", None) in embedded.timeline("c-1")
    assert "Traceback" not in embedded.log("up")
    path = embedded.environment["ONBOARDING_DATABASE_URL"].removeprefix("sqlite:///")
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    db.close()


def test_a_failure_is_told_and_a_replay_from_another_process_is_carried(embedded: System):
    """Parked, told, mended, replayed."""
    embedded.deel.has_contract("c-1", email="ada@example.com")
    embedded.deel.fails("POST /eor/worker", status=400, times=1)
    up(embedded)
    embedded.cli("send", "c-1")
    embedded.until(lambda: embedded.states() == {"failed": 1}, 20, "c-1 failed")
    embedded.until(lambda: embedded.sink.received, 20, "the failure is told")
    assert embedded.sink.received[0].body["data"]["reason"] == "request_rejected"
    assert embedded.cli("replay", "c-1", "--yes", "--because", "mended").returncode == 0
    embedded.until(lambda: embedded.states() == {"completed": 1}, 20, "c-1 completed")


@pytest.mark.rabbitmq
def test_a_part_that_dies_takes_the_process_with_it(make_system, broker: str, tmp_path):
    """A process without its intake looks alive and takes nothing in: whoever restarts it must see its end."""
    system: System = make_system(
        broker, f"sqlite:///{tmp_path / 'onboarding.db'}", failpoints="intake_ack.before=raise"
    )
    up(system)
    system.publish(b"{}")
    assert system.processes.pop("up").wait(20) == 1
    assert "Injected" in system.log("up")
