"""What libraries log of a broker that went away: a line, never a trace; what is not about it stays whole."""

from __future__ import annotations

import logging
from typing import cast

import pytest
from amqp.exceptions import RecoverableConnectionError
from celery.app import trace
from celery.worker.request import logger as requests
from kombu.message import Message

from tasks import log_filters


class ClosedChannel:
    """Of a connection that was cut while a task ran."""

    no_ack_consumers: frozenset[str] = frozenset()

    def basic_ack(self, *_: object, **__: object) -> None:
        raise RecoverableConnectionError("connection already closed")


def test_an_ack_that_finds_the_connection_gone_is_a_line_without_a_trace(caplog: pytest.LogCaptureFixture):
    """The message comes again, and the step finds itself done; kombu logs it with a trace, as a critical error."""
    log_filters.install()
    message = Message(body=b"{}", channel=ClosedChannel(), delivery_tag=1)
    message.ack_log_error(requests, (RecoverableConnectionError,))
    (line,) = caplog.records
    assert "Couldn't ack" in line.getMessage()
    assert line.exc_info is None


def test_a_fault_of_our_own_keeps_its_trace(caplog: pytest.LogCaptureFixture):
    """Somebody has to find it."""
    log_filters.install()
    try:
        cast("dict[str, int]", {})["missing"]
    except KeyError:
        logging.getLogger("celery.worker.request").exception("a fault")
    assert caplog.records[0].exc_info is not None


def test_that_a_task_came_and_succeeded_is_no_news_but_that_it_comes_again_is(caplog: pytest.LogCaptureFixture):
    """A step says itself what it came to, with its run; why a message comes again, only Celery's line says at times."""
    log_filters.install()
    caplog.set_level(logging.INFO)
    of_task = {
        "id": "1",
        "name": "onboarding.notify",
        "runtime": 0.1,
        "return_value": "'done'",
        "exc": "Waiting('held')",
    }
    logging.getLogger("celery.worker.strategy").info(trace.LOG_RECEIVED, of_task)
    for said in (trace.LOG_SUCCESS, trace.LOG_RETRY):
        logging.getLogger("celery.app.trace").info(said, of_task)
    assert [line.getMessage() for line in caplog.records] == ["Task onboarding.notify[1] retry: Waiting('held')"]
