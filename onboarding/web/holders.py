"""Who holds the service key that a request shows, and whether that is in time."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

import structlog
from anyio import CapacityLimiter
from anyio.to_thread import run_sync

from onboarding import service_keys as keys
from onboarding.service_keys import Scope
from onboarding.store import service_keys
from onboarding.store.engine import Store
from onboarding.web.requests import Refused
from onboarding.web.troubles import TROUBLES, refusal_of

THREADS: Final = 4
_BEARER: Final = re.compile(rb"(?i:bearer) +([!-~]{1,200})")


@dataclass(frozen=True)
class Holder:
    """A right key, without itself. `organization_id`: None opens every organisation's contracts."""

    id: str
    name: str
    organization_id: str | None

    @property
    def who(self) -> str:
        """For the audit."""
        return f"key {self.name}"


class NoEntry(Refused):
    """401, whatever is wrong with the key: only the log tells."""

    def __init__(self, reason: str) -> None:
        super().__init__(HTTPStatus.UNAUTHORIZED, reason, {"www-authenticate": "Bearer"})

    @property
    def told(self) -> str:
        """Nothing."""
        return "unauthorized"


class Keys:
    """Looked up in the store at every request: one that is revoked is so at once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._threads = CapacityLimiter(THREADS)  # not those of the holders of right keys

    async def holder(self, headers: Mapping[str, bytes], scope: Scope) -> Holder:
        """Raises Refused: 401 without a right key, 403 for one that may not do that, 429 beyond its rate."""
        shown = _BEARER.fullmatch(headers.get("authorization", b""))
        text = shown[1].decode() if shown else ""
        key_id = keys.id_in(text)
        if key_id is None:
            raise NoEntry("no_key")
        try:
            name, found = await run_sync(self._judge, key_id, text, scope, limiter=self._threads)
        except TROUBLES as trouble:
            name, found = None, refusal_of(trouble)
        if name is not None:
            structlog.contextvars.bind_contextvars(key=name)  # of this request's task alone
        if isinstance(found, Refused):
            raise found
        return found

    def _judge(self, key_id: str, text: str, scope: Scope) -> tuple[str | None, Holder | Refused]:
        """Its name goes to the log once it has proven to be who it says."""
        row = self._store.read(lambda db: service_keys.find(db, key_id))
        if row is None or not keys.is_key(text, row.digest):
            return None, NoEntry("unknown_key")
        if row.revoked_at is None and row.scope not in (Scope.TOKEN, scope):
            return row.name, Refused(HTTPStatus.FORBIDDEN, "key_may_not")
        if self._store.write(lambda db: service_keys.take(db, key_id)):
            return row.name, Holder(row.id, row.name, row.organization_id)
        row = self._store.read(lambda db: service_keys.find(db, key_id))
        if row is None or row.revoked_at is not None:
            return row and row.name, NoEntry("revoked_key")
        again = max(1, math.ceil(row.early_s))
        return row.name, Refused(HTTPStatus.TOO_MANY_REQUESTS, "too_many", {"retry-after": str(again)})
