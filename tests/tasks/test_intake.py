"""Intake's own decisions: when it nudges, what it reads of a death, how it takes an outage."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from kombu import Connection, Producer
from structlog.testing import capture_logs

from onboarding.intake import Intake
from onboarding.store import runs
from onboarding.store.engine import Store, StoreUnavailable
from onboarding.store.line import Line
from onboarding.vault import VaultError
from tasks import intake, topology
from tasks.intake import IntakeConsumer, read_death
from tests.onboarding.store.rows import KEYRING

PLAIN = b'{"type": "contract.created", "contract_id": "c-%d"}'


class Flaky:
    """An intake whose store or vault fails as often as it was told to, before it takes messages in."""

    def __init__(self, store: Store, *failures: Exception) -> None:
        self.store, self.failures, self.seen = store, list(failures), 0
        self._intake = Intake(store, KEYRING, {}, Line())

    def accept(self, message: Any) -> Any:
        self.seen += 1
        if self.failures:
            raise self.failures.pop(0)
        return self._intake.accept(message)


def consume(flaky: Flaky, messages: int, until: Any, within_s: float = 20.0) -> None:
    """On a broker in memory, in a thread, until something is true."""
    connection = Connection("memory://", transport_options={"polling_interval": 0.01})
    topology.declare_all(connection.default_channel)
    for number in range(messages):
        Producer(connection).publish(
            PLAIN % number, exchange=topology.HRIS_EVENTS, routing_key="x", content_type="application/json"
        )
    consumer = IntakeConsumer(connection, flaky)  # type: ignore[arg-type]
    thread = threading.Thread(target=consumer.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + within_s
    while not until() and time.monotonic() < deadline:
        time.sleep(0.02)
    consumer.should_stop = True
    thread.join(5)
    assert not thread.is_alive()
    assert until()


@pytest.fixture
def nudged(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    contracts: list[str] = []
    monkeypatch.setattr(intake, "nudge", lambda _run, contract, _step: contracts.append(contract) or True)
    return contracts


@pytest.mark.parametrize(
    ("failure", "word"), [(StoreUnavailable("x"), "store_unavailable"), (VaultError("x"), "vault_locked")]
)
def test_what_cannot_be_stored_goes_back_and_is_taken_later(store: Store, nudged, monkeypatch, failure, word: str):
    """Said once and by its name, with growing pauses: a failure that stays is no loop."""
    monkeypatch.setattr(intake, "FIRST_PAUSE_S", 0.1)
    flaky = Flaky(store, *[failure] * 3)
    began = time.monotonic()
    with capture_logs() as said:
        consume(flaky, 3, lambda: len(nudged) == 3)
    assert time.monotonic() - began > 0.1 + 0.2 + 0.4
    assert flaky.seen == 6
    assert sorted(nudged) == ["c-0", "c-1", "c-2"]
    assert len(store.read(runs.listing)) == 3
    assert [line["event"] for line in said].count(word) == 1
    assert [line["event"] for line in said].count("back_again") == 1


def test_after_a_nudge_that_failed_the_others_are_left_to_the_reconciler(store: Store, monkeypatch):
    """Each costs ten seconds on a broker that holds bytes: fifty of them would hold the queue for eight minutes."""
    tried: list[str] = []
    monkeypatch.setattr(intake, "nudge", lambda _run, contract, _step: bool(tried.append(contract)))
    consume(Flaky(store), 4, lambda: len(store.read(runs.listing)) == 4)
    assert len(tried) == 1


def test_a_death_is_read_as_far_as_it_is_one():
    """Whoever publishes to the dead letters' exchange may have written anything."""
    assert read_death([{"reason": "rejected", "queue": topology.STEPS}]) == ("rejected", topology.STEPS)
    for deaths in (None, [], [None], [{}], [{"reason": 1, "queue": {}}], [{"reason": "x", "queue": "y"}], "x"):
        assert read_death(deaths) == ("rejected", "unknown")
