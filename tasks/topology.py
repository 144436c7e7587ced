"""Exchanges and queues. Whoever publishes or consumes declares them first: nothing is published into the void."""

from __future__ import annotations

import socket
from typing import Any, Final

from kombu import Exchange, Queue

QUORUM: Final = {"x-queue-type": "quorum"}
STEPS: Final = "onboarding.steps"
UPKEEP: Final = "onboarding.upkeep"
INTAKE: Final = "onboarding.intake"
DEAD: Final = "onboarding.dead"

STEP_DELIVERIES: Final = 20
INTAKE_DELIVERIES: Final = 100
"""Not RabbitMQ 4's own 20, after which it drops: each outage of the store gives back all that was prefetched."""
DEAD_DELIVERIES: Final = 1_000_000
"""Half a year of looks by an intake that cannot open its vault: behind this queue there is no other."""
UPKEEP_LENGTH: Final = 100
"""Beat's turns while no worker runs. What is too old expires by itself, and is not missed: it has no dead letters."""

HRIS_EVENTS: Final = Exchange("hris.events", type="topic", durable=True)
INTAKE_QUEUE: Final = Queue(
    INTAKE,
    HRIS_EVENTS,
    routing_key="#",
    durable=True,
    queue_arguments={**QUORUM, "x-delivery-limit": INTAKE_DELIVERIES, "x-dead-letter-exchange": DEAD},
)
DEAD_EXCHANGE: Final = Exchange(DEAD, type="topic", durable=True)
DEAD_QUEUE: Final = Queue(
    DEAD,
    DEAD_EXCHANGE,
    routing_key="#",
    durable=True,
    queue_arguments={**QUORUM, "x-delivery-limit": DEAD_DELIVERIES},
)
OUTGOING: Final = Exchange("onboarding.events", type="topic", durable=True)

SILENCE_S: Final = 8
"""How long an answer of the broker, or room for more bytes, is waited for."""
ACKED_WITHIN_MS: Final = 10_000


def celery_queue(name: str) -> Queue:
    """A queue of Celery's. A topic exchange, as native delayed delivery needs one."""
    arguments: dict[str, Any] = {**QUORUM, "x-delivery-limit": STEP_DELIVERIES}
    if name == UPKEEP:
        arguments["x-max-length"] = UPKEEP_LENGTH
    else:
        arguments["x-dead-letter-exchange"] = DEAD
    exchange = Exchange(name, type="topic", durable=True)
    return Queue(name, exchange, routing_key=name, durable=True, queue_arguments=arguments)


def transport_options(*, embedded: bool) -> dict[str, Any]:
    """Confirms on a broker; in memory, a poll every 10 ms instead of every second."""
    if embedded:
        return {"polling_interval": 0.01}
    options: dict[str, Any] = {"confirm_publish": True, "read_timeout": SILENCE_S, "write_timeout": SILENCE_S}
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # a host that is lost never says so; py-amqp's own 1 s is a hiccup's length
        options["socket_settings"] = {socket.TCP_USER_TIMEOUT: ACKED_WITHIN_MS}
    return options


def declare_all(channel: Any) -> None:
    """Make sure that everything is there. Doing it again changes nothing."""
    for queue in (INTAKE_QUEUE, DEAD_QUEUE, celery_queue(STEPS), celery_queue(UPKEEP)):
        queue(channel).declare()
    OUTGOING(channel).declare()
