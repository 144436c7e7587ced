"""Celery's request as ours: what it tells of a task goes through the mask."""

from __future__ import annotations

from unittest.mock import Mock

from onboarding.masking import remember_secret
from onboarding.runs import Step
from tasks.chain import TASKS
from tasks.request import Request


def test_a_failures_event_shows_no_secret():
    """Exception and traceback travel to Flower: whatever escapes a task, its secrets do not."""
    remember_secret("canary-of-a-request")
    dispatcher, task = Mock(enabled=True), TASKS[Step.NOTIFY]
    headers = {"id": "1", "task": task.name}
    request = Request(
        Mock(), app=task.app, task=task, eventer=dispatcher, headers=headers, body=([], {}, {}), decoded=True
    )
    request.send_event("task-failed", exception="ValueError('canary-of-a-request to a@example.com')")
    ((kind,), fields) = dispatcher.send.call_args
    assert kind == "task-failed"
    assert fields["exception"] == "ValueError('[masked] to [masked]')"
    assert fields["uuid"] == "1"
