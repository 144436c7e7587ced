"""What libraries log too much of: a broker that is away at every try, with a trace; each task's coming and going."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from celery.app import trace

from onboarding import outages
from tasks.connect import BROKER_ERRORS, BrokerRefuses, refusal_in

AWAY: Final = ("cannot connect", "connection to broker lost", "connection error", "retrying delayed delivery setup")
CAME_AND_WENT: Final = (trace.LOG_RECEIVED, trace.LOG_SUCCESS)


class OutageFilter(logging.Filter):
    """Said once, in a line; and a refusal of the broker's with what to do. Lets everything else pass."""

    def filter(self, record: logging.LogRecord) -> bool:
        """False for a line that repeats what was said, or that we say in our own words."""
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, BrokerRefuses):
            return False  # it ends the process, with its line
        text = record.getMessage().lower()
        if any(words in text for words in AWAY):
            outages.say_once("broker_unavailable", logger=record.name)
            return False
        if text.startswith("connected to"):
            outages.over("broker_unavailable")
        if isinstance(error, BROKER_ERRORS):
            record.exc_info = record.exc_text = None
            refusal = refusal_in(error)
            if refusal is not None:
                record.msg, record.args = str(refusal), ()
        return True


def is_news(record: logging.LogRecord) -> bool:
    """False for a task that came, or succeeded: a step says so itself and of which run, upkeep says what it did.

    To write the two lines costs more than to publish the next task.
    """
    return record.msg not in CAME_AND_WENT


def names_its_host(record: logging.LogRecord) -> bool:
    """False for kombu's warning that a broker in memory has no host: thrice at each start, and no news."""
    return "No hostname was supplied" not in record.getMessage()


_OUTAGE: Final = OutageFilter()
_FILTERS: Final[dict[str, tuple[logging.Filter | Callable[[logging.LogRecord], bool], ...]]] = {
    "celery.app.trace": (is_news, _OUTAGE),
    "celery.beat": (_OUTAGE,),
    "celery.worker": (_OUTAGE,),
    "celery.worker.consumer.connection": (_OUTAGE,),
    "celery.worker.consumer.consumer": (_OUTAGE,),
    "celery.worker.consumer.delayed_delivery": (_OUTAGE,),
    "celery.worker.request": (_OUTAGE,),
    "celery.worker.strategy": (is_news,),
    "kombu.connection": (names_its_host,),
}


def install() -> None:
    """To be called by every process that speaks to the broker. Twice is once."""
    for name, filters in _FILTERS.items():
        for each in filters:
            logging.getLogger(name).addFilter(each)
