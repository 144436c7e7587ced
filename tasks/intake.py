"""The intake process: takes HRIS events off the queue, and acknowledges what is committed, nothing before.

Nothing is held while the store or the broker is away: all messages go back, once, and wait where they are safe.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import structlog
from kombu import Connection, Consumer, Queue
from kombu.message import Message as AmqpMessage

from onboarding import outages
from onboarding.events import Message
from onboarding.failpoints import fail_point
from onboarding.intake import Intake
from onboarding.runs import STEPS, Reason
from onboarding.store import upkeep
from onboarding.store.engine import StoreUnavailable
from onboarding.store.events import NewRun
from onboarding.vault import VaultError
from tasks import topology
from tasks.connect import BROKER_ERRORS, reason_of, refusal_in
from tasks.publish import nudge
from tasks.unpacking import unpack_nothing

T = TypeVar("T")
log = structlog.get_logger(__name__)

DEATHS = ("rejected", "expired", "maxlen", "delivery_limit")  # source: RabbitMQ's page on dead lettering
QUEUES = (topology.STEPS, topology.INTAKE)  # those that dead-letter
PREFETCH = 50
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 15.0
RECONNECT_S = 1.0
NO_NUDGES_S = 30.0
"""After one that failed, for as long none is tried: each costs ten seconds, and the reconciler sends them all."""


class _Stopped(Exception):  # noqa: N818 - no error
    """A signal came while the broker was waited for."""


class IntakeConsumer:
    """Consumes `onboarding.intake`, and empties `onboarding.dead` into the table that `dead list` shows."""

    def __init__(self, connection: Connection, intake: Intake) -> None:
        unpack_nothing()
        self.should_stop = False
        self._broker = connection  # what to connect to: each connection is a clone of it
        self._intake = intake
        self._pause_s = FIRST_PAUSE_S
        self._nudges_from = 0.0

    def run(self) -> None:
        """Until `should_stop`, which is looked at once a second. Raises BrokerRefuses."""
        while not self.should_stop:
            try:
                self._consume()
            except _Stopped:
                return
            except StoreUnavailable as away:
                outages.say_once("store_unavailable", error=str(away))
                self._wait_for_store()
            except VaultError as locked:
                outages.say_once("vault_locked", error=str(locked), advice=Reason.VAULT_LOCKED.advice)
                self._pause()
            except BROKER_ERRORS as lost:
                refusal = refusal_in(lost)
                if refusal is not None:
                    raise refusal from None
                self._say_broker_away(lost)
                self._sleep(RECONNECT_S)

    def on_event(self, message: AmqpMessage) -> None:
        """File, nudge, acknowledge: in this order, so that a death in between repeats and never loses."""
        for run in self._stored(message, lambda: self._intake.accept(read_message(message))):
            self._nudge(run)
        _ack(message)

    def on_dead_letter(self, message: AmqpMessage) -> None:
        """What a queue gave up on becomes a row."""
        reason, source = read_death(message.headers.get("x-death"))
        self._stored(message, lambda: self._intake.bury(read_message(message), reason, source))
        _ack(message)

    def _consume(self) -> None:
        """Until `should_stop`, or the end of a trial: after a failure, one message at a time, until one is stored."""
        on_trial = self._pause_s > FIRST_PAUSE_S
        with self._connected() as connection:
            channel: Any = connection.default_channel
            topology.declare_all(channel)
            # py-amqp would decode a body by its sender's content encoding; `punycode` takes minutes for a few MB
            channel.auto_decode = False
            channel.basic_qos(0, 1 if on_trial else PREFETCH, False)  # per consumer: quorum queues know no global one
            for queue, take in ((topology.INTAKE_QUEUE, self.on_event), (topology.DEAD_QUEUE, self.on_dead_letter)):
                _consume_from(channel, queue, take)
            outages.over("broker_unavailable")
            log.info("intake_ready")
            while not self.should_stop and not (on_trial and self._pause_s == FIRST_PAUSE_S):
                try:
                    connection.drain_events(timeout=1)
                except TimeoutError:
                    connection.heartbeat_check()

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        """A live connection. However the block ends, it is dropped, and what is not acknowledged goes back.

        Dropped, not closed: that would wait for the answer of a broker that may be silent, and take more messages in
        meanwhile.
        """
        connection = self._broker.clone()
        try:
            connection.ensure_connection(
                lambda error, _pause_s: self._say_broker_away(error),
                interval_start=1,
                interval_max=LONGEST_PAUSE_S,
                callback=self._leave_if_stopped,
            )
            yield connection
        finally:
            connection.collect()

    def _leave_if_stopped(self) -> None:
        if self.should_stop:
            raise _Stopped

    def _say_broker_away(self, error: BaseException) -> None:
        outages.say_once("broker_unavailable", error=reason_of(error))

    def _stored(self, message: AmqpMessage, work: Callable[[], T]) -> T:
        """Raises StoreUnavailable or VaultError, which end this round of consuming."""
        try:
            result = work()
        except (StoreUnavailable, VaultError):
            if self._broker.transport_cls == "memory":  # it forgets what a dropped connection had not acknowledged
                message.requeue()
            raise
        outages.over("store_unavailable")
        outages.over("vault_locked")
        self._pause_s = FIRST_PAUSE_S
        return result

    def _wait_for_store(self) -> None:
        """Until it can be written, at most 15 s between two looks. Without a connection: none has to be kept alive."""
        while not self.should_stop:
            self._pause()
            try:
                self._intake.store.write(lambda db: upkeep.my_turn(db, "intake", 0.0))
            except StoreUnavailable:
                continue
            return

    def _pause(self) -> None:
        self._sleep(self._pause_s)
        self._pause_s = min(LONGEST_PAUSE_S, self._pause_s * 2)

    def _sleep(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until and not self.should_stop:
            time.sleep(0.1)

    def _nudge(self, run: NewRun) -> None:
        """Send a new run on its way."""
        if time.monotonic() >= self._nudges_from and not nudge(run.run_id, run.contract_id, STEPS[0]):
            self._nudges_from = time.monotonic() + NO_NUDGES_S


def _consume_from(channel: Any, queue: Queue, take: Callable[[AmqpMessage], None]) -> None:
    """`on_message`, not callbacks: with those kombu decodes the body first, by the sender's content type.

    `on_decode_error`: what kombu could not unpack is taken as it came. Without it kombu raises, the message goes
    back, and the intake dies of it for ever.
    """

    def as_it_came(message: AmqpMessage, _error: Exception) -> None:
        take(message)

    options = {"on_message": take, "on_decode_error": as_it_came, "accept": ["json"], "auto_declare": False}
    Consumer(channel, [queue], **options).consume()


def _ack(message: AmqpMessage) -> None:
    fail_point("intake_ack.before")
    message.ack()
    fail_point("intake_ack.after")


def read_death(deaths: object) -> tuple[str, str]:
    """Reason and queue, as RabbitMQ writes them. Whoever publishes here directly may have written anything."""
    death = deaths[0] if isinstance(deaths, list) and deaths else None
    word, queue = (death.get("reason"), death.get("queue")) if isinstance(death, dict) else (None, None)
    return (word if word in DEATHS else "rejected"), (queue if queue in QUEUES else "unknown")


def read_message(message: AmqpMessage) -> Message:
    """The message as it came. py-amqp decodes a body whose sender set a content encoding: a hash wants the bytes."""
    return Message(
        body=_bytes(message.body, message.content_encoding or "utf-8"),
        headers=dict(message.headers or {}),
        routing_key=str((message.delivery_info or {}).get("routing_key") or ""),
        content_type=message.content_type,
        message_id=(message.properties or {}).get("message_id"),
        content_encoding=message.content_encoding,
    )


def _bytes(body: Any, encoding: str) -> bytes:
    """A sender may name an encoding that reads what it cannot write (`idna`): then the bytes are as good as lost."""
    if not isinstance(body, str):
        return bytes(body)
    try:
        return body.encode(encoding)
    except (UnicodeError, LookupError):
        return body.encode("utf-8", "surrogatepass")
