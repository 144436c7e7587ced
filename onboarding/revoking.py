"""Revocations, carried out: the wish lies in the store, Deel is told here, as often as it takes.

A wish is settled by Deel's 2xx or 404, or 25 hours later, when nothing that it was about can live any more. A pause of
the organisation holds none up: it is about onboardings, and this takes away.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

import structlog
from sqlalchemy import Connection

from onboarding import observe
from onboarding.deel import Deel, DeelFailure, TryLater
from onboarding.dialling import time_left, within
from onboarding.failpoints import call, fail_point
from onboarding.runs import Backoff, Reason
from onboarding.store import endings, revocations, upkeep
from onboarding.store.revocations import Result
from onboarding.store.runs import note
from onboarding.vault import VaultError
from onboarding.world import World

log = structlog.get_logger(__name__)

BATCH: Final = 20
ROUND_S: Final = 20.0
CLAIM_S: Final = 60.0
"""More than a round and a call: nobody else is at one of ours."""
LOUD_AFTER: Final = 5
"""Tries until it is an issue in Sentry: by then Deel has been away for more than a moment."""


def revoke_due(world: World, every_s: float) -> int:
    """Tell Deel of each token that must end, and ask it about each ending that nobody signed; returns how many."""
    if not world.store.write(lambda db: upkeep.my_turn(db, "revoke", every_s)):
        return 0
    fail_point("revoke.claiming")
    due = world.store.write(_take)
    fail_point("revoke.claimed")
    settled = 0
    with within(ROUND_S):
        for row in due:
            if time_left() <= 0:  # the others are due again in a minute
                break
            settled += _carry_out(world, row)
    return settled


def _take(db: Connection) -> list[Any]:
    revocations.release(db)
    return revocations.take_due(db, BATCH, CLAIM_S)


def _carry_out(world: World, row: Any) -> bool:
    """False: not yet."""
    if row.nothing_lives:
        result = Result.NOT_CONFIRMED if row.confirm else Result.LAPSED
        log.error("revocation_lapsed", contract_id=row.contract_id, why=row.why, result=result, reason=row.reason)
        return _record(world, lambda db: revocations.settle(db, row, result))
    try:
        return _confirm(world, row) if row.confirm else _revoke(world, row)
    except DeelFailure as failure:
        return _again(world, row, failure)
    except VaultError:  # the organisation's own token
        return _again(world, row, TryLater(Reason.VAULT_LOCKED))


def _revoke(world: World, row: Any) -> bool:
    receipt = call("revoke", lambda: _deel(world, row).delete_session(row.hris_profile_id))
    log.info("token_revoked", contract_id=row.contract_id, why=row.why, http_status=receipt.status)

    def settle(db: Connection) -> None:
        revocations.settle(db, row, Result.REVOKED, receipt.status, receipt.request_id)
        revocations.release(db)
        note(db, "upkeep", "token_revoked", row.why, row)

    return _record(world, settle)


def _confirm(world: World, row: Any) -> bool:
    """Nobody signed it: Deel knows whether the contract has ended."""
    contract = call("revoke", lambda: _deel(world, row).contract(row.contract_id))
    if contract.has_ended(datetime.now(UTC)):
        log.info("ending_confirmed", contract_id=row.contract_id, status=contract.status)
        lease_s = world.terms.lease_s
        return _record(world, lambda db: endings.terminate(db, row.contract_id, row.organization_id, lease_s))
    log.warning("ending_not_confirmed", contract_id=row.contract_id, status=contract.status)
    return _record(world, lambda db: revocations.settle(db, row, Result.NOT_CONFIRMED, contract.receipt.status))


def _again(world: World, row: Any, failure: DeelFailure) -> bool:
    after_s = failure.after_s if isinstance(failure, TryLater) else None
    wait_s = Backoff().wait_s(row.tries, after_s, world.draw)
    reason, status, request_id = failure.reason, failure.status, failure.request_id
    said = {"contract_id": row.contract_id, "why": row.why, "reason": reason, "http_status": status}
    log.warning("revocation_again", **said, request_id=request_id, tries=row.tries, wait_s=wait_s)
    if row.tries == LOUD_AFTER:
        observe.report_revocation(row.contract_id, row.why, reason, row.organization_id)
    again = revocations.again
    _record(world, lambda db: again(db, row, wait_s, reason=reason, http_status=status, request_id=request_id))
    return False


def _deel(world: World, row: Any) -> Deel:
    return world.clients.of(row.organization_id)


def _record(world: World, write: Callable[[Connection], None]) -> bool:
    fail_point("revoke.recording")
    world.store.write(write)
    fail_point("revoke.recorded")
    return True
