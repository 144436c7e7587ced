"""What ends a worker's token: the contract has ended, the consent is withdrawn, the worker is erased.

Each is one transaction: the token leaves the vault at once, the run's fence moves, so that nothing which a step in
flight still learns is written, and the revocation at Deel is wished. Doing it again changes nothing that was done.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Connection, Row, bindparam, case, select, update

from onboarding.consent_events import Evidence
from onboarding.runs import ACTIVE, Reason, State, Step
from onboarding.store import consents, data_keys, facts, revocations, tokens
from onboarding.store.claims import mark_crashed
from onboarding.store.revocations import Cause, Result
from onboarding.store.runs import note
from onboarding.store.sql import from_now, one_of
from onboarding.store.tables import runs, worker_tokens

_AT_A_TOKEN: Final = (Step.ISSUE_TOKEN, Step.VERIFY_TOKEN, Step.NOTIFY)
_HOLDS_ONE: Final = (Step.VERIFY_TOKEN, Step.NOTIFY)
_RUN = select(runs).where(runs.c.contract_id == bindparam("contract")).with_for_update()
_TOKEN = select(worker_tokens).where(worker_tokens.c.hris_profile_id == bindparam("of")).with_for_update()
_NEEDED = select(runs.c.contract_id).where(
    runs.c.hris_profile_id == bindparam("of"),
    runs.c.contract_id != bindparam("contract"),
    runs.c.state != State.CANCELLED,
    one_of(runs.c.step, _HOLDS_ONE),
)
_STOPPED: Final[dict[str, Any]] = {
    "fence": runs.c.fence + 1,
    "lease_until": None,
    "next_attempt_at": None,
    "nudge_at": None,
    "token_expires_at": None,
    "updated_at": from_now(),
}
_THIS = update(runs).where(runs.c.id == bindparam("run"))
_CANCEL = _THIS.values(**_STOPPED, state=State.CANCELLED, keep_alive=False)
_FORGET = _THIS.values(emails_sealed=None, facts_at=None)
_GOES_ON = runs.c.state.in_((*ACTIVE, State.COMPLETED))
_WAIT = _THIS.where(one_of(runs.c.step, _AT_A_TOKEN)).values(
    **_STOPPED,
    step=Step.ISSUE_TOKEN,
    state=case((_GOES_ON, State.WAITING), else_=runs.c.state),
    reason=case((_GOES_ON, Reason.CONSENT_MISSING), else_=runs.c.reason),
    tries=0,
    not_found=0,
    starts=0,
    reissues=0,
)


def terminate(db: Connection, contract_id: str, organization_id: str, lease_s: float) -> None:
    """The contract has ended: its run is cancelled, and the token revoked unless another contract needs it."""
    run = db.execute(_RUN, {"contract": contract_id}).one_or_none()
    if run is not None:
        if run.reason != Reason.ERASED:  # which is more
            _stop(db, run, _CANCEL, reason=Reason.CONTRACT_TERMINATED)
        note(db, "deel", "terminate", "the contract has ended", run)
        organization_id = run.organization_id
    _cut_off(db, Cause.TERMINATED, run, (contract_id, organization_id), lease_s)


def revoke_ended(db: Connection, contract_id: str, organization_id: str, lease_s: float) -> None:
    """Deel told a step of the run that the contract has ended: the run stands parked for it, the token is revoked."""
    run = db.execute(_RUN, {"contract": contract_id}).one()
    db.execute(_THIS.values(keep_alive=False, token_expires_at=None), {"run": run.id})
    _cut_off(db, Cause.TERMINATED, run, (contract_id, organization_id), lease_s)


def decide(db: Connection, contract_id: str, said: Evidence, *, given: bool, required: bool, lease_s: float) -> None:
    """Put a consent or its withdrawal on record. The latest decision counts, whatever came last.

    Withdrawn, where consent is `required`: the run waits for another one, and the token is revoked.
    """
    run = db.execute(_RUN, {"contract": contract_id}).one_or_none()
    consents.record(
        db,
        contract_id,
        evidence=said.evidence,
        version=said.version,
        who=said.who,
        channel=said.channel,
        decided_at=said.decided_at,
        given=given,
    )
    if required and run is not None and not given and not consents.given(db, contract_id):
        _stop(db, run, _WAIT)
        _cut_off(db, Cause.WITHDRAWN, run, (contract_id, run.organization_id), lease_s)


def erase(db: Connection, contract_ids: Sequence[str], lease_s: float) -> None:
    """Destroy every data key of the worker of these contracts: all of the worker's, or it would not be whole."""
    subjects = [facts.subject_of(contract) for contract in contract_ids]
    going = [db.execute(_RUN, {"contract": contract}).one() for contract in sorted(contract_ids)]
    for run in going:  # all of them before any token: none of them needs it
        _stop(db, run, _CANCEL, reason=Reason.ERASED)
        db.execute(_FORGET, {"run": run.id})
    for run in going:
        if run.hris_profile_id is not None:
            subjects += tokens.subjects_of(db, run.hris_profile_id)
        _cut_off(db, Cause.ERASED, run, (run.contract_id, run.organization_id), lease_s)
        consents.redact(db, run.contract_id)
    data_keys.erase(db, subjects)


def _stop(db: Connection, run: Row[Any], how: Any, **values: Any) -> None:
    if db.execute(how, {"run": run.id, **values}).rowcount:
        mark_crashed(db, run.id)


def _is_needed(db: Connection, cause: Cause, profile: str, contract_id: str) -> bool:
    """Whether another contract keeps the worker's one token: where consent counts, only one that the worker gave it."""
    others = db.execute(_NEEDED, {"of": profile, "contract": contract_id}).scalars().all()
    return any(cause is not Cause.WITHDRAWN or consents.given(db, other) for other in others)


def _cut_off(db: Connection, cause: Cause, run: Row[Any] | None, named: tuple[str, str], lease_s: float) -> None:
    """Out of the vault now, at Deel soon: after a lease where an issue is under way whose answer is not here."""
    profile = run.hris_profile_id if run is not None else None
    contract_id, organization_id = named
    # the token's row is locked first: of two contracts that end at once, the later one sees the other ended
    token = db.execute(_TOKEN, {"of": profile}).one_or_none() if profile is not None else None
    result = None
    if profile is None:
        result = Result.NOTHING
    elif _is_needed(db, cause, profile, contract_id):
        result = Result.KEPT
    unanswered = token is not None and token.stored_issue != token.issue_number
    due_in = lease_s if unanswered else 0.0
    revocations.want(db, cause, contract_id, organization_id, profile, due_in=due_in)
    if result is not None:
        revocations.settle_now(db, contract_id, cause, result)
    elif token is not None and profile is not None:  # without one of ours Deel is told all the same: a store can forget
        tokens.bury(db, profile, token.issue_number)
