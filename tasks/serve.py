"""What the commands `intake`, `gateway` and `up` run."""

from __future__ import annotations

import signal
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from socket import socket
from typing import TYPE_CHECKING

import structlog
from kombu import Connection

from onboarding import webhook_sources
from onboarding.access import Access
from onboarding.budget import fingerprint_of
from onboarding.intake import Intake
from onboarding.settings import Settings
from onboarding.store import migrate
from onboarding.store.engine import Store
from onboarding.transport import Http
from onboarding.turns import line_of
from tasks import startup
from tasks.connect import connection_settings

if TYPE_CHECKING:
    from onboarding.web.tokens import TokenService
    from tasks.gateway import EventPublisher

log = structlog.get_logger(__name__)


def intake_of(settings: Settings, lease_s: float | None = None) -> Intake:
    """What takes events in. `lease_s`: seconds until the reconciler wonders where a new run's message is."""
    store = Store(settings.database_url.get_secret_value())
    line = line_of(settings)
    if lease_s is not None:
        line = replace(line, lease_s=lease_s)
    fingerprint = fingerprint_of(settings.deel_token) if settings.deel_token else None
    required = settings.consent == "required"
    return Intake(store, settings.keyring(), settings.webhook_secrets, line, fingerprint, required)


def serve_intake(settings: Settings) -> None:
    """Take events off the queue until SIGTERM or Ctrl-C. A broker or store that is away is waited for.

    Raises SchemaMissing or BrokerRefuses.
    """
    from tasks.intake import IntakeConsumer  # noqa: PLC0415 - it needs the Celery application, others do not

    startup.prepare(settings)
    startup.wait_for_store(settings)
    startup.wait_for_broker(settings)
    consumer = IntakeConsumer(Connection(**connection_settings(settings)), intake_of(settings))

    def stop(*_: object) -> None:
        consumer.should_stop = True

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    consumer.run()


def serve_gateway(settings: Settings, listener: socket, parts: Collection[str]) -> None:
    """Serve `webhooks`, `tokens` or both until SIGTERM or Ctrl-C.

    Whether the broker and the store answer or not: until they do, what needs them is refused. Raises BrokerRefuses.
    """
    from onboarding.web import gateway, protocol  # noqa: PLC0415 - what the extra [web] installs
    from onboarding.web.tokens import app_of  # noqa: PLC0415 - as above

    startup.prepare(settings)
    with ExitStack() as held:
        tokens = held.enter_context(_token_service(settings)).routes() if "tokens" in parts else []
        log_line = log.bind(port=listener.getsockname()[1], tokens="tokens" in parts)
        if "webhooks" not in parts:
            log_line.info("gateway_ready")
            protocol.serve(app_of(tokens), listener)
            return
        sources = webhook_sources.all_of(settings.webhook_secrets, settings.gateway_sources)
        publisher = held.enter_context(_publisher(settings))
        log_line.info("gateway_ready", sources=[source.name for source in sources], broker=publisher.ready)
        protocol.serve(gateway.Gateway(sources, publisher).app(tokens), listener)


@contextmanager
def _publisher(settings: Settings) -> Iterator[EventPublisher]:
    from tasks.gateway import EventPublisher  # noqa: PLC0415 - it knows the gateway

    publisher = EventPublisher(settings)
    with startup.signals_end_it():
        publisher.start()
    try:
        yield publisher
    finally:
        publisher.close()


@contextmanager
def _token_service(settings: Settings) -> Iterator[TokenService]:
    """Opens no connection yet."""
    from onboarding.web.tokens import MAX_ANSWER, TokenService  # noqa: PLC0415 - it needs the extra [web]

    with closing(Access.from_settings(settings)) as access, closing(Http(max_bytes=MAX_ANSWER)) as http:
        yield TokenService(replace(access, http=http))


def serve_all(settings: Settings, beside: Callable[[], None] | None) -> None:
    """All in one process. On the embedded default the store is made first if there is none.

    Raises SchemaMissing or BrokerRefuses.
    """
    from tasks.embedded import serve  # noqa: PLC0415 - it makes the Celery application

    startup.prepare(settings)
    if settings.sqlite_path is not None:
        settings.sqlite_path.parent.mkdir(parents=True, exist_ok=True)
        store = Store(settings.database_url.get_secret_value())
        migrate.upgrade(store)
        store.close()
    serve(settings, intake_of(settings), beside)
