"""What Python loads first in the processes of the canary test: places that fail with every secret in the text.

Each fails once per process; those of a step only for contracts whose id begins with `c-defect`. Contracts that
begin with `c-crash` take the process down.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import warnings
from collections.abc import Callable

import structlog

from onboarding import failpoints, upkeep

SPILLED = ("DEEL_TOKEN", "VAULT_KEYS", "NOTIFY_SECRET", "WEBHOOK_SECRETS", "DATABASE_URL", "BROKER_URL", "SENTRY_DSN")
log = structlog.get_logger("careless")


class Careless(Exception):  # noqa: N818 - what it is
    """An error whose author put into its text whatever was at hand."""


def spill(more: str = "") -> None:
    """Say every secret that this process was told, in every way in which a program says something."""
    told = {name: os.environ[f"ONBOARDING_{name}"] for name in SPILLED}
    address = os.environ["CANARY_ADDRESS"]
    text = f"{more} of {address}, {' and '.join(told.values())}; {told}"
    log.warning("careless", text=text, email=address, worker_token=more)
    logging.getLogger("careless.library").warning("about %s and %r", address, {"why": text})
    warnings.warn(text, stacklevel=2)
    error = Careless(text, {"headers": [("authorization", f"Bearer {told['DEEL_TOKEN']}")]})
    error.add_note(text)
    raise error from ValueError(text)


def once(action: Callable[[], None]) -> Callable[[], None]:
    """Not again in this process."""
    left = [action]

    def act() -> None:
        if left and (action is spill or _contract().startswith("c-defect")):
            left.pop()()

    return act


def spill_answer() -> None:
    """In a step: also the worker token that was just answered, if one was."""
    answer = sys._getframe(3).f_locals.get("answer")  # the step's, as `call` in onboarding/steps.py holds it
    token = getattr(answer, "token", None)
    spill(token.get_secret_value() if token else "")


def die() -> None:
    """Take the process down with a contract in hand."""
    if _contract().startswith("c-crash"):
        os.kill(os.getpid(), signal.SIGKILL)


def _contract() -> str:
    return str(structlog.contextvars.get_contextvars().get("contract_id", ""))


upkeep.CLAIM_S = 1.0  # else a message whose sender was spoilt is left alone for a minute, and the day is that longer
for point in ("issue_token.called", "verify_token.claiming", "publish.before"):
    failpoints.arm(point, once(spill_answer))
for point in ("upkeep.calling", "intake.recording"):
    failpoints.arm(point, once(spill))
failpoints.arm("ensure_profile.claimed", die)
