"""What an understood event asks for. Webhooks come twice, late, out of order or not at all: `contract.created` too.

So whatever names an EOR contract may start its run, once, whichever comes first; what comes after wakes a run that
waits for what Deel did not know yet. What names a worker and no contract (`worker.v2.created` has a profile's id, and
`employee.created.eor` and `onboarding.status.updated` are not documented to have more) finds the run by the profile,
or is filed with nothing to do. Source: Deel's API, webhook event types and event pages.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import TYPE_CHECKING, Final

from onboarding import deel_events
from onboarding.envelopes import Source, absent

if TYPE_CHECKING:
    from collections.abc import Mapping

CONSENT_GIVEN: Final = "worker.consent.given"
CONSENT_WITHDRAWN: Final = "worker.consent.withdrawn"

_NEWS: Final = frozenset((deel_events.EMPLOYEE_CREATED, deel_events.WORKER_CREATED, deel_events.ONBOARDING_UPDATED))
"""Statuses that end a run. Not `completed`: which contracts get it, and when, is documented nowhere."""
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


class Meaning(Enum):
    """What is to be done about it."""

    START = "start"  # a run, unless its contract has one
    NEWS = "news"  # of a contract or a worker: starts nothing, may wake a run
    ENDING = "ending"  # the contract has ended
    CONSENT = "consent"  # the worker's, given or withdrawn


def meaning_of(event_type: str, fields: Mapping[str, object], source: Source) -> Meaning | None:
    """None: it is not understood. `fields`, the contract's or the worker's, are believed only to hold us back."""
    match event_type:
        case deel_events.CONTRACT_CREATED:
            return Meaning.START
        case deel_events.CONTRACT_TERMINATED:
            return Meaning.ENDING
        case deel_events.STATUS_UPDATED if fields.get("status") in deel_events.CUT_SHORT:
            return Meaning.ENDING
        case deel_events.STATUS_UPDATED:
            starts = fields.get("status") not in deel_events.ENDED and _may_be_eor(fields.get("type"), source)
            return Meaning.START if starts else Meaning.NEWS
        case deel_events.EMPLOYEE_CREATED:
            return Meaning.START if _names_contract(fields) else Meaning.NEWS
        case deel_events.ONBOARDING_UPDATED:
            starts = _names_contract(fields) and fields.get("hiring_type") == deel_events.EOR
            return Meaning.START if starts else Meaning.NEWS
        case deel_events.WORKER_CREATED:  # of whatever kind of contract
            return Meaning.NEWS
        case str() if event_type in (CONSENT_GIVEN, CONSENT_WITHDRAWN) and source is not Source.DEEL:
            return Meaning.CONSENT
        case _:
            return None


def profile_of(event_type: str, fields: Mapping[str, object]) -> str | None:
    """The HRIS profile's id that a worker's event carries. One of another thing finds no run: they are UUIDs."""
    if event_type not in _NEWS:
        return None
    worker = fields.get("worker")
    within = worker.get("id") if isinstance(worker, dict) else None
    for named in (fields.get("hris_profile_id"), within, fields.get("id")):
        if isinstance(named, str) and _UUID.fullmatch(named):
            return named.lower()
    return None


def tells_type(event_type: str) -> bool:
    """Whether its field `type` is the contract's."""
    return event_type not in _NEWS


def _names_contract(fields: Mapping[str, object]) -> bool:
    return not (absent(fields.get("contract_id")) and absent(fields.get("contract_oid")))


def _may_be_eor(contract_type: object, source: Source) -> bool:
    """The plain form's `type` is the event's; what names none is asked of Deel."""
    return source is Source.PLAIN or absent(contract_type) or contract_type == deel_events.EOR
