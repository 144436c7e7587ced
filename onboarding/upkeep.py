"""Upkeep: nudge the runs that nothing carries, tell of failures, let what is old go. Safe to do twice at once."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import datetime
from typing import Any

import structlog
from sqlalchemy import Connection

from onboarding import notify, renewals
from onboarding.access import Access
from onboarding.deel import PauseOrganisation
from onboarding.dialling import time_left, within
from onboarding.failpoints import fail_point
from onboarding.issuing import Waits
from onboarding.no_token import NotNow, NoToken, OrganisationPaused
from onboarding.notify import Answer, Target, Verdict
from onboarding.runs import Backoff, Reason
from onboarding.steps import keep_answer
from onboarding.store import alive, consents, notifications, organizations, retention, tokens, upkeep
from onboarding.store.engine import Store
from onboarding.store.retention import Batch, Retention
from onboarding.turns import Nudge, send_due
from onboarding.vault import VaultError
from onboarding.world import World

log = structlog.get_logger(__name__)

BATCH = 100
RETIRE_EVERY_S = 3600.0
RETIRE_S = 5.0
"""For each kind of row in a round: together half of what a task may take."""
ROUND_S = 20.0
POSTPONED_S = 3600.0
"""Before a token is looked at again that cannot be renewed for a reason of its own."""
CLAIM_S = 60.0
"""For how long a message that one round is sending is left alone by all others."""


def reconcile(world: World, nudge: Nudge, every_s: float) -> int:
    """Send a message for each run whose time has come or whose message is lost; returns how many.

    `nudge` returns False when the broker is away: what was not sent is due again at the next turn.
    """
    if not world.store.write(lambda db: upkeep.my_turn(db, "reconcile", every_s)):
        return 0
    fail_point("upkeep.recording")
    world.store.write(lambda db: _keep_house(db, world))
    fail_point("upkeep.recorded")
    sent = send_due(world.store, world.line, nudge, soon_s=every_s)
    if sent:
        log.info("runs_nudged", count=len(sent))
    return len(sent)


def _keep_house(db: Connection, world: World) -> None:
    """What makes runs due but for their own times; and no token stays in the vault beyond its end."""
    mended = upkeep.mend_clock(db, world.terms.lease_s)
    if mended:
        log.warning("clock_jumped_back", runs=mended)
    organizations.nudge_probes(db)
    if not world.consent_required:
        consents.nudge_all(db)
    tokens.forget_expired(db)


def start_over(world: World) -> None:
    """After a restart of a broker that keeps nothing: go on at once with every run that is due."""
    world.store.write(upkeep.no_message_is_left)


def tell_failures(world: World, every_s: float) -> int:
    """Send onboarding.failed for parked runs, to every target that does not have it; returns how many are settled."""
    if not world.store.write(lambda db: upkeep.my_turn(db, "tell_failures", every_s)):
        return 0
    told = 0
    with within(ROUND_S):  # one target that hangs must not hold this worker for a hundred calls
        for row in world.store.read(lambda db: upkeep.untold_failures(db, BATCH)):
            if time_left() <= 0:
                break
            told += _tell_failure(world, row)
    return told


def keep_alive(world: World) -> int:
    """Renew the tokens that are due of workers who are kept alive, as many as a budget's share is; how many."""
    if not world.store.write(lambda db: upkeep.my_turn(db, "keep_alive", renewals.EVERY_S)):
        return 0
    left: dict[str, int] = {}  # of each token for Deel: organisations that share one share its budget
    renewed = 0
    # who would have to wait for another process is due again at the next look
    with closing(replace(Access.of(world), waits=Waits(patience_s=0.0))) as access, within(ROUND_S):
        kept = world.store.read(alive.organizations)
        for organization_id in sorted(kept, key=lambda _: world.draw()):  # none is the last in every round
            try:
                client = world.clients.client(organization_id)
            except PauseOrganisation:  # no token serves it: its runs say so
                continue
            share = left.setdefault(client.fingerprint, renewals.per_round(client.budget.rate))
            done = _renew_due(access, organization_id, share)
            left[client.fingerprint] -= done
            renewed += done
    if renewed:
        log.info("tokens_kept_alive", count=renewed)
    return renewed


def _renew_due(access: Access, organization_id: str, limit: int) -> int:
    """Of one organisation. What could not be renewed is due again later, and what waits for Deel at the next look."""
    renewed = 0
    for row in access.store.read(lambda db: alive.due(db, organization_id, limit)):
        if time_left() <= 0:
            break
        after_s, why = POSTPONED_S, ""
        try:
            access.renew(row.contract_id, who="upkeep", because="kept alive", min_life_s=renewals.SHORT_S)
            renewed += 1
            continue
        except OrganisationPaused:
            break  # said once, by who paused it
        except NotNow as none:
            after_s, why = none.after_s or renewals.EVERY_S, none.reason or "busy"
        except NoToken as none:
            why = none.reason or type(none).__name__
        except VaultError:
            why = Reason.VAULT_LOCKED
        log.warning("token_not_kept_alive", contract_id=row.contract_id, why=why)
        _postpone(access.store, row.hris_profile_id, after_s)
        if after_s < POSTPONED_S:
            break
    return renewed


def _postpone(store: Store, profile: str, after_s: float) -> None:
    store.write(lambda db: alive.postpone(db, profile, after_s))


def retire(world: World) -> None:
    """Delete what has been kept long enough, in batches: each is a short transaction of its own.

    What the time of a round does not suffice for, is the next one's: this worker has onboardings to do.
    """
    if not world.store.write(lambda db: upkeep.my_turn(db, "retire", RETIRE_EVERY_S)):
        return
    total = {kind: count for kind, batch in retention.KINDS.items() if (count := _retire(world, batch))}
    if total:
        log.info("retired", **total)


def _retire(world: World, batch: Callable[[Connection, Retention, datetime | None], Batch]) -> int:
    deleted, after = 0, None
    with within(RETIRE_S):
        while time_left() > 0:
            done = world.store.write(lambda db, after=after: batch(db, world.retention, after))  # type: ignore[misc]
            deleted, after = deleted + done.deleted, done.after
            if after is None:
                break
    return deleted


def _tell_failure(world: World, run: Any) -> bool:
    message_id = notify.message_id(run.id, notify.FAILED, run.parkings)
    gone = world.store.read(lambda db: notifications.gone(db, run.id))
    targets = {target.name: target for target in world.targets if target.name not in gone}
    world.store.write(lambda db: notifications.prepare(db, run.id, message_id, targets))
    for row in world.store.write(lambda db: notifications.take_due(db, message_id, CLAIM_S)):
        if row.target in targets:
            _try(world, targets[row.target], run, row)
    if world.store.read(lambda db: notifications.is_open(db, message_id, targets)):
        return False
    world.store.write(lambda db: upkeep.mark_told(db, run.id, run.parkings))
    return True


def _try(world: World, target: Target, run: Any, row: Any) -> None:
    fail_point("upkeep.calling")
    answer = target.send(notify.failed(run, row.created_at))
    fail_point("upkeep.called")
    if answer.verdict is Verdict.LATER and row.tries + 1 >= notify.MAX_TRIES:
        answer = Answer(Verdict.REFUSED, answer.http_status)
    wait_s = Backoff(base_s=4.0).wait_s(row.tries, None, world.draw)
    keep_answer(world, row.message_id, target.name, answer, wait_s)
