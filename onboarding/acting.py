"""Acting as a worker: a client of httpx that carries the worker's token, and sees to it that it lives."""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Final

import anyio.to_thread

from onboarding import observe
from onboarding.access import ENOUGH_LIFE_S, Access
from onboarding.deel import PauseOrganisation, TryLater, hold_if_refused
from onboarding.masking import remember_secret
from onboarding.no_token import NotNow, OrganisationPaused
from onboarding.settings import load
from onboarding.store.tokens import LiveToken
from onboarding.transport import AsyncClient, Client, Reply, async_client_of, client_of
from onboarding.who import who as user_of_this_process

LOOK_AGAIN_S: Final = 30.0
"""Where this machine's clock is wrong, or Deel's tokens live no longer, not every request asks the vault."""


class AsWorker:
    """`with` gives a client of httpx, `async with` its asynchronous twin; both end with the block.

    What there is no token for raises NoToken, at the beginning of the block or when one has to be renewed in it; a
    budget that is spent raises NotNow; what does not reach Deel, httpx's own errors. Only Deel is reached, and every
    request takes its turn in the organisation's budget. Its timeouts are ours, and an answer is read whole: 32 MB, and
    60 s, at most.
    """

    def __init__(self, access: Access, contract_id: str, who: str, because: str) -> None:
        self._access, self._contract_id, self._who, self._because = access, contract_id, who, because
        self._sync: Client | None = None
        self._async: AsyncClient | None = None

    def __repr__(self) -> str:
        """Without what it carries."""
        return f"AsWorker({self._contract_id!r})"

    def __enter__(self) -> Client:
        """Raises NoToken."""
        self._sync = client_of(self._access.http, self._begin())
        return self._sync

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Connections stay with the process."""
        if self._sync is not None:
            self._sync.close()

    async def __aenter__(self) -> AsyncClient:
        """Raises NoToken."""
        self._async = async_client_of(self._access.http, await anyio.to_thread.run_sync(self._begin))
        return self._async

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """As `__exit__`."""
        if self._async is not None:
            await self._async.aclose()

    def _begin(self) -> Worker:
        return Worker(self._access, self._contract_id, self._who, self._because)


class Worker:
    """A worker's token for as long as somebody acts by it. Threads may share it."""

    def __init__(self, access: Access, contract_id: str, who: str, because: str) -> None:
        self._access, self._contract_id, self._who, self._because = access, contract_id, who, because
        self._lock = threading.Lock()
        self._live = access.token(contract_id, who=who, because=because)
        self._looked_at = -math.inf
        try:
            client = access.clients.client(access.run(contract_id).organization_id)
        except PauseOrganisation as none:
            raise OrganisationPaused(contract_id, f"{none}.", none.reason) from None
        self.url, self._budget = client.deel.url, client.budget
        self.headers: Mapping[str, str] = client.deel.version

    def token(self) -> LiveToken:
        """The one in hand, or a new one where that is about to expire."""
        with self._lock:
            left_s = (self._live.expires_at - datetime.now(UTC)).total_seconds()
            if left_s < ENOUGH_LIFE_S / 2 and time.monotonic() > self._looked_at + LOOK_AGAIN_S:
                self._renew()
            return self._live

    def after(self, refused: LiveToken) -> LiveToken:
        """After a 401: a new one, unless Deel says that this one works."""
        with self._lock:
            if self._live.issue_number == refused.issue_number:
                self._access.refused(self._contract_id, refused.issue_number)
                self._renew()
            return self._live

    def _renew(self) -> None:
        self._live = self._access.token(self._contract_id, who=self._who, because=self._because)
        self._looked_at = time.monotonic()

    def take(self) -> float:
        """A request of the organisation's budget. Raises NotNow where none comes free in time."""
        try:
            return self._budget.take()
        except TryLater as spent:
            failure = NotNow(self._contract_id, f"{spent}.", spent.reason, spent.after_s)
        raise failure

    def heed(self, reply: Reply) -> None:
        """After a 429, all processes slow down."""
        hold_if_refused(self._budget, reply)


_shared: Final[dict[int, Access]] = {}
_sharing: Final = threading.Lock()


def as_worker(contract_id: str, because: str, *, who: str | None = None) -> AsWorker:
    """By the settings of this process, which are read once. `who`: for the audit line; else the process's user."""
    with _sharing:
        access = _shared.get(os.getpid())  # no connection is shared across a fork
        if access is None:
            settings = load()
            observe.leave_logging_to_the_app()
            for secret in settings.secrets():
                remember_secret(secret)
            access = _shared[os.getpid()] = Access.from_settings(settings)
    return access.as_worker(contract_id, who=who or user_of_this_process(), because=because)
