"""Everything a step needs, wired in one place from the settings."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from onboarding.budget import Budget
from onboarding.deel import Deel
from onboarding.notify import ExchangeTarget, Publish, Target, WebhookTarget
from onboarding.runs import Backoff
from onboarding.settings import Settings
from onboarding.store import organizations
from onboarding.store.claims import Terms
from onboarding.store.engine import Store
from onboarding.store.line import Line
from onboarding.transport import Http
from onboarding.vault import Keyring


@dataclass(frozen=True)
class World:
    """What the steps act on. One per process: clients and connections are not shared across a fork."""

    store: Store
    deel: Deel
    keyring: Keyring
    targets: tuple[Target, ...]
    fingerprint: str  # of the token for Deel
    terms: Terms = field(default_factory=Terms)
    line: Line = field(default_factory=Line)
    backoff: Backoff = field(default_factory=Backoff)
    draw: Callable[[], float] = random.random  # jitter
    consent_required: bool = False
    close: Callable[[], None] = lambda: None


def build(settings: Settings, publish: Publish) -> World:
    """Wire a world. Opens no connection yet.

    Raises SettingsError when the token for Deel or, in production, the vault's key is missing.
    """
    store = Store(settings.database_url.get_secret_value())
    token = settings.require_deel_token()
    budget = Budget(store, token, settings.deel_rate)
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
        deel=Deel(
            http,
            base_url=settings.deel_url,
            token=token,
            budget=budget,
            session_field=StoredSessionField(store, budget.fingerprint, settings.deel_session_field),
        ),
        keyring=settings.keyring(),
        targets=tuple(targets),
        fingerprint=budget.fingerprint,
        terms=Terms(lease_s=settings.lease_seconds, crash_limit=settings.crash_limit),
        line=Line.for_rate(settings.deel_rate, settings.lease_seconds),
        consent_required=settings.consent == "required",
        close=close,
    )


class StoredSessionField:
    """The field that POST /workers/session wants: the setting, until Deel named the other one."""

    def __init__(self, store: Store, fingerprint: str, default: str) -> None:
        self._store, self._fingerprint, self._default = store, fingerprint, default
        self._known: str | None = None

    def get(self) -> str:
        """The field to send."""
        if self._known is None:
            row = self._store.read(lambda db: organizations.learnt(db, self._fingerprint))
            self._known = (row.session_field if row else None) or self._default
        return self._known

    def remember(self, field: str) -> None:
        """Deel wanted this one: keep it for all processes, and for the next start."""
        self._known = field
        self._store.write(lambda db: organizations.learn(db, self._fingerprint, session_field=field))
