"""Events for Flower: late and many at once, none forgotten when the connection is lost."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from unittest.mock import Mock

import pytest
from kombu.asynchronous import Hub, get_event_loop, set_event_loop

from tasks.application import app
from tasks.flower import LATE_S, Dispatcher


@pytest.fixture
def hub() -> Iterator[Mock]:
    """The worker's loop, whose time we hold."""
    before, hub = get_event_loop(), Mock(spec=Hub)
    set_event_loop(hub)
    yield hub
    set_event_loop(before)


def dispatcher(at_once: Mock | None = None) -> Dispatcher:
    """As a worker makes one, but for the connection."""
    made: Dispatcher = app.events.Dispatcher(
        Mock(), enabled=False, buffer_group=["task"], on_send_buffered=at_once or Mock(side_effect=AssertionError)
    )
    made.enabled, made._closed, made.producer = True, False, Mock()
    return made


def test_events_of_a_tenth_of_a_second_are_one_message(hub: Mock):
    """One timer for all of them; when it is over, one message; the next event starts another."""
    events = dispatcher()
    for uuid in "abc":
        events.send("task-started", uuid=uuid)
    ((late_s, send),) = (call.args for call in hub.call_later.call_args_list)
    assert late_s == LATE_S
    events.producer.publish.assert_not_called()
    send()
    ((sent,),) = (call.args for call in events.producer.publish.call_args_list)
    assert [event["uuid"] for event in sent] == ["a", "b", "c"]
    events.send("task-started", uuid="d")
    assert hub.call_later.call_count == 2


def test_what_was_not_sent_when_the_connection_was_lost_is_sent_over_the_next(hub: Mock):
    """Celery makes a new dispatcher then, and hands over what the old one could not send."""
    lost, new = dispatcher(), dispatcher()
    lost.send("task-succeeded", uuid="a")
    lost.close()
    new.extend_buffer(lost)
    new.flush()
    ((sent,),) = (call.args for call in new.producer.publish.call_args_list)
    assert [event["uuid"] for event in sent] == ["a"]


def test_a_pool_of_threads_sends_as_celery_does(hub: Mock):
    """Its tasks end outside of the loop, and their acks wait until the loop turns: an event turns it."""
    at_once = Mock()
    thread = threading.Thread(target=dispatcher(at_once).send, args=("task-succeeded",), kwargs={"uuid": "a"})
    thread.start()
    thread.join()
    at_once.assert_called_once_with()
    hub.call_later.assert_not_called()
