"""What the shell makes of an order: a retry, the end of a chain, a limit that struck."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Task
from celery.exceptions import Reject, Retry
from kombu.exceptions import OperationalError
from structlog.testing import capture_logs

from onboarding import turns
from onboarding.perform import Again, Onward, Rest
from onboarding.runs import Step
from onboarding.store.engine import StoreUnavailable
from tasks import chain, upkeep
from tasks.application import settings
from tasks.time_limit import SIG_SOFT_TIMEOUT

STEP = Step.VERIFY_TOKEN


@pytest.fixture
def task(monkeypatch: pytest.MonkeyPatch) -> Iterator[Task]:
    """verify_token, in the middle of its chain, in a process that has no world to reach."""
    monkeypatch.setattr(chain, "world", lambda: None)
    task = chain.TASKS[STEP]
    task.push_request(id="1", args=("r", "c"), kwargs={}, retries=0, called_directly=False, chain=[{"task": "next"}])
    yield task
    task.pop_request()


def orders(monkeypatch: pytest.MonkeyPatch, order: Any) -> None:
    def perform(*_: object, **__: object) -> Any:
        if callable(order):
            order()
        if isinstance(order, Exception):
            raise order
        return order

    monkeypatch.setattr(chain, "perform", perform)


def publishes(monkeypatch: pytest.MonkeyPatch, task: Task, error: Exception | None) -> list[dict[str, Any]]:
    sent: list[dict[str, Any]] = []

    def apply_async(**options: Any) -> None:
        if error is not None:
            raise error
        sent.append(options)

    signature = type("Signature", (), {"apply_async": staticmethod(apply_async)})()

    def signed(*_: object, **options: Any) -> Any:
        signature.apply_async = lambda: apply_async(**options)
        return signature

    monkeypatch.setattr(task, "signature_from_request", signed)
    return sent


def carry(task: Task) -> str:
    return chain.carry(task, STEP, "r", "c")


@pytest.mark.parametrize(("seconds", "countdown"), [(0.0, 1), (0.3, 1), (1.0, 1), (1.2, 2), (59.01, 60)])
def test_a_countdown_is_whole_seconds_and_at_least_one(task: Task, monkeypatch, seconds: float, countdown: int):
    """Below one, Celery 5.7 destroys the task and its chain."""
    orders(monkeypatch, Again(seconds, "rate_limited"))
    sent = publishes(monkeypatch, task, None)
    with pytest.raises(Retry):
        carry(task)
    assert [options["countdown"] for options in sent] == [countdown]


def test_a_retry_that_no_broker_takes_ends_the_chain_quietly(task: Task, monkeypatch):
    """The row has the time and the reconciler goes on: no dead letter, no trace, and it is said once."""
    orders(monkeypatch, Again(1.0, "rate_limited"))
    publishes(monkeypatch, task, OperationalError("away"))
    with capture_logs() as said:
        assert carry(task) == carry(task) == "rate_limited; the broker took no retry"
    assert task.request.chain is None
    assert [line["event"] for line in said] == ["retries_fail"]


def test_a_limit_that_strikes_in_a_step_is_no_defect(task: Task, monkeypatch):
    """Even where the step itself catches every exception: one line, no trace, and the lease runs out first."""

    def hang() -> None:
        try:
            os.kill(os.getpid(), SIG_SOFT_TIMEOUT)
        except Exception:  # noqa: BLE001 - as `perform` does with a step
            pytest.fail("it was taken for a defect")

    orders(monkeypatch, hang)
    sent = publishes(monkeypatch, task, None)
    with capture_logs() as said, pytest.raises(Retry, match="out_of_time"):
        carry(task)
    assert [(line["event"], line["log_level"]) for line in said] == [("step_out_of_time", "warning")]
    assert sent[0]["countdown"] == settings.lease_seconds


def test_a_limit_that_strikes_in_upkeep_is_no_defect(monkeypatch):
    """The next turn does the rest."""
    monkeypatch.setattr(upkeep, "world", lambda: os.kill(os.getpid(), SIG_SOFT_TIMEOUT))
    with capture_logs() as said:
        assert upkeep.attempt_upkeep("retire", 0.0) == "out of time"
    assert [(line["event"], line["log_level"]) for line in said] == [("upkeep_out_of_time", "warning")]


def test_a_process_that_cannot_make_its_world_tries_again(task: Task, monkeypatch):
    """A defect in making it must not raise once more while it is handled: the message would be lost."""

    def no_world() -> None:
        raise RuntimeError

    monkeypatch.setattr(chain, "world", no_world)
    sent = publishes(monkeypatch, task, None)
    with capture_logs() as said, pytest.raises(Retry, match="internal_error"):
        carry(task)
    assert [line["event"] for line in said] == ["carry_defect"]
    assert sent[0]["countdown"] == settings.lease_seconds


def test_a_defect_in_retrying_is_reported_and_ends_the_chain(task: Task, monkeypatch):
    """Not a dead letter either: the reconciler carries the run."""
    orders(monkeypatch, Again(1.0, "held"))
    publishes(monkeypatch, task, ValueError())
    reported: list[Any] = []
    monkeypatch.setattr("onboarding.observe.report_defect", reported.append)
    try:
        assert carry(task) == "held; the broker took no retry"
    except Reject:
        pytest.fail("it would end among the dead letters")
    assert [type(each) for each in reported] == [ValueError]


@pytest.mark.parametrize(("delivery_info", "expected"), [({"redelivered": True}, True), ({}, False), (None, False)])
def test_the_domain_is_told_of_a_redelivery(monkeypatch: pytest.MonkeyPatch, task: Task, delivery_info, expected: bool):
    """By the broker's own flag."""
    told: list[bool] = []

    def perform(*_: object, redelivered: bool) -> Any:
        told.append(redelivered)
        return Onward()

    monkeypatch.setattr(chain, "perform", perform)
    task.request.delivery_info = delivery_info
    chain.carry(task, STEP, "r", "c")
    assert told == [expected]


@pytest.mark.parametrize("order", [Rest("failed", left="org-1"), Again(1.0, "rate_limited", left="org-1")])
@pytest.mark.parametrize("failure", [None, StoreUnavailable("x")])
def test_who_leaves_the_line_lets_the_next_run_in(monkeypatch: pytest.MonkeyPatch, task: Task, failure, order):
    """Whatever came of the step; and a store that goes away just then leaves it to the reconciler."""
    sent: list[tuple[str, str, Step]] = []
    monkeypatch.setattr(chain, "nudge", lambda *due: sent.append(due) or True)
    publishes(monkeypatch, task, None)

    def admit(_store: object, _line: object, organization_id: str, nudge: Any) -> None:
        if failure is not None:
            raise failure
        nudge("run-2", organization_id, Step.NOTIFY)

    monkeypatch.setattr(chain, "world", lambda: SimpleNamespace(store=None, line=None))
    monkeypatch.setattr(turns, "admit", admit)
    orders(monkeypatch, order)
    with contextlib.suppress(Retry):
        carry(task)
    assert sent == ([] if failure else [("run-2", "org-1", Step.NOTIFY)])


def test_a_double_that_ends_has_left_no_place(monkeypatch: pytest.MonkeyPatch, task: Task):
    """Its run is carried by another message, or waits in the line itself."""
    monkeypatch.setattr(turns, "admit", lambda *_: pytest.fail("nobody left"))
    orders(monkeypatch, Rest("pending"))
    assert carry(task) == "pending"
    assert task.request.chain is None
