"""Exchanges and queues. Whoever publishes or consumes declares them first: nothing is published into the void."""

from __future__ import annotations

from typing import Any, Final

from kombu import Exchange, Queue

QUORUM: Final = {"x-queue-type": "quorum"}
STEPS: Final = "onboarding.steps"
UPKEEP: Final = "onboarding.upkeep"
DEAD: Final = "onboarding.dead"

HRIS_EVENTS: Final = Exchange("hris.events", type="topic", durable=True)
INTAKE_QUEUE: Final = Queue("onboarding.intake", HRIS_EVENTS, routing_key="#", durable=True, queue_arguments=QUORUM)
DEAD_EXCHANGE: Final = Exchange(DEAD, type="topic", durable=True)
DEAD_QUEUE: Final = Queue(DEAD, DEAD_EXCHANGE, routing_key="#", durable=True, queue_arguments=QUORUM)
OUTGOING: Final = Exchange("onboarding.events", type="topic", durable=True)


def celery_queue(name: str) -> Queue:
    """A queue of Celery's. A topic exchange, as native delayed delivery needs one."""
    arguments = {**QUORUM, "x-delivery-limit": 20, "x-dead-letter-exchange": DEAD}
    return Queue(
        name, Exchange(name, type="topic", durable=True), routing_key=name, durable=True, queue_arguments=arguments
    )


def transport_options(*, embedded: bool) -> dict[str, Any]:
    """Confirms on a broker; in memory, a poll every 10 ms instead of every second."""
    if embedded:
        return {"polling_interval": 0.01}
    return {"confirm_publish": True, "read_timeout": 30, "write_timeout": 30}


def declare_all(channel: Any) -> None:
    """Make sure that everything is there. Doing it again changes nothing."""
    for queue in (INTAKE_QUEUE, DEAD_QUEUE, celery_queue(STEPS), celery_queue(UPKEEP)):
        queue(channel).declare()
    OUTGOING(channel).declare()
