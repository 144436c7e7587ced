"""The auditor and the search for leaks: each promise is broken on purpose, and each break is found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import delete, insert, update

from onboarding.events import Message
from onboarding.runs import Step
from onboarding.store.sql import from_now
from onboarding.store.tables import attempts, events, runs, worker_tokens
from tests.chaos import auditor, leaks
from tests.chaos.auditor import Expected, audit
from tests.onboarding.worlds import Driver, driver

CONTRACTS = ("c-1", "c-2")


@pytest.fixture
def onboard(sqlite_url: str) -> Iterator[Driver]:
    """Two contracts, onboarded."""
    with driver(sqlite_url) as made:
        for contract in CONTRACTS:
            made.hire(contract)
            made.carry(contract)
        yield made


def promises_broken(onboard: Driver, expected: Expected) -> set[str]:
    keys = "k1:" + "A" * 43 + "="
    system: Any = SimpleNamespace(
        store=onboard.store, deel=onboard.deel, sink=onboard.sink, environment={"ONBOARDING_VAULT_KEYS": keys}
    )
    return {finding.promise for finding in audit(system, expected).findings}


def told(onboard: Driver, *garbage: bytes) -> frozenset[str]:
    """What the HRIS sent."""
    return auditor.keys_of(onboard.deel, [*onboard.sent, *((body, {}) for body in garbage)])


def change(onboard: Driver, statement: Any) -> None:
    onboard.store.write(lambda db: db.execute(statement))


def test_nothing_is_found_where_nothing_is_broken(onboard: Driver):
    """Two runs, completed, told, their tokens alive."""
    assert promises_broken(onboard, Expected(CONTRACTS, messages=told(onboard))) == set()


def another_profile(onboard: Driver) -> None:
    onboard.deel._world.create_profile(onboard.deel._world.contracts["c-1"])


def another_token_of_ours(onboard: Driver) -> None:
    world = onboard.deel._world
    world.issue(world.contracts["c-1"].profiles[0], life_s=60.0, lag_s=0.0, ours=True)


def told_by_another_id(onboard: Driver) -> None:
    message = onboard.published[0]
    onboard.world.targets[-1].send(type(message)("msg_other", message.type, message.at, message.data))


def a_loose_attempt(onboard: Driver) -> None:
    run_id = onboard.run("c-1").id
    change(onboard, insert(attempts).values(run_id=run_id, step=Step.NOTIFY, fence=99))


@pytest.mark.parametrize(
    ("sabotage", "promise"),
    [
        (lambda onboard: change(onboard, delete(events)), auditor.LOST),
        (lambda onboard: change(onboard, update(runs).values(state="pending", nudge_at=None)), auditor.LOST),
        (lambda onboard: change(onboard, update(runs).values(state="failed", reason=None)), auditor.LOST),
        (lambda onboard: onboard.sink._received.clear(), auditor.LOST),
        (another_profile, auditor.DOUBLED),
        (told_by_another_id, auditor.DOUBLED),
        (lambda onboard: onboard.deel.supersede("c-1"), auditor.DEAD_TOKEN),
        (lambda onboard: change(onboard, update(worker_tokens).values(dead=True)), auditor.DEAD_TOKEN),
        (another_token_of_ours, auditor.KILLED_TOKEN),
        (a_loose_attempt, auditor.TIMELINE),
        (lambda onboard: change(onboard, update(attempts).values(ended_at=from_now(-3600))), auditor.TIMELINE),
    ],
)
def test_each_broken_promise_is_found(onboard: Driver, sabotage: Callable[[Driver], object], promise: str):
    """By its name."""
    sabotage(onboard)
    assert promise in promises_broken(onboard, Expected(CONTRACTS, messages=told(onboard)))


def test_garbage_that_left_no_trace_is_lost(onboard: Driver):
    """One that is kept has two rows, its event's and the dead letter's: they do not make up for another."""
    onboard.intake.accept(Message(b"{", {}, "contract.created"))
    assert promises_broken(onboard, Expected(CONTRACTS, messages=told(onboard, b"{"))) == set()
    assert promises_broken(onboard, Expected(CONTRACTS, messages=told(onboard, b"{", b"}"))) == {auditor.LOST}


def test_a_token_that_was_ended_and_issued_anew_was_killed(onboard: Driver):
    """As where Deel refuses a second session."""
    another_token_of_ours(onboard)
    assert auditor.KILLED_TOKEN in promises_broken(onboard, Expected(CONTRACTS))


def test_a_contract_without_a_run_is_lost(onboard: Driver):
    """The queue acknowledged its event, and nothing came of it."""
    assert promises_broken(onboard, Expected((*CONTRACTS, "c-3"))) == {auditor.LOST}


def test_a_call_beyond_the_budget_is_found(onboard: Driver):
    """One that Deel's limiter refused."""
    call = onboard.deel.ledger.calls()[0]
    onboard.deel.ledger.record(replace(call, refused=True))
    assert auditor.BUDGET in promises_broken(onboard, Expected(CONTRACTS))


@pytest.mark.parametrize("place", ["worker.log", "the store's dump", "the broker's folder"])
@pytest.mark.parametrize("kind", ["of the sample", "beyond the sample", "address"])
def test_a_leak_is_found_wherever_it_lies(onboard: Driver, tmp_path: Path, kind: str, place: str):
    """A token in a log, in a plain column, in a message on disk; an address may lie with the broker alone."""
    for number in range(2 * leaks.SAMPLE):
        onboard.deel.supersede(f"c-{1 + number % 2}")
    tokens = [session.token for contract in CONTRACTS for session in onboard.deel.sessions_of(contract)]
    planted = {"of the sample": tokens[0], "beyond the sample": tokens[1], "address": "canary-c-1@people.example"}
    calm, told = b'{"event": "x"}', f'{{"event": "x {planted[kind]}"}}'.encode()
    folder, data = tmp_path / "logs", tmp_path / "broker"
    for path, where in ((folder / "worker.log", "worker.log"), (data / "segment", "the broker's folder")):
        path.parent.mkdir()
        path.write_bytes(told if where == place else calm)
    dump = told if place == "the store's dump" else calm
    made: Any = SimpleNamespace(
        system=SimpleNamespace(
            folder=folder,
            deel=onboard.deel,
            secret="whsec_signing",
            environment={"ONBOARDING_VAULT_KEYS": "k1:" + "A" * 43 + "="},
        ),
        database=SimpleNamespace(dump=lambda _dsn: dump),
        dsn="",
        broker=SimpleNamespace(data=data),
    )
    found = leaks.leaks(made)
    assert bool(found) == (kind != "address" or place != "the broker's folder"), found
    assert all(place in one for one in found)
