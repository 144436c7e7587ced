"""The record of what an attempt came to: the claim's fence stands in every `where`."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any, Final

from sqlalchemy import Connection, Select, bindparam, select, update
from sqlalchemy.sql.dml import ReturningUpdate

from onboarding.runs import ACTIVE, Back, Change, Done, Later, Outcome, Park, Reason, Run, State
from onboarding.store import consents, endings, facts, organizations, tokens
from onboarding.store.claims import PAUSED_LOOK_S, Claim, Terms
from onboarding.store.engine import Store
from onboarding.store.sql import from_now, seconds
from onboarding.store.tables import attempts, runs
from onboarding.vault import Keyring

_HELD = (runs.c.id == bindparam("run")) & (runs.c.fence == bindparam("held"))
_STILL_HELD = select(runs.c.id).where(_HELD).with_for_update()
_ATTEMPT: Final[dict[str, Any]] = {
    name: bindparam(f"end_{name}") for name in ("outcome", "reason", "http_status", "request_id")
}
_END = update(attempts).values(ended_at=from_now(), **_ATTEMPT)
_END_OF_RUN = _END.where(attempts.c.run_id == bindparam("run"), attempts.c.fence == bindparam("held"))


@cache
def _record_of(columns: frozenset[str]) -> ReturningUpdate[Any]:
    """The statement that writes these columns of a run, among what every record writes."""
    written: dict[str, Any] = {name: bindparam(f"set_{name}") for name in columns}
    if "contract_type" in columns:
        written["facts_at"] = from_now()
    return (
        update(runs)
        .where(_HELD)
        .values(
            starts=0,
            lease_until=None,
            next_attempt_at=from_now(seconds("due_in")),
            nudge_at=from_now(seconds("nudge_in")),
            updated_at=from_now(),
            **written,
        )
        .returning(runs.c.id, runs.c.fence, runs.c.organization_id)  # it may have got its name in this very step
    )


@cache
def _record_and_end_of(columns: frozenset[str]) -> Select[Any]:
    """The same and the attempt's end, in one statement, for PostgreSQL."""
    recorded = _record_of(columns).cte("recorded")
    mine = (attempts.c.run_id == recorded.c.id) & (attempts.c.fence == recorded.c.fence)
    return select(recorded.c.organization_id).add_cte(_END.where(mine).cte("ended"))


def keep(store: Store, claim: Claim, change: Change, keyring: Keyring, terms: Terms) -> Change | None:
    """Write what an attempt came to: run, attempt, token and organisation together, under the claim's fence.

    Returns the change, without `pauses` where the organisation was paused already: one pause is one alert.
    None: the fence moved, as a newer claim, a replay or a cancel moves it. You are late: write nothing more.
    Raises StoreUnavailable, and VaultError where what was learnt cannot be sealed.
    """
    if not _concerns_others(claim, change):  # one statement, then: four round trips less

        def alone(db: Connection) -> str | None:
            return _write(db, claim, change, _learnt(db, claim.run, change.source, keyring), terms)

        return change if store.write_one(alone) is not None else None
    return store.write(lambda db: record(db, claim, change, keyring, terms))


def _concerns_others(claim: Claim, change: Change) -> bool:
    """Whether more than the run and its attempt is to be written, or read on the way."""
    match change.source:
        case Done(facts=None, issued=None):
            return claim.probe
        case Later():
            return False
        case _:
            return True


def record(db: Connection, claim: Claim, change: Change, keyring: Keyring, terms: Terms) -> Change | None:
    """`keep`, as part of a transaction."""
    run = claim.run
    if isinstance(change.source, Done) and change.source.facts is not None and not _is_held(db, claim):
        return None  # before a data key is made for them: the worker may have been erased meanwhile
    organization_id = _write(db, claim, change, _learnt(db, run, change.source, keyring), terms)
    if organization_id is None:
        return None
    _follow_up(db, claim, change, keyring, organization_id)
    if isinstance(change.source, Park) and change.reason is Reason.CONTRACT_TERMINATED:
        endings.revoke_ended(db, run.contract_id, organization_id, terms.lease_s)
    if change.pauses and not organizations.pause(db, organization_id, change.pauses, run.step):
        return replace(change, pauses=None)
    return change


def _is_held(db: Connection, claim: Claim) -> bool:
    return db.execute(_STILL_HELD, {"run": claim.run.id, "held": claim.fence}).first() is not None


def _write(db: Connection, claim: Claim, change: Change, learnt: dict[str, Any], terms: Terms) -> str | None:
    """Run and attempt. Returns the run's organisation; None: the fence moved."""
    changed = {
        "state": change.state,
        "step": change.step,
        "reason": change.reason,
        "tries": change.tries,
        "not_found": change.not_found,
        "reissues": change.reissues,
        "parkings": change.parkings,
        **learnt,
    }
    columns = frozenset(changed)
    said = {"run": claim.run.id, "held": claim.fence}
    values = said | _waits(change, terms.lease_s) | {f"set_{name}": value for name, value in changed.items()}
    ended = _ended(change)
    if db.dialect.name == "postgresql":
        row = db.execute(_record_and_end_of(columns), values | ended).one_or_none()
    else:
        row = db.execute(_record_of(columns), values).one_or_none()
        if row is not None:
            db.execute(_END_OF_RUN, said | ended)
    return row.organization_id if row is not None else None


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


def _ended(change: Change) -> dict[str, Any]:
    return {
        "end_outcome": change.outcome,
        "end_reason": change.reason,
        "end_http_status": change.source.http_status,
        "end_request_id": change.source.request_id,
    }


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
