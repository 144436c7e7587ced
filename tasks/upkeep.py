"""Beat's work, each a turn taken in the store: two beats do no harm, none is only a delay."""

from __future__ import annotations

import structlog

from onboarding import observe, outages, upkeep
from onboarding.store.engine import StoreUnavailable
from tasks.application import FAILURES_EVERY_S, KEEP_ALIVE_EVERY_S, RECONCILE_EVERY_S, app
from tasks.process import world
from tasks.publish import nudge
from tasks.time_limit import OutOfTime, soft_limit_is_out_of_time

log = structlog.get_logger(__name__)


@app.task(name="onboarding.reconcile")
def reconcile() -> str:
    """Send a message for each run that nothing carries."""
    return attempt_upkeep("reconcile", RECONCILE_EVERY_S)


@app.task(name="onboarding.tell_failures")
def tell_failures() -> str:
    """Send onboarding.failed of parked runs."""
    return attempt_upkeep("tell_failures", FAILURES_EVERY_S)


@app.task(name="onboarding.keep_alive")
def keep_alive() -> str:
    """Renew tokens ahead of their end."""
    return attempt_upkeep("keep_alive", KEEP_ALIVE_EVERY_S)


@app.task(name="onboarding.retire")
def retire() -> str:
    """Let go what is old."""
    return attempt_upkeep("retire", 0)


def attempt_upkeep(work: str, every_s: float) -> str:
    """Do one kind of upkeep now, if it is its turn. A store that is away is said once; the next turn does it."""
    try:
        with soft_limit_is_out_of_time():
            said = _do(work, every_s)
    except StoreUnavailable as away:
        outages.say_once("store_unavailable", error=str(away))
        return "store unavailable"
    except OutOfTime:  # what was committed stays; the next turn does the rest
        log.warning("upkeep_out_of_time", work=work, limit_s=app.conf.task_soft_time_limit)
        return "out of time"
    except Exception as defect:  # Celery would send its text and traceback to Flower; the next turn does the work
        observe.report_defect(defect)
        log.exception("upkeep_defect", work=work)
        return "internal error"
    outages.over("store_unavailable")
    return said


def _do(work: str, every_s: float) -> str:
    match work:
        case "reconcile":
            return f"{upkeep.reconcile(world(), nudge, every_s)} nudged"
        case "tell_failures":
            return f"{upkeep.tell_failures(world(), every_s)} told"
        case "keep_alive":
            return f"{upkeep.keep_alive(world())} renewed"
        case _:
            upkeep.retire(world())
            return "done"
