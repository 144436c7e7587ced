"""Celery's events, which Flower shows: many in one message, a tenth of a second late.

Celery sends them at each turn of the worker's loop, so that most of its messages hold one or two, and waits for the
broker's confirm of each: as much work as half of all steps' messages.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Final

from celery.app.events import Events as CelerysEvents
from celery.events.dispatcher import EventDispatcher
from kombu.asynchronous import get_event_loop

LATE_S: Final = 0.1


class Dispatcher(EventDispatcher):
    """As Celery's, but for when it sends. What is not sent when a worker stops, Flower does not get to know."""

    def __init__(self, *given: Any, on_send_buffered: Callable[[], None] | None = None, **options: Any) -> None:
        self._is_due = False
        self._at_once = on_send_buffered
        super().__init__(*given, on_send_buffered=on_send_buffered and self._send_soon, **options)

    def extend_buffer(self, other: EventDispatcher) -> None:
        """After a lost connection: also what had not been sent yet, which Celery forgets."""
        super().extend_buffer(other)
        for group, events in other._group_buffer.items():  # noqa: SLF001 - there is no other way to it
            self._group_buffer[group].extend(events)

    def _send_soon(self) -> None:
        hub = get_event_loop()
        if hub is None or threading.current_thread() is not threading.main_thread():
            if self._at_once is not None:  # a pool of threads: its acks wait until something turns the loop
                self._at_once()
        elif not self._is_due:
            self._is_due = True
            hub.call_later(LATE_S, self._send)

    def _send(self) -> None:
        self._is_due = False
        self.flush()


class Events(CelerysEvents):
    """With our dispatcher."""

    dispatcher_cls = "tasks.flower:Dispatcher"
