"""One attempt of one step: claim, act, record. What comes out is an order to whoever carries the message."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import structlog

from onboarding import observe
from onboarding.deel import DeelFailure, ParkRun, PauseOrganisation, TryLater
from onboarding.dialling import within
from onboarding.failpoints import fail_point
from onboarding.runs import AnyOutcome, Back, Change, Later, Park, Pause, Reason, State, Step, settle
from onboarding.steps import STEP_ACTIONS, Late
from onboarding.store import claims, records
from onboarding.store.claims import Claim, NoClaim, Why
from onboarding.store.engine import StoreUnavailable
from onboarding.vault import VaultError
from onboarding.world import World

log = structlog.get_logger(__name__)

STEP_S: Final = 40.0
"""All waits and calls of a step together: a call's 20 s < this < Celery's soft limit of 45 s < the lease of 60 s."""
OF_LEASE: Final = 0.8
"""And no more of a lease that was set shorter: a slow Deel is no crash."""


@dataclass(frozen=True)
class Onward:
    """The step is done: send the next link."""


@dataclass(frozen=True)
class Again:
    """Deliver this message again after so many seconds. The row holds the time already."""

    seconds: float
    why: str
    left: str | None = None  # the organisation whose line the run has left a place in


@dataclass(frozen=True)
class Rest:
    """This chain ends here: the row says why, and who goes on."""

    word: str
    left: str | None = None  # as above


@dataclass(frozen=True)
class Anew:
    """The run went back: send a new chain from this step."""

    step: Step


Order = Onward | Again | Rest | Anew


def perform(world: World, run_id: str, step: Step, *, redelivered: bool = False) -> Order:
    """Do one step of a run, if it is this step's turn and nobody else is at it.

    `redelivered`: the broker gave this very message out before, to somebody who may have died behind the record and
    before the next link: then that link is sent. Any other message that finds its step done is a double, whose
    chain ends: in a long line each nudge would else drag four more tasks behind it.

    Raises StoreUnavailable: nothing is known then, and the message must come again.
    """
    if not run_id.isascii() or "\0" in run_id:  # no database takes every such text, and none of our ids is one
        return _not_claimed(NoClaim(Why.UNKNOWN), step)
    fail_point(f"{step}.claiming")
    claim = claims.claim(world.store, run_id, step, world.terms)
    if isinstance(claim, NoClaim):
        return Onward() if redelivered and claim.why is Why.STEP_DONE else _not_claimed(claim, step)
    fail_point(f"{step}.claimed")
    try:
        outcome = _act(world, claim)
    except Late:
        return _late(step)
    fail_point(f"{step}.recording")
    try:
        change = _record(world, claim, outcome)
    except VaultError:  # what was learnt cannot be sealed: it is not kept, and will be asked for again
        change = _record(world, claim, Later(reason=Reason.VAULT_LOCKED))
    if change is None:
        return _late(step)
    fail_point(f"{step}.recorded")
    _tell(claim, change)
    return order_of(claim.run.organization_id, change, world.terms.lease_s)


def order_of(organization_id: str, change: Change, lease_s: float) -> Order:
    """What a recorded change means for the message. Waits longer than a lease lie in the row alone."""
    if change.outcome == "superseded":
        return Anew(change.step)
    if change.outcome == "done" and change.state is State.PENDING:
        return Onward()
    if change.wait_s is not None and change.wait_s <= lease_s:
        return Again(change.wait_s, str(change.reason), left=organization_id)
    return Rest(change.state, left=organization_id)


def _record(world: World, claim: Claim, outcome: AnyOutcome) -> Change | None:
    """None: a newer claim owns the run."""
    change = settle(claim.run, outcome, world.backoff, world.draw)
    return records.keep(world.store, claim, change, world.keyring, world.terms)


def _act(world: World, claim: Claim) -> AnyOutcome:
    try:
        with within(min(STEP_S, world.terms.lease_s * OF_LEASE)):
            return STEP_ACTIONS[claim.step](claim, world)
    except PauseOrganisation as failure:
        if world.clients.has_another(claim.run.organization_id):
            return Later(reason=failure.reason, http_status=failure.status, request_id=failure.request_id)
        return outcome_of(failure)
    except DeelFailure as failure:
        return outcome_of(failure)
    except VaultError:
        return Later(reason=Reason.VAULT_LOCKED)
    except (Late, StoreUnavailable):
        raise
    except Exception as defect:
        observe.report_defect(defect)
        log.exception("step_defect", step=claim.step)
        return Later(reason=Reason.INTERNAL_ERROR)


def outcome_of(failure: DeelFailure) -> AnyOutcome:
    """The three kinds of failure that leave the client, as outcomes."""
    match failure:
        case TryLater():
            return Later(
                reason=failure.reason,
                after_s=failure.after_s,
                http_status=failure.status,
                request_id=failure.request_id,
            )
        case PauseOrganisation():
            return Pause(reason=failure.reason, http_status=failure.status, request_id=failure.request_id)
        case ParkRun():
            return Park(reason=failure.reason, http_status=failure.status, request_id=failure.request_id)
        case _:
            raise failure


def _not_claimed(refusal: NoClaim, step: Step) -> Order:
    match refusal.why:
        case Why.HELD:
            return Again(refusal.wait_s, "held")
        case Why.CRASH_LOOP if refusal.run is not None:
            log.error("run_parked", step=step, reason=Reason.CRASH_LOOP, advice=Reason.CRASH_LOOP.advice)
            observe.report_parked(refusal.run.id, Reason.CRASH_LOOP, step, refusal.run.organization_id)
            return Rest(State.FAILED)
        case _:
            log.info("step_skipped", step=step, why=refusal.why.value)
            return Rest(refusal.state or refusal.why.value)


def _late(step: Step) -> Order:
    log.warning("step_late", step=step)
    return Rest("late")


def _tell(claim: Claim, change: Change) -> None:
    run, source = claim.run, change.source
    said = {
        "step": run.step,
        "outcome": change.outcome,
        "reason": change.reason,
        "http_status": source.http_status,
        "request_id": source.request_id,
        "wait_s": change.wait_s,
    }
    said = {name: value for name, value in said.items() if value is not None}
    if change.state is State.FAILED and change.reason is not None:
        log.error("run_parked", **said, advice=change.reason.advice)
        observe.report_parked(run.id, change.reason, run.step, run.organization_id)
    elif change.pauses is not None:
        log.error("organisation_paused", **said, organization_id=run.organization_id, advice=change.pauses.advice)
        observe.report_paused(run.organization_id, change.pauses)
    elif isinstance(source, Back | Later | Pause):
        log.warning("step_again", **said)
    else:
        log.info("step_done", **said)
