"""What may safely be typed next, for runs in one state with one reason."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from onboarding.runs import PAUSING, Reason, State

_NAMED: Final = 5
"""So many contracts at most stand in a command that is proposed."""
_DOCTOR_KNOWS: Final = (Reason.DEEL_UNAVAILABLE, Reason.NOTIFY_UNAVAILABLE, Reason.VAULT_LOCKED)
_OVER: Final = (Reason.NOT_EOR, Reason.CONTRACT_TERMINATED, Reason.ERASED)
_LOOK_FIRST: Final = (Reason.CRASH_LOOP, Reason.REQUEST_REJECTED)


def advice_of(reason: str | None) -> str:
    """The reason's line; empty for none, and for one of a newer release."""
    try:
        return Reason.of(reason).advice if reason else ""
    except KeyError:
        return ""


def next_commands(rows: Sequence[Any]) -> list[str]:
    """For runs that share state and reason; empty where there is nothing to do but wait."""
    first = rows[0]
    contracts = " ".join(row.contract_id for row in rows) if len(rows) <= _NAMED else first.contract_id
    match first.state:
        case State.COMPLETED:
            return [f'onboarding token {first.contract_id} --because "..."']
        case State.FAILED if first.reason == Reason.NOT_EOR:
            return [f"onboarding cancel {contracts}"]
        case State.FAILED if first.reason == Reason.IDENTITY_MISMATCH:  # the facts are learnt anew, or it fails again
            return [f"onboarding show {first.contract_id}", f"onboarding replay {contracts} --from contract_created"]
        case State.CANCELLED | State.FAILED if first.reason in _OVER:
            return []
        case State.FAILED if first.reason in _LOOK_FIRST:
            return [f"onboarding show {first.contract_id}", f"onboarding replay {contracts}"]
        case State.FAILED | State.CANCELLED:
            return [f"onboarding replay {contracts}"]
        case State.WAITING if first.reason in PAUSING:
            doctor = [] if first.reason == Reason.PAUSED else ["onboarding doctor"]
            organizations = dict.fromkeys(row.organization_id for row in rows)
            return doctor + [f"onboarding resume {organization}" for organization in organizations]
        case State.WAITING if first.reason in _DOCTOR_KNOWS:
            return ["onboarding doctor"]
        case State.WAITING if first.reason == Reason.CONSENT_MISSING:
            return [f'onboarding consent {first.contract_id} --evidence "..." --version "..."']
        case _:
            return []


def commanded(rows: Sequence[Any]) -> int:
    """How many runs of them `next_commands` deals with."""
    if rows[0].state == State.WAITING and rows[0].reason == Reason.CONSENT_MISSING:
        return 1
    by_organization = rows[0].state == State.WAITING
    return len(rows) if by_organization or len(rows) <= _NAMED else 1
