"""Celery's request, with a fail point on each side of the ack."""

from __future__ import annotations

from typing import Any

from celery import Task
from celery.worker import request

from onboarding.failpoints import fail_point
from onboarding.masking import mask


class Request(request.Request):
    """What a worker makes of a message."""

    def send_event(self, type: str, **fields: Any) -> None:  # noqa: A002 - Celery's name
        """Events of a failure carry the exception's text and traceback: what Flower shows goes through the mask."""
        super().send_event(type, **{name: mask(value) for name, value in fields.items()})

    def acknowledge(self) -> None:
        """Acks late: the step is recorded and the next link published by now."""
        fail_point("task_ack.before")
        super().acknowledge()
        fail_point("task_ack.after")


class StepTask(Task):
    """Every task of ours."""

    Request = "tasks.request:Request"
