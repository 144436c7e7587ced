"""A client of Deel for each organisation: by a token of its own, else by the configured one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from pydantic import SecretStr

from onboarding.budget import Budget
from onboarding.deel import Deel, PauseOrganisation
from onboarding.runs import Reason
from onboarding.store import org_tokens, organizations
from onboarding.store.engine import Store
from onboarding.store.events import HOME
from onboarding.transport import Http
from onboarding.vault import Keyring

LOOK_AGAIN_S: Final = 10.0
"""So long after `onboarding org add` or `remove` every process has heard of it."""


@dataclass(frozen=True)
class Client:
    """A client, its budget, and the fingerprint of its token: what the budget, and all that was learnt, is kept by."""

    deel: Deel
    fingerprint: str
    budget: Budget


@dataclass(frozen=True)
class _Seen:
    client: Client | None  # None: the organisation has no token of its own
    at: float


class Clients:
    """One per process: the clients share connections. Threads may share it."""

    def __init__(
        self, store: Store, keyring: Keyring, http: Http, *, url: str, rate: float, session_field: str
    ) -> None:
        self._store, self._keyring, self._http = store, keyring, http
        self._url, self._rate, self._session_field = url, rate, session_field
        self._seen: dict[str, _Seen] = {}
        self._lock = threading.Lock()
        self.home: Client | None = None

    def configure(self, token: SecretStr) -> None:
        """The token of the settings serves every organisation that has none of its own."""
        self.home = self._client(token)

    def of(self, organization_id: str) -> Deel:
        """Raises PauseOrganisation (`org_token_missing`) where no token serves it, StoreUnavailable, VaultError."""
        return self.client(organization_id).deel

    def client(self, organization_id: str) -> Client:
        """The same with what belongs to it."""
        with self._lock:
            client = self._own(organization_id) or self.home
        if client is None:
            raise PauseOrganisation(Reason.ORG_TOKEN_MISSING)
        return client

    def has_another(self, organization_id: str) -> bool:
        """Whether the token that Deel has just refused was replaced a moment ago: it is no reason to pause then."""
        with self._lock:
            seen = self._seen.pop(organization_id, None)
            before = (seen and seen.client) or self.home
            now = self._own(organization_id) or self.home
        return now is not None and before is not None and now.fingerprint != before.fingerprint

    def _own(self, organization_id: str) -> Client | None:
        seen = self._seen.get(organization_id)
        if seen is not None and time.monotonic() - seen.at < LOOK_AGAIN_S:
            return seen.client
        own = self._store.read(lambda db: org_tokens.find(db, organization_id))
        client = seen.client if seen else None
        if own is None and self.home is None:
            return None  # not remembered: once it has one, nobody is to wait
        if own is None:
            client = None
        elif client is None or client.fingerprint != own.fingerprint:
            client = self._client(
                self._store.read(lambda db: org_tokens.reveal(db, self._keyring, organization_id, own))
            )
        self._seen[organization_id] = _Seen(client, time.monotonic())
        return client

    def _client(self, token: SecretStr) -> Client:
        budget = Budget(self._store, token, self._rate)
        field = StoredSessionField(self._store, budget.fingerprint, self._session_field)
        deel = Deel(self._http, base_url=self._url, token=token, budget=budget, session_field=field)
        return Client(deel, budget.fingerprint, budget)


def learn_home(store: Store, home: Client, ask: Callable[[], str | None]) -> str | None:
    """The id of the configured token's organisation, which from now on has the runs of events that named none.

    As it was learnt, else as Deel answers to `ask`. None: the token may not know its own, and nothing is changed.
    """
    found = store.read(lambda db: organizations.home(db, home.fingerprint)) or ask()
    if found is not None:
        store.write(lambda db: organizations.learn_home(db, home.fingerprint, HOME, found))
    return found


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
