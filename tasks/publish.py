"""Publishing: nudges to our own tasks, notifications to the outgoing exchange. Always after the commit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from celery import chain

from onboarding import outages
from onboarding.notify import Notification, PublishFailed
from onboarding.runs import STEPS, Step
from tasks.connect import BROKER_ERRORS, reason_of
from tasks.producer import POLICY
from tasks.topology import HRIS_EVENTS, INTAKE_QUEUE, OUTGOING


def nudge(run_id: str, contract_id: str, step: Step) -> bool:
    """Send the chain of a run from a step on. False: the broker is away; the row knows when to try again."""
    from tasks.chain import TASKS  # noqa: PLC0415 - the tasks publish too

    links = [TASKS[each].si(run_id, contract_id) for each in STEPS[step.position :]]
    try:
        chain(*links).apply_async()
    except BROKER_ERRORS as error:
        outages.say_once("nudges_fail", error=reason_of(error))
        return False
    outages.over("nudges_fail")
    return True


def publish_notification(notification: Notification) -> None:
    """Put a notification on `onboarding.events`, confirmed. Raises PublishFailed."""
    from tasks.application import app  # noqa: PLC0415 - the application imports this module

    try:
        with app.producer_pool.acquire(block=True, timeout=5) as producer:
            publish_json(producer, notification)
    except BROKER_ERRORS as error:
        raise PublishFailed(reason_of(error)) from None


def publish_event(body: bytes, headers: Mapping[str, str], routing_key: str) -> None:
    """Put an HRIS message on `hris.events`, confirmed. Raises BROKER_ERRORS."""
    from tasks.application import app  # noqa: PLC0415 - the application imports this module

    with app.producer_pool.acquire(block=True, timeout=5) as producer:
        put_event(producer, body, headers, routing_key, declare=[INTAKE_QUEUE], retry=True, retry_policy=POLICY)


def put_event(producer: Any, body: bytes, headers: Mapping[str, str], routing_key: str, **options: Any) -> None:
    """The body as it is, in bytes that nobody decodes on its way."""
    producer.publish(
        body,
        exchange=HRIS_EVENTS,
        routing_key=routing_key,
        headers=dict(headers),
        content_type="application/json",
        content_encoding="binary",
        delivery_mode=2,
        **options,
    )


def publish_json(producer: Any, notification: Notification) -> None:
    """The body as it is signed for webhooks; `message_id` is the webhook's id."""
    producer.publish(
        notification.body(),
        exchange=OUTGOING,
        routing_key=notification.type,
        declare=[OUTGOING],
        message_id=notification.id,
        content_type="application/json",
        content_encoding="utf-8",
        delivery_mode=2,
        retry=True,
        retry_policy=POLICY,
    )
