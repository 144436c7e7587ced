"""How to reach the broker, and what it means when it does not let us: it is away, or it refuses."""

from __future__ import annotations

from typing import Any, Final

from amqp.exceptions import AMQPError, MessageNacked
from kombu import Connection
from kombu.exceptions import KombuError

from onboarding.settings import Settings
from tasks import topology

BROKER_ERRORS: Final = (KombuError, AMQPError, MessageNacked, OSError)
"""What kombu and py-amqp raise when the broker is away or goes away, or refuses."""
CONNECT_S: Final = 3
"""To connect, handshake included. With HEARTBEAT_S and topology.SILENCE_S it bounds what a lost host costs."""
HEARTBEAT_S: Final = 10

_ACCESS_REFUSED, _NOT_FOUND, _PRECONDITION_FAILED, _NOT_ALLOWED = 403, 404, 406, 530
_WHAT_TO_DO: Final = {
    _ACCESS_REFUSED: "check the user in ONBOARDING_BROKER_URL, its password, and that it may configure, write and read"
    " in its virtual host (rabbitmqctl set_permissions)",
    _NOT_FOUND: "run `onboarding db upgrade`, which declares exchanges and queues",
    _PRECONDITION_FAILED: "something else, or another release, declared it with other arguments: drain and delete it"
    " (rabbitmqctl delete_queue NAME), then run `onboarding db upgrade`",
    _NOT_ALLOWED: "check the virtual host at the end of ONBOARDING_BROKER_URL: does it exist (rabbitmqctl add_vhost),"
    " and may the user enter it",
}
# Source: RabbitMQ's texts. Under the same codes it also tells of what passes: a node or virtual host that is down, a
# limit on connections that is reached, an acknowledgement that came too late.
_PASSES: Final = ("is down", "inaccessible", "is reached", "timed out", "unknown delivery tag")


class BrokerRefuses(Exception):  # noqa: N818 - a state of the world, named as it is
    """The broker answers, and says no: waiting does not help. Its text says what it said, `hint` what to do."""

    def __init__(self, told: str, hint: str) -> None:
        super().__init__(f"the broker refuses: {told}; {hint}")
        self.told, self.hint = told, hint


def refusal_in(error: BaseException) -> BrokerRefuses | None:
    """The refusal that waiting does not mend; None: the broker is away, or it will pass."""
    told = _told_by(error)
    if told is None or told.reply_code not in _WHAT_TO_DO or any(words in told.reply_text for words in _PASSES):
        return None
    return BrokerRefuses(reason_of(told), _WHAT_TO_DO[told.reply_code])


def reason_of(error: BaseException) -> str:
    """For a log line or a terminal: the broker's words, else the kind of error. Its text may quote a URL."""
    told = _told_by(error)
    return f"{told.reply_code} {told.reply_text}" if told else type(error.__cause__ or error).__name__


def _told_by(error: BaseException) -> AMQPError | None:
    """What the broker said, in this error or in one that it came from; None: it said nothing."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, AMQPError) and seen.reply_code and seen.reply_text:
            return seen
        seen = seen.__cause__ or seen.__context__
    return None


def connection_settings(settings: Settings) -> dict[str, Any]:
    """Arguments of a kombu Connection."""
    return {
        "hostname": settings.broker_url.get_secret_value(),
        "transport_options": topology.transport_options(embedded=settings.embedded),
        "heartbeat": 0 if settings.embedded else HEARTBEAT_S,
        "connect_timeout": CONNECT_S,
    }


def declare(settings: Settings) -> None:
    """Declare exchanges and queues. Raises BrokerRefuses, or another of BROKER_ERRORS while the broker is away."""
    try:
        with Connection(**connection_settings(settings)) as connection:
            connection.ensure_connection(max_retries=1, timeout=5)
            topology.declare_all(connection.default_channel)
    except BROKER_ERRORS as error:
        refusal = refusal_in(error)
        if refusal is None:
            raise
    else:
        return
    raise refusal
