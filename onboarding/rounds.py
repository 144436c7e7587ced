"""The backfill on a schedule: what no webhook told is found all the same. One page of a list at a time.

Deel's list has no "made since", and no order by date is documented: the newest first is asked for
(`order_direction=desc`), and the list read to its end. Where it has come to is kept with what a page made, in one
transaction, so that a crash repeats one page at most.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import structlog
from sqlalchemy import Connection

from onboarding import backfill
from onboarding.clients import learn_home
from onboarding.deel import DeelFailure, ParkRun, TryLater
from onboarding.dialling import time_left, within
from onboarding.failpoints import call, fail_point
from onboarding.runs import Reason
from onboarding.store import backfills, org_tokens, organizations, upkeep
from onboarding.store import line as lines
from onboarding.store.events import HOME, Filing
from onboarding.turns import Nudge, send_due
from onboarding.vault import VaultError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onboarding.world import World

log = structlog.get_logger(__name__)

ROUND_S: Final = 20.0
LATER_S: Final = 60.0
MUCH_LATER_S: Final = 900.0
MOST_PAGES: Final = 10_000
"""Of a list whose cursors go in a circle there is no end."""


def go_on(world: World, nudge: Nudge, every_s: float) -> int:
    """Read one more page of each organisation's list that is due; returns how many runs were made of them.

    A page is one call every `every_s` seconds, whatever the budget is, and its runs wait behind those of new events.
    """
    if not world.backfill_s or not world.store.write(lambda db: upkeep.my_turn(db, "backfill", every_s)):
        return 0
    known = _organizations(world)
    world.store.write(lambda db: backfills.know(db, known, world.backfill_s))
    made = 0
    with within(ROUND_S):
        for row in world.store.read(backfills.due):
            if time_left() <= 0:
                break
            if row.organization_id in known:
                made += _go_on(world, row, nudge)
    return made


def _organizations(world: World) -> Sequence[str]:
    """Those that have a list of their own: one for each token."""
    own = [row.id for row in world.store.read(org_tokens.fingerprints)]
    home = world.clients.home
    if home is None:
        return own
    found = world.store.read(lambda db: organizations.home(db, home.fingerprint))
    if found is None:
        with suppress(DeelFailure):  # the list will say so, too
            found = learn_home(world.store, home, home.deel.organization_id)
    return list(dict.fromkeys([found or HOME, *own]))


def _go_on(world: World, row: Any, nudge: Nudge) -> int:
    organization_id = row.organization_id
    if world.store.read(lambda db: lines.waiting_behind(db, organization_id)) >= backfill.MOST_WAITING:
        return 0
    try:
        ask = world.clients.of(organization_id).contracts
        found = call("backfill", lambda: ask(types=("eor",), cursor=row.cursor))
    except (DeelFailure, VaultError) as failure:
        _put_off(world, row, failure)
        return 0
    now = datetime.now(UTC)
    oldest = max(row.known_at, now - timedelta(seconds=world.retention.runs_s))
    ended = found.next_cursor in (None, row.cursor) or row.pages >= MOST_PAGES
    filing = Filing(world.keyring, organization_id, world.line)

    def keep(db: Connection) -> int:
        if not backfills.read(db, row, found.next_cursor):
            return 0  # another process has read it meanwhile
        made = backfill.file_page(db, filing, organization_id, found, oldest, undated=False)
        backfills.count(db, organization_id, made, ended_s=world.backfill_s if ended else None)
        return made

    fail_point("backfill.recording")
    made = world.store.write(keep)
    fail_point("backfill.recorded")
    if made:
        log.info("backfill_found", organization_id=organization_id, runs=made)
        send_due(world.store, world.line, nudge, [organization_id])
    return made


def _put_off(world: World, row: Any, failure: DeelFailure | VaultError) -> None:
    """The next try of this page; a cursor that Deel takes no more begins the list anew."""
    reason = failure.reason if isinstance(failure, DeelFailure) else Reason.VAULT_LOCKED
    due_s = LATER_S if isinstance(failure, TryLater) else MUCH_LATER_S
    anew = isinstance(failure, ParkRun) and row.cursor is not None
    world.store.write(lambda db: backfills.put_off(db, row, reason, due_s, anew=anew))
    log.info("backfill_put_off", organization_id=row.organization_id, reason=reason, seconds=due_s)
