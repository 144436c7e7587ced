"""`celery worker -I tests.chaos.poison`: a worker that a certain contract's answer kills."""

from __future__ import annotations

import os
import signal

import structlog

from onboarding import failpoints


def _die_of_it() -> None:
    if str(structlog.contextvars.get_contextvars().get("contract_id", "")).startswith("poison"):
        os.kill(os.getpid(), signal.SIGKILL)


failpoints.arm("ensure_profile.called", _die_of_it)
