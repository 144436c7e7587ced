"""Celery and kombu tell of a broker that is away at every try, with a stack trace: here it is said once, in a line."""

from __future__ import annotations

import logging
from typing import Final

from onboarding import outages
from tasks.connect import BROKER_ERRORS

LOGGERS: Final = (
    "celery.beat",
    "celery.worker.consumer.connection",
    "celery.worker.consumer.consumer",
    "celery.worker.consumer.delayed_delivery",
    "kombu.mixins",
)
AWAY: Final = ("cannot connect", "connection to broker lost", "connection error", "retrying delayed delivery setup")


class OutageFilter(logging.Filter):
    """Lets everything else pass."""

    def filter(self, record: logging.LogRecord) -> bool:
        """False for a line that repeats what was said, or that we say in our own words."""
        text = record.getMessage().lower()
        if any(words in text for words in AWAY):
            outages.say_once("broker_unavailable", logger=record.name)
            return False
        if text.startswith("connected to"):
            outages.over("broker_unavailable")
        if record.exc_info and isinstance(record.exc_info[1], BROKER_ERRORS):
            record.exc_info = None
        return True


def install() -> None:
    """To be called by every process that speaks to the broker. Twice is once."""
    for name in LOGGERS:
        logger = logging.getLogger(name)
        if not any(isinstance(each, OutageFilter) for each in logger.filters):
            logger.addFilter(OutageFilter())
