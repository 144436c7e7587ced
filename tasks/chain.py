"""The chain: five tasks, one way to carry them. The domain decides; this obeys."""

from __future__ import annotations

from math import ceil
from typing import Final

import structlog
from celery import Task
from celery.exceptions import Reject, Retry

from onboarding import observe, outages, turns
from onboarding.perform import Again, Anew, Onward, Order, Rest, perform
from onboarding.runs import Step
from onboarding.store.engine import StoreUnavailable
from tasks.application import app, settings
from tasks.connect import BROKER_ERRORS, reason_of
from tasks.process import world
from tasks.publish import nudge
from tasks.time_limit import OutOfTime, soft_limit_is_out_of_time

log = structlog.get_logger(__name__)

STORE_AWAY_S = 5.0


class Waiting(Exception):  # noqa: N818 - what Flower shows beside RETRY
    """Why a message comes again: a word, never more."""


@app.task(name="onboarding.contract_created", bind=True)
def contract_created(self: Task, run_id: str, contract_id: str) -> str:
    """Learn the facts of a contract."""
    return carry(self, Step.CONTRACT_CREATED, run_id, contract_id)


@app.task(name="onboarding.ensure_profile", bind=True)
def ensure_profile(self: Task, run_id: str, contract_id: str) -> str:
    """Make the worker's profile unless there is one."""
    return carry(self, Step.ENSURE_PROFILE, run_id, contract_id)


@app.task(name="onboarding.issue_token", bind=True)
def issue_token(self: Task, run_id: str, contract_id: str) -> str:
    """Issue a worker token unless one lives."""
    return carry(self, Step.ISSUE_TOKEN, run_id, contract_id)


@app.task(name="onboarding.verify_token", bind=True)
def verify_token(self: Task, run_id: str, contract_id: str) -> str:
    """See that the token opens the right account."""
    return carry(self, Step.VERIFY_TOKEN, run_id, contract_id)


@app.task(name="onboarding.notify", bind=True)
def notify(self: Task, run_id: str, contract_id: str) -> str:
    """Tell every target."""
    return carry(self, Step.NOTIFY, run_id, contract_id)


TASKS: Final[dict[Step, Task]] = {
    Step.CONTRACT_CREATED: contract_created,
    Step.ENSURE_PROFILE: ensure_profile,
    Step.ISSUE_TOKEN: issue_token,
    Step.VERIFY_TOKEN: verify_token,
    Step.NOTIFY: notify,
}


def carry(task: Task, step: Step, run_id: str, contract_id: str) -> str:
    """Let the domain perform one step, then move the message as it says."""
    with structlog.contextvars.bound_contextvars(
        run_id=run_id, contract_id=contract_id, step=step.value, task_id=task.request.id
    ):
        redelivered = bool((task.request.delivery_info or {}).get("redelivered"))
        match _order(step, run_id, redelivered=redelivered):
            case Onward():  # Celery sends the next link
                return "done"
            case Again(seconds, why, left):
                _admit_next(left)
                return _again(task, seconds, why)
            case Anew(back_to):
                _end_chain(task)
                nudge(run_id, contract_id, back_to)
                return f"back to {back_to}"
            case Rest(word, left):  # waiting, failed, or somebody else's: the row says why
                _end_chain(task)
                _admit_next(left)
                return word


def _order(step: Step, run_id: str, *, redelivered: bool) -> Order:
    try:
        with soft_limit_is_out_of_time():
            order = perform(world(), run_id, step, redelivered=redelivered)
    except StoreUnavailable as away:
        outages.say_once("store_unavailable", error=str(away))
        return Again(STORE_AWAY_S, "store_unavailable")
    except OutOfTime:  # the attempt has no end: it counts as a crash, and the lease runs out first
        log.warning("step_out_of_time", limit_s=app.conf.task_soft_time_limit)
        return Again(settings.lease_seconds, "out_of_time")
    except Exception as defect:  # requeueing it would be a hot loop; the lease runs out first
        observe.report_defect(defect)
        log.exception("carry_defect")
        return Again(settings.lease_seconds, "internal_error")
    outages.over("store_unavailable")
    return order


def _again(task: Task, seconds: float, why: str) -> str:
    """Send this message once more, later. The row holds the time already: a retry that is lost is the reconciler's."""
    try:
        # whole seconds, at least one: Celery 5.7 destroys a task whose countdown rounds to zero
        raise task.retry(exc=Waiting(why), countdown=max(1, ceil(seconds)))
    except Retry:
        outages.over("retries_fail")
        raise
    except Reject as unsent:  # Celery's word for a retry that it could not publish: it would end among the dead letters
        if not isinstance(unsent.reason, BROKER_ERRORS):
            observe.report_defect(unsent.reason)
        outages.say_once("retries_fail", error=reason_of(unsent.reason))
        _end_chain(task)
        return f"{why}; the broker took no retry"


def _admit_next(organization_id: str | None) -> None:
    if organization_id is None:
        return
    try:
        here = world()
        turns.admit(here.store, here.line, organization_id, nudge)
    except StoreUnavailable as away:  # then it is the reconciler's
        outages.say_once("store_unavailable", error=str(away))


def _end_chain(task: Task) -> None:
    task.request.chain = None  # raising Ignore ends it too, but reads as STARTED for ever
