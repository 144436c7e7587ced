"""Runs for contracts whose webhook never came: one call for each page of Deel's list, none for each contract."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Connection
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt

from onboarding.deel import Contract, ContractPage, Deel, TryLater
from onboarding.deel_events import CUT_SHORT, ENDED
from onboarding.envelopes import Source
from onboarding.events import Ending, Event
from onboarding.runs import Backoff
from onboarding.store import events
from onboarding.store.engine import Store
from onboarding.store.events import Filing
from onboarding.told import Told

TYPE: Final = "contract.listed"
TRIES: Final = 5
MOST_WAITING: Final = 200
"""The next page is asked for when fewer wait: what Deel's list tells is used while it is fresh, for ten minutes."""
LONGEST_WAIT_S: Final = 60.0
"""Who waits for longer, whatever Deel asks for, is told and may begin again later."""


@dataclass(frozen=True)
class Page:
    """What became of one page of the list, as counts of contracts; `made`: of runs."""

    listed: int
    passed_over: int  # ended, too old, or unreadable
    made: int


def pages(
    store: Store, deel: Deel, filing: Filing, organization_id: str, since: datetime | None = None
) -> Iterator[Page]:
    """Ask Deel for one page after the other, and make a run for each contract of it that has none.

    Each is one call and one transaction; contracts made before `since` are passed over, those of which Deel tells no
    date are not. May be broken off and repeated: a contract that has a run gets no other.
    Raises DeelFailure, StoreUnavailable or VaultError.
    """
    cursor: str | None = None
    seen: set[str | None] = {None}
    while True:
        found = _ask(deel, cursor)
        yield _filed(store, filing, organization_id, found, since)
        cursor = found.next_cursor
        if cursor in seen:  # Deel does not say what the last page's is: empty, absent and repeated all end the list
            return
        seen.add(cursor)


def _filed(store: Store, filing: Filing, organization_id: str, found: ContractPage, since: datetime | None) -> Page:
    made = store.write(lambda db: file_page(db, filing, organization_id, found, since))
    listed = len(found.contracts) + found.skipped
    return Page(listed, listed - sum(_is_wanted(contract, since) for contract in found.contracts), made)


def file_page(
    db: Connection,
    filing: Filing,
    organization_id: str,
    found: ContractPage,
    since: datetime | None,
    *,
    undated: bool = True,
) -> int:
    """Make a run for each contract of the page that has none; returns how many. `undated`: of those without a date.

    The run of one that has ended is cancelled, and its worker's token revoked, as by the webhook that never came.
    """
    ended = [each for each in found.contracts if each.type == "eor" and each.status in CUT_SHORT]
    events.file_ended(db, [_ending(each, organization_id) for each in ended], filing)
    wanted = [contract for contract in found.contracts if _is_wanted(contract, since, undated=undated)]
    if not wanted:
        return 0
    new = events.list_new(db, [contract.id for contract in wanted])
    return events.file_listed(db, [_event(each, organization_id) for each in wanted if each.id in new], filing)


def _ask(deel: Deel, cursor: str | None) -> ContractPage:
    """One page, asked for again where Deel says so or has a bad moment: to begin anew would cost every page again."""
    asking = Retrying(
        retry=retry_if_exception_type(TryLater), stop=stop_after_attempt(TRIES), wait=_wait_s, reraise=True
    )
    return asking(deel.contracts, types=("eor",), cursor=cursor)


def _wait_s(state: RetryCallState) -> float:
    failure = state.outcome.exception() if state.outcome else None
    asked_s = failure.after_s if isinstance(failure, TryLater) else None
    return min(LONGEST_WAIT_S, max(asked_s or 0.0, Backoff().base_s * 2.0 ** (state.attempt_number - 1)))


def _is_wanted(contract: Contract, since: datetime | None, *, undated: bool = True) -> bool:
    # dropped here and not by Deel, whose filter knows fewer statuses than its answers have: one that it does not know
    # would never be found
    if contract.type != "eor" or contract.status in ENDED:
        return False
    if contract.created_at is None:
        return undated
    return since is None or contract.created_at >= since


def _ending(contract: Contract, organization_id: str) -> Ending:
    named = f"backfill {organization_id} {contract.id} has ended"
    return Ending(
        dedup_key=hashlib.sha256(named.encode()).hexdigest(),
        source=Source.BACKFILL,
        type=TYPE,
        contract_id=contract.id,
        organization_id=organization_id,
        signed=True,  # Deel says so itself
    )


def _event(contract: Contract, organization_id: str) -> Event:
    named = f"backfill {organization_id} {contract.id}"
    return Event(
        dedup_key=hashlib.sha256(named.encode()).hexdigest(),
        source=Source.BACKFILL,
        type=TYPE,
        contract_id=contract.id,
        organization_id=organization_id,
        signed=False,
        told=Told(contract.type, contract.emails, contract.hris_profile_id),
        behind=True,
    )
