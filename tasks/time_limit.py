"""Celery's soft time limit, as what it is. A step ends by its own time (40 s); this strikes where something hangs."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NoReturn

SIG_SOFT_TIMEOUT: Final = signal.SIGUSR1
"""What Celery's pool sends to a child whose time is up."""


class OutOfTime(BaseException):
    """The shell's limit struck in the middle of the work: what was begun has no end, as after a crash.

    No Exception: whoever handles defects (of a call, of a step) would take it for one.
    """


@contextmanager
def soft_limit_is_out_of_time() -> Iterator[None]:
    """In the block, Celery's signal raises OutOfTime; outside, what Celery makes of it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def strike(*_: object) -> NoReturn:
        raise OutOfTime

    before = signal.signal(SIG_SOFT_TIMEOUT, strike)
    try:
        yield
    finally:
        signal.signal(SIG_SOFT_TIMEOUT, before)
