"""The record of what an attempt came to: the claim's fence stands in every `where`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, bindparam, update

from onboarding.runs import ACTIVE, Back, Change, Done, Outcome, Park, Reason, Run, State
from onboarding.store import consents, facts, organizations, tokens
from onboarding.store.claims import PAUSED_LOOK_S, Claim, Terms
from onboarding.store.sql import from_now, seconds
from onboarding.store.tables import attempts, runs
from onboarding.vault import Keyring

_RECORD = (
    update(runs)
    .where(runs.c.id == bindparam("run"), runs.c.fence == bindparam("held"))
    .values(
        starts=0,
        lease_until=None,
        next_attempt_at=from_now(seconds("due_in")),
        nudge_at=from_now(seconds("nudge_in")),
        updated_at=from_now(),
    )
    .returning(runs.c.organization_id)  # it may have got its name in this very step
)
_RECORD_FACTS = _RECORD.values(facts_at=from_now())
_END = (
    update(attempts)
    .where(attempts.c.run_id == bindparam("run"), attempts.c.fence == bindparam("held"))
    .values(ended_at=from_now())
)


def record(db: Connection, claim: Claim, change: Change, keyring: Keyring, terms: Terms) -> Change | None:
    """Write what an attempt came to: run, attempt, token and organisation together, under the claim's fence.

    Returns the change, without `pauses` where the organisation was paused already: one pause is one alert.
    None: the fence moved, as a newer claim, a replay or a cancel moves it. You are late: write nothing more.
    """
    run = claim.run
    changed = {
        "state": change.state,
        "step": change.step,
        "reason": change.reason,
        "tries": change.tries,
        "not_found": change.not_found,
        "reissues": change.reissues,
        "parkings": change.parkings,
        **_learnt(db, run, change.source, keyring),
    }
    statement = _RECORD_FACTS if "contract_type" in changed else _RECORD
    claimed = {"run": run.id, "held": claim.fence}
    written = db.execute(statement, claimed | _waits(change, terms.lease_s) | changed).one_or_none()
    if written is None:
        return None
    _end_attempt(db, claim, change)
    _follow_up(db, claim, change, keyring, written.organization_id)
    if change.pauses and not organizations.pause(db, written.organization_id, change.pauses, run.step):
        return replace(change, pauses=None)
    return change


def _waits(change: Change, lease_s: float) -> dict[str, float | None]:
    """In how many seconds the run is due, and in how many the reconciler should wonder where its message is.

    Waits up to a lease ride in the broker, so the reconciler gives their message a lease's grace; longer
    waits lie in the row alone, and it sends their message itself.
    """
    if change.state not in ACTIVE:
        return {"due_in": None, "nudge_in": None}
    if change.wait_s is not None:
        grace = lease_s if change.wait_s <= lease_s else 0.0
        return {"due_in": change.wait_s, "nudge_in": change.wait_s + grace}
    if change.state is State.WAITING and not change.pauses:
        return {"due_in": None, "nudge_in": None}  # who ends the wait will nudge
    return {"due_in": None, "nudge_in": PAUSED_LOOK_S if change.pauses else lease_s}


def _learnt(db: Connection, run: Run, source: Outcome, keyring: Keyring) -> dict[str, Any]:
    match source:
        case Done():
            learnt: dict[str, Any] = {}
            if source.hris_profile_id is not None:
                learnt["hris_profile_id"] = source.hris_profile_id
            if source.token_expires_at is not None:
                learnt["token_expires_at"] = source.token_expires_at
            if source.facts is not None:
                learnt |= facts.columns(db, keyring, run.contract_id, source.facts)
            return learnt
        case Back():
            return {"token_expires_at": None}
        case Park(dead_issue=int()):
            return {"token_expires_at": None}
        case _:
            return {}


def _end_attempt(db: Connection, claim: Claim, change: Change) -> None:
    ended = {
        "outcome": change.outcome,
        "reason": change.reason,
        "http_status": change.source.http_status,
        "request_id": change.source.request_id,
    }
    db.execute(_END, {"run": claim.run.id, "held": claim.fence} | ended)


def _follow_up(db: Connection, claim: Claim, change: Change, keyring: Keyring, organization_id: str) -> None:
    run, source = claim.run, change.source
    if isinstance(source, Done) and source.issued and run.hris_profile_id:
        tokens.keep(db, keyring, run.hris_profile_id, source.issued)
    if isinstance(source, Back | Park) and source.dead_issue is not None and run.hris_profile_id:
        tokens.bury(db, run.hris_profile_id, source.dead_issue)
    if change.reason is Reason.CONSENT_MISSING and consents.given(db, run.contract_id):
        consents.nudge(db, run.contract_id)  # it came while the step looked
    asked_deel = source.http_status is not None  # a step that found itself done proves nothing
    if claim.probe and change.outcome == "done" and asked_deel:
        organizations.resume_after_probe(db, organization_id, run.step)
