"""How this process publishes, whatever it is: bounded in time, and with a fail point on each side."""

from __future__ import annotations

from typing import Any, Final

import kombu
from celery.app.amqp import AMQP

from onboarding.failpoints import fail_point

CONFIRM_S: Final = 3.0
"""A broker that holds bytes costs this, and then the same as CONNECT_S for each of two tries to connect: 9 s, and
15 s where it stops again in the middle of the second try. Celery's soft limit is 45 s, a step's own 40 s are below."""
POLICY: Final = {"max_retries": 1, "interval_start": 0.1, "interval_step": 0.2, "interval_max": 0.4}
_OURS: Final = ("onboarding.", "hris.", "celery_delayed")  # not Celery's events, nor its answers to questions


class Producer(kombu.Producer):
    """Every message leaves through it: the next link, a retry, a nudge, beat's, an outgoing event, an HRIS's."""

    def publish(self, *message: Any, **options: Any) -> Any:
        """Raises one of BROKER_ERRORS where it was not confirmed in time: it may be on its queue all the same."""
        exchange = options.get("exchange")
        ours = str(getattr(exchange, "name", exchange) or "").startswith(_OURS)
        if ours:
            fail_point("publish.before")
        for name in ("timeout", "confirm_timeout"):  # Celery passes None
            options[name] = options.get(name) or CONFIRM_S
        sent = super().publish(*message, **options)
        if ours:
            fail_point("publish.after")
        return sent


class Amqp(AMQP):
    """Celery's own side of it."""

    Producer = Producer  # beat's

    @property
    def producer_pool(self) -> Any:
        """The tasks' and ours: kombu's pool, which would make kombu's producers."""
        pool = super().producer_pool
        pool.Producer = Producer
        return pool
