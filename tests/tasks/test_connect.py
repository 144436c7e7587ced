"""What the broker's answers mean: it is away, or it refuses; and what is said of it."""

from __future__ import annotations

import pytest
from amqp.exceptions import AccessRefused, AMQPError, ConnectionForced, NotAllowed, NotFound, PreconditionFailed
from kombu.exceptions import OperationalError

from tasks.connect import reason_of, refusal_in


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (AccessRefused("ACCESS_REFUSED - Login was refused", reply_code=403), "password"),
        (NotAllowed("NOT_ALLOWED - vhost x not found", reply_code=530), "add_vhost"),
        (NotFound("NOT_FOUND - no exchange 'x'", reply_code=404), "onboarding db upgrade"),
        (PreconditionFailed("PRECONDITION_FAILED - inequivalent arg 'x-delivery-limit'", reply_code=406), "delete"),
    ],
)
def test_a_refusal_is_told_with_what_to_do(error: AMQPError, words: str):
    """Also where kombu has wrapped it."""
    wrapped = OperationalError("amqp://u:secret@h")
    wrapped.__cause__ = error
    for each in (error, wrapped):
        refusal = refusal_in(each)
        assert refusal is not None
        assert str(error.reply_code) in refusal.told
        assert error.reply_text in refusal.told
        assert words in refusal.hint
        assert "secret" not in str(refusal)


@pytest.mark.parametrize(
    "error",
    [
        ConnectionRefusedError(),
        ConnectionForced("CONNECTION_FORCED - broker forced connection closure", reply_code=320),
        NotAllowed("NOT_ALLOWED - access to vhost 'x' refused: vhost 'x' is down", reply_code=530),
        NotAllowed("NOT_ALLOWED - access to vhost 'x': connection limit (5) is reached", reply_code=530),
        NotFound("NOT_FOUND - queue 'x' process is stopped: home node is down or inaccessible", reply_code=404),
        PreconditionFailed("PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out", reply_code=406),
    ],
)
def test_what_passes_is_waited_for(error: Exception):
    """Some of it comes under the same codes."""
    assert refusal_in(error) is None


def test_an_errors_text_is_not_told():
    """It may quote a URL: the broker's own words may be told, else the kind of error."""
    error = OperationalError("amqp://u:secret@h is not there")
    assert reason_of(error) == "OperationalError"
    error.__cause__ = ConnectionRefusedError("amqp://u:secret@h")
    assert reason_of(error) == "ConnectionRefusedError"
