"""How to reach the broker, for what is not Celery's."""

from __future__ import annotations

from typing import Any, Final

from amqp.exceptions import AMQPError
from kombu.exceptions import KombuError

from onboarding.settings import Settings
from tasks.topology import transport_options

BROKER_ERRORS: Final = (KombuError, AMQPError, OSError)
"""What kombu and py-amqp raise when the broker is away or goes away."""


def connection_settings(settings: Settings) -> dict[str, Any]:
    """Arguments of a kombu Connection."""
    return {
        "hostname": settings.broker_url.get_secret_value(),
        "transport_options": transport_options(embedded=settings.embedded),
        "heartbeat": 0 if settings.embedded else 20,
        "connect_timeout": 5,
    }
