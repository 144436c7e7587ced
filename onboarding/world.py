"""Everything a step needs, wired in one place from the settings."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from onboarding.clients import Clients
from onboarding.notify import ExchangeTarget, Publish, Target, WebhookTarget
from onboarding.runs import Backoff
from onboarding.settings import Settings
from onboarding.store.claims import Terms
from onboarding.store.engine import Store
from onboarding.store.line import Line
from onboarding.store.retention import Retention
from onboarding.transport import Http
from onboarding.turns import line_of
from onboarding.vault import Keyring


@dataclass(frozen=True)
class World:
    """What the steps act on. One per process: clients and connections are not shared across a fork."""

    store: Store
    clients: Clients
    keyring: Keyring
    targets: tuple[Target, ...]
    terms: Terms = field(default_factory=Terms)
    line: Line = field(default_factory=Line)
    retention: Retention = field(default_factory=Retention)
    backoff: Backoff = field(default_factory=Backoff)
    draw: Callable[[], float] = random.random  # jitter
    consent_required: bool = False
    backfill_s: float = 0.0  # between two readings of Deel's list; 0: none
    close: Callable[[], None] = lambda: None


def build(settings: Settings, publish: Publish) -> World:
    """Wire a world. Opens no connection yet.

    Raises SettingsError when, in production, the vault's key is missing.
    """
    store = Store(settings.database_url.get_secret_value())
    keyring = settings.keyring()
    http, target_http = Http(), Http(max_bytes=64 << 10)
    secret = settings.notify_secret
    targets: list[Target] = [ExchangeTarget(publish)]
    targets += [
        WebhookTarget(target_http, url, secret, allow_private=settings.notify_allow_private)
        for url in settings.notify_urls
        if secret is not None
    ]

    def close() -> None:
        http.close()
        target_http.close()
        store.close()

    return World(
        store=store,
        clients=clients_of(settings, store, keyring, http),
        keyring=keyring,
        targets=tuple(targets),
        terms=Terms(lease_s=settings.lease_seconds, crash_limit=settings.crash_limit),
        line=line_of(settings),
        retention=Retention(settings.retention_days),
        consent_required=settings.consent == "required",
        backfill_s=settings.backfill_hours * 3600.0,
        close=close,
    )


def clients_of(settings: Settings, store: Store, keyring: Keyring, http: Http) -> Clients:
    """Deel's clients, as the settings have them."""
    clients = Clients(
        store,
        keyring,
        http,
        url=settings.deel_url,
        rate=settings.deel_rate,
        session_field=settings.deel_session_field,
    )
    if settings.deel_token is not None:
        clients.configure(settings.deel_token)
    return clients
