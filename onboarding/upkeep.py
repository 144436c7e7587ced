"""Upkeep: nudge the runs that nothing carries, tell of failures, let what is old go. Safe to do twice at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import structlog

from onboarding import notify
from onboarding.failpoints import fail_point
from onboarding.notify import Answer, Target, Verdict
from onboarding.runs import Backoff, Step
from onboarding.steps import keep_answer
from onboarding.store import notifications, upkeep
from onboarding.world import World

log = structlog.get_logger(__name__)

BATCH = 100
RETIRE_EVERY_S = 3600.0


@dataclass(frozen=True)
class Due:
    """A run to send a message for."""

    run_id: str
    contract_id: str
    step: Step


def reconcile(world: World, nudge: Callable[[Due], bool], every_s: float) -> int:
    """Send a message for each run whose time has come or whose message is lost; returns how many.

    `nudge` returns False when the broker is away: the row already names the next look, so that nothing is lost.
    """
    if not world.store.write(lambda db: upkeep.my_turn(db, "reconcile", every_s)):
        return 0
    sent = 0
    while True:
        fail_point("upkeep.recording")
        rows = world.store.write(lambda db: upkeep.take_due(db, BATCH, world.terms.lease_s))
        fail_point("upkeep.recorded")
        for row in rows:
            if not nudge(Due(row.id, row.contract_id, Step(row.step))):
                return sent
            sent += 1
        if len(rows) < BATCH:
            if sent:
                log.info("runs_nudged", count=sent)
            return sent


def start_over(world: World) -> None:
    """After a restart of a broker that keeps nothing: go on at once with every run that is due."""
    world.store.write(upkeep.no_message_is_left)


def tell_failures(world: World, every_s: float) -> int:
    """Send onboarding.failed for parked runs, to every target that does not have it; returns how many are settled."""
    if not world.store.write(lambda db: upkeep.my_turn(db, "tell_failures", every_s)):
        return 0
    rows = world.store.read(lambda db: upkeep.untold_failures(db, BATCH))
    return sum(_tell_failure(world, row) for row in rows)


def retire(world: World) -> None:
    """Delete what has been kept long enough, and tokens the moment they expired."""
    if world.store.write(lambda db: upkeep.my_turn(db, "retire", RETIRE_EVERY_S)):
        counts = world.store.write(upkeep.retire)
        if any(counts.values()):
            log.info("retired", **counts)


def _tell_failure(world: World, run: Any) -> bool:
    message_id = notify.message_id(run.id, notify.FAILED, run.parkings)
    gone = world.store.read(lambda db: notifications.gone(db, run.id))
    targets = {target.name: target for target in world.targets if target.name not in gone}
    rows = world.store.write(lambda db: notifications.prepare(db, run.id, message_id, targets))
    later = [_try(world, targets[row.target], run, row) for row in rows if row.target in targets]
    if not any(later):
        world.store.write(lambda db: upkeep.mark_told(db, run.id, run.parkings))
    return not any(later)


def _try(world: World, target: Target, run: Any, row: Any) -> bool:
    """Send one message if its time has come. True: it has to be tried again."""
    if not row.due:
        return True
    fail_point("upkeep.calling")
    answer = target.send(notify.failed(run, row.created_at))
    fail_point("upkeep.called")
    if answer.verdict is Verdict.LATER and row.tries + 1 >= notify.MAX_TRIES:
        answer = Answer(Verdict.REFUSED, answer.http_status)
    wait_s = Backoff(base_s=4.0).wait_s(row.tries, None, world.draw)
    keep_answer(world, row.message_id, target.name, answer, wait_s)
    return answer.verdict is Verdict.LATER
