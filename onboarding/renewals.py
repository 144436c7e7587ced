"""When the token of a worker who is kept alive is renewed: ahead of its end, spread over hours, a tenth of the budget.

Pure. A renewal is one call, and kills the token before it.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

EVERY_S: Final = 10.0
"""How often upkeep looks whose time has come."""
SHARE: Final = 0.1
"""Of an organisation's budget: the rest is for the living."""
AHEAD: Final = timedelta(hours=2)
"""At the latest so long before the end: an outage of Deel's may last."""
SPREAD: Final = timedelta(hours=8)
"""And up to so much earlier: what was issued within an hour is not all renewed within another one."""
SHORT_S: Final = (AHEAD + SPREAD + timedelta(minutes=10)).total_seconds()
"""Whatever is due has less life left than this, and a new token has more."""


def renew_at(expires_at: datetime, draw: float) -> datetime:
    """When a token is due. `draw`, from 0 to 1, spreads them."""
    return expires_at - AHEAD - SPREAD * draw


def per_round(rate: float) -> int:
    """How many of an organisation are renewed at one look, at `rate` requests per second."""
    return max(1, int(rate * EVERY_S * SHARE))
