"""What is away is said once, and once more when it is back: not at every try."""

from __future__ import annotations

import threading
from typing import Any

import structlog

log = structlog.get_logger(__name__)
_away: set[str] = set()
_lock = threading.Lock()


def say_once(what: str, **fields: Any) -> None:
    """Warn that something is away, unless that was said and it is not back since."""
    with _lock:
        known = what in _away
        _away.add(what)
    if not known:
        log.warning(what, **fields)


def over(what: str) -> None:
    """It is back: say so if its absence was said."""
    if what not in _away:
        return
    with _lock:
        _away.discard(what)
    log.info("back_again", what=what)
