"""What is made of the targets' answers: one status for the attempt, a log line for each that did not take it."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from onboarding.notify import Answer, Verdict, WebhookTarget, message_id
from onboarding.notify import Notification as Message
from onboarding.runs import Done
from onboarding.steps import judge_answers, keep_answer
from onboarding.transport import Http

AT = datetime(2026, 11, 24, tzinfo=UTC)
NO_STORE: Any = SimpleNamespace(store=SimpleNamespace(write_one=lambda _work: None))


def test_the_last_status_there_is_counts():
    """The exchange, which comes last as often as not, has none: the webhook's 204 is not lost."""
    answers = [Answer(Verdict.DELIVERED, 204), Answer(Verdict.DELIVERED)]
    assert judge_answers(answers) == judge_answers(answers[::-1]) == Done(http_status=204)
    assert judge_answers([]) == Done()


@pytest.mark.parametrize(("verdict", "event"), [(Verdict.REFUSED, "target_refused"), (Verdict.LATER, "target_failed")])
def test_the_log_names_the_target(verdict: Verdict, event: str):
    """By the name that the store has, with the status, or why there is none."""
    with capture_logs() as lines:
        keep_answer(NO_STORE, "m-1", "hooks.example.com ab12cd34", Answer(verdict, why="no reply"))
        keep_answer(NO_STORE, "m-1", "other.example.com ab12cd34", Answer(Verdict.DELIVERED, 204))
    assert [(line["event"], line["target"], line["why"]) for line in lines] == [
        (event, "hooks.example.com ab12cd34", "no reply")
    ]


def test_our_own_refusal_says_its_rule():
    """And never the path of the target."""
    url, secret = SecretStr("https://127.0.0.1:9/canary-path"), SecretStr("whsec_" + "Y2FuYXJ5" * 4)
    http = Http()
    answer = WebhookTarget(http, url, secret, allow_private=False).send(Message(message_id("r", "t"), "t", AT, {}))
    http.close()
    assert (answer.verdict, answer.http_status) == (Verdict.REFUSED, None)
    assert "private" in answer.why
    assert "canary" not in answer.why
