"""The intake process: takes HRIS events off the queue, and acknowledges what is committed, nothing before."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

import structlog
from kombu import Connection, Consumer, Queue
from kombu.message import Message as AmqpMessage
from kombu.mixins import ConsumerMixin

from onboarding import outages
from onboarding.events import Message
from onboarding.failpoints import fail_point
from onboarding.intake import Intake
from onboarding.runs import STEPS
from onboarding.store.engine import StoreUnavailable
from onboarding.store.events import NewRun
from onboarding.vault import VaultError
from tasks import topology
from tasks.publish import nudge
from tasks.unpacking import unpack_nothing

T = TypeVar("T")
log = structlog.get_logger(__name__)

DEATHS = ("rejected", "expired", "maxlen", "delivery_limit")  # source: RabbitMQ's page on dead lettering
QUEUES = (topology.STEPS, topology.UPKEEP)  # those that dead-letter
PREFETCH = 50
LONGEST_PAUSE_S = 15.0


class IntakeConsumer(ConsumerMixin):
    """Consumes `onboarding.intake`, and empties `onboarding.dead` into the table that `dead list` shows."""

    def __init__(self, connection: Connection, intake: Intake) -> None:
        unpack_nothing()
        self.connection = connection  # what to connect to: the mixin clones it
        self._live = connection
        self._intake = intake

    def on_consume_ready(self, connection: Connection, *_: Any, **__: Any) -> None:
        """The clone that messages come through."""
        self._live = connection

    def get_consumers(self, _consumer: Any, channel: Any) -> list[Consumer]:
        """`on_message`, not callbacks: with those kombu decodes the body first, by the sender's content type.

        `auto_decode`: py-amqp would decode it by the sender's content encoding; `punycode` takes minutes for a few MB.
        """
        topology.declare_all(channel)
        channel.auto_decode = False
        channel.basic_qos(0, PREFETCH, False)  # per consumer: quorum queues know no global one
        return [
            self._consumer(channel, topology.INTAKE_QUEUE, self.on_event),
            self._consumer(channel, topology.DEAD_QUEUE, self.on_dead_letter),
        ]

    def _consumer(self, channel: Any, queue: Queue, on_message: Callable[[AmqpMessage], None]) -> Consumer:
        """`on_decode_error`: a message that kombu could not unpack is taken as it came. Without it kombu raises, the
        message goes back, and the intake dies of it for ever.
        """

        def as_it_came(message: AmqpMessage, _error: Exception) -> None:
            on_message(message)

        return Consumer(channel, [queue], on_message=on_message, on_decode_error=as_it_came, accept=["json"])

    def on_event(self, message: AmqpMessage) -> None:
        """File, nudge, acknowledge: in this order, so that a death in between repeats and never loses."""
        made = self._patiently(message, lambda: self._intake.accept(read_message(message)))
        if made is None:
            return
        for run in made:
            start(run)
        fail_point("intake_ack.before")
        message.ack()
        fail_point("intake_ack.after")

    def on_dead_letter(self, message: AmqpMessage) -> None:
        """What a queue gave up on becomes a row."""
        reason, source = read_death(message.headers.get("x-death"))
        buried = self._patiently(message, lambda: self._intake.bury(read_message(message), reason, source))
        if buried:
            message.ack()

    def on_connection_error(self, exc: Exception, interval: float) -> None:
        """Said once, not at every try."""
        outages.say_once("broker_unavailable", error=type(exc).__name__, again_in_s=interval)

    def _patiently(self, message: AmqpMessage, work: Callable[[], T]) -> T | None:
        """Wait for the store with the message in hand: each return to the queue would count as a delivery.

        None: the process is to stop; the message went back.
        """
        pause_s = 0.5
        while True:
            try:
                result = work()
            except (StoreUnavailable, VaultError) as away:
                outages.say_once("store_unavailable", error=str(away))
            else:
                outages.over("store_unavailable")
                return result
            until = time.monotonic() + pause_s
            while time.monotonic() < until and not self.should_stop:
                time.sleep(0.1)
            if self.should_stop:
                message.requeue()
                return None
            self._live.heartbeat_check()
            pause_s = min(LONGEST_PAUSE_S, pause_s * 2)


def start(run: NewRun) -> None:
    """Send a new run on its way."""
    nudge(run.run_id, run.contract_id, STEPS[0])


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
