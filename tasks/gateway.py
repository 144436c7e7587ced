"""Publishing for the gateway: from a few threads, each with a connection of its own; refused at once while the broker
is away. A thread beside them sees whether it is.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import structlog
from amqp.exceptions import AccessRefused
from kombu import Connection

from onboarding import observe, outages
from onboarding.events import Message
from onboarding.settings import Settings
from onboarding.web.gateway import NotConfirmed
from tasks.connect import BROKER_ERRORS, HEARTBEAT_S, connection_settings, reason_of, refusal_in
from tasks.producer import Producer
from tasks.publish import put_event
from tasks.topology import INTAKE_QUEUE

THREADS: Final = 8
"""Measured at 500 webhooks a second on two cores: one falls behind, two keep up where the machine has nothing else to
do, eight also where others take most of it; sixteen gain nothing."""
LOOK_AGAIN_S: Final = 1.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class _Link:
    """What a thread publishes by."""

    connection: Connection
    producer: Producer


class EventPublisher:
    """The gateway's Publisher. `start` it once, `close` it at the end."""

    def __init__(self, settings: Settings, threads: int = THREADS) -> None:
        self._broker = Connection(**connection_settings(settings))  # what to connect to
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="publish")
        self._own = threading.local()
        self._ready = threading.Event()
        self._stopping = threading.Event()
        self._watch: threading.Thread | None = None

    def start(self) -> None:
        """Look for the broker, and go on looking. Raises BrokerRefuses; one that is away is looked for."""
        found = None
        try:
            found = self._connected(HEARTBEAT_S)
            self._ready.set()
        except BROKER_ERRORS as error:
            refusal = refusal_in(error)
            if refusal is not None:
                raise refusal from None
            outages.say_once("broker_unavailable", error=reason_of(error))
        self._watch = threading.Thread(target=self._keep_looking, args=(found,), name="broker-watch", daemon=True)
        self._watch.start()

    def close(self) -> None:
        """After the last answer: whoever still waits has been refused."""
        self._stopping.set()
        self._pool.shutdown(wait=False, cancel_futures=True)
        if self._watch is not None:
            self._watch.join(2 * LOOK_AGAIN_S)

    @property
    def ready(self) -> bool:
        """Whether the broker answered when it was last asked."""
        return self._ready.is_set()

    def publish(self, messages: Sequence[Message]) -> Future[None]:
        """All of them, each confirmed and routed. Some may be sent twice: intake drops doubles."""
        return self._pool.submit(self._publish, messages)

    def _publish(self, messages: Sequence[Message]) -> None:
        """Twice where the connection was an old one: it may be long dead, or the queue deleted behind it."""
        if not self.ready:
            raise NotConfirmed
        kept = self._link() is not None
        try:
            try:
                self._put(messages)
            except BROKER_ERRORS as error:
                if not kept or isinstance(error, TimeoutError):  # a broker that says nothing says it twice
                    raise
                self._put(messages)
        except BROKER_ERRORS as error:
            self._ready.clear()  # the others need not wait as long as this one did; the watch looks again
            outages.say_once("broker_unavailable", error=reason_of(error))
            raise NotConfirmed(reason_of(error)) from None

    def _put(self, messages: Sequence[Message]) -> None:
        """Raises BROKER_ERRORS. The connection is then given up: a late confirm would pass for the next message's."""
        link = self._link()
        if link is None:
            # without heartbeats: between two webhooks nobody would answer them
            connection = self._connected(heartbeat_s=0)
            link = self._own.link = _Link(connection, Producer(connection.channel()))
        try:
            for message in messages:
                headers = {name: str(value) for name, value in message.headers.items()}
                put_event(link.producer, message.body, headers, message.routing_key, mandatory=True)
        except BaseException:
            self._own.link = None
            link.connection.collect()
            raise

    def _link(self) -> _Link | None:
        return getattr(self._own, "link", None)

    def _connected(self, heartbeat_s: float) -> Connection:
        """A live connection, with the queue declared where its user may do that. Raises BROKER_ERRORS."""
        connection: Connection = self._broker.clone(heartbeat=heartbeat_s)
        try:
            connection.ensure_connection(max_retries=1, interval_start=0.1, interval_step=0)
            channel = connection.channel()
            try:
                INTAKE_QUEUE(channel).declare()
                channel.close()
            except AccessRefused:  # a user that may write and no more: each publish is mandatory, so none is lost
                return connection
        except BaseException:
            connection.collect()
            raise
        return connection

    def _keep_looking(self, connection: Connection | None) -> None:
        """Until `close`: a connection of its own tells when the broker goes, also while no webhook comes."""
        while not self._stopping.is_set():
            try:
                connection = connection or self._connected(HEARTBEAT_S)
                self._ready.set()
                outages.over("broker_unavailable")
                self._look_at(connection)
            except BROKER_ERRORS as error:
                self._ready.clear()
                outages.say_once("broker_unavailable", error=reason_of(error))
            except Exception as defect:  # without a watch nobody would ever be ready again
                self._ready.clear()
                observe.report_defect(defect)
                log.exception("broker_watch_defect")
            if connection is not None:
                connection.collect()
            connection = None
            self._stopping.wait(LOOK_AGAIN_S)

    def _look_at(self, connection: Connection) -> None:
        """Until it is lost, or a publish failed on another one. Raises BROKER_ERRORS."""
        while self.ready and not self._stopping.is_set():
            try:
                connection.drain_events(timeout=LOOK_AGAIN_S)
            except TimeoutError:
                connection.heartbeat_check()
