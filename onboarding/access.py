"""Worker tokens on demand, for applications that act as the worker.

    access = Access.of(world)  or  Access.from_settings(load())
    live = access.token("c-42", who="payroll", because="fetch payslips")   # .token, .expires_at, .issue_number
    access.refused("c-42", live.issue_number)                              # Deel answered 401: the next one is new
    with access.as_worker("c-42", who="payroll", because="fetch payslips") as deel:
        deel.get("/people/me")                                             # an httpx client (onboarding/acting.py)

Of all who ask at once, in any process, one asks Deel, by the step's rules (onboarding/issuing.py). A renewal kills the
token before it, as Deel lets one live per worker: who holds the old one gets a 401 and asks again.

Raises NoToken, whose kinds are in onboarding/no_token.py; beside them StoreUnavailable and VaultError, as everywhere.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

from sqlalchemy import Connection

from onboarding.clients import Clients
from onboarding.issuing import Issuing, Waits, Wish, reason_of
from onboarding.no_token import ConsentMissing, NotNow, NotReady, Parked, PingPong, UnknownContract
from onboarding.runs import Reason, State, Step
from onboarding.settings import Settings
from onboarding.shapes import mask_shapes
from onboarding.store import access as statements
from onboarding.store import consents, runs, tokens
from onboarding.store.engine import Store
from onboarding.store.tokens import LiveToken
from onboarding.transport import Http
from onboarding.vault import Keyring
from onboarding.world import World, clients_of

if TYPE_CHECKING:
    from onboarding.acting import AsWorker

T = TypeVar("T")
ENOUGH_LIFE_S: Final = 300.0
"""A token with less left is renewed before it is handed out."""
ROUNDS: Final = 5


@dataclass(frozen=True)
class Access:
    """One per process: threads may share it."""

    store: Store
    clients: Clients
    keyring: Keyring
    http: Http  # of those who act as workers: answers may be large and slow
    consent_required: bool = False
    waits: Waits = field(default_factory=Waits)
    close: Callable[[], None] = lambda: None

    @classmethod
    def of(cls, world: World) -> Self:
        """By what a worker process has. Its `close` leaves that open."""
        http = apps_http()
        return cls(world.store, world.clients, world.keyring, http, world.consent_required, close=http.close)

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Opens no connection yet. Raises SettingsError when, in production, the vault's key is missing."""
        store, keyring = Store(settings.database_url.get_secret_value()), settings.keyring()
        ours, apps = Http(), apps_http()

        def close() -> None:
            ours.close()
            apps.close()
            store.close()

        clients = clients_of(settings, store, keyring, ours)
        return cls(store, clients, keyring, apps, settings.consent == "required", close=close)

    def token(self, contract_id: str, *, who: str, because: str, min_life_s: float = ENOUGH_LIFE_S) -> LiveToken:
        """The worker's token, with at least so much life left; issued now if need be. On record before it is here.

        Raises NoToken, StoreUnavailable, VaultError; ValueError for a `because` that is none, or holds a secret.
        """

        def hand_out(db: Connection, row: Any) -> LiveToken | None:
            live = tokens.live(db, self.keyring, row.hris_profile_id)
            if live is not None:
                runs.note(db, who, "token", because, row)
            return live

        return self._once_it_lives(contract_id, who, because, min_life_s, hand_out)

    def renew(self, contract_id: str, *, who: str, because: str, min_life_s: float = ENOUGH_LIFE_S) -> None:
        """See to it that a token with so much life is in the vault: as `token`, but nobody gets it."""
        self._once_it_lives(contract_id, who, because, min_life_s, lambda _db, _row: True)

    def refused(self, contract_id: str, issue_number: int) -> None:
        """Deel answered 401 to the token of this issue. Where it is dead indeed, the next `token` issues anew.

        A token that works is kept, whatever the 401 was about: Deel is asked whose it is, once for all who complain.
        Raises NoToken, StoreUnavailable, VaultError.
        """
        wish = self._wish(self.run(contract_id), "", "", 0.0)
        while (live := self._live(wish)) is not None and live.issue_number == issue_number:
            if self._issuing.judge(wish, live):
                return
            self._issuing.pass_time(wish)

    def as_worker(self, contract_id: str, *, who: str, because: str) -> AsWorker:
        """A client of httpx that carries the worker's token: `with` or `async with`."""
        from onboarding.acting import AsWorker  # noqa: PLC0415 - it stands on this module

        return AsWorker(self, contract_id, who, because)

    def run(self, contract_id: str) -> Any:
        """The run's row, by its contract's id or its own. Raises UnknownContract, StoreUnavailable."""
        return self.store.read(lambda db: _known(db, contract_id))

    @property
    def _issuing(self) -> Issuing:
        return Issuing(self.store, self.clients, self.keyring, self._allowed, self.waits)

    def _wish(self, row: Any, who: str, because: str, min_life_s: float) -> Wish:
        return Wish(row, who, because, min_life_s, time.monotonic() + self.waits.patience_s)

    def _live(self, wish: Wish) -> LiveToken | None:
        profile = wish.row.hris_profile_id or ""
        return self.store.read(lambda db: tokens.live(db, self.keyring, profile))

    def _once_it_lives(
        self,
        contract_id: str,
        who: str,
        because: str,
        min_life_s: float,
        then: Callable[[Connection, Any], T | None],
    ) -> T:
        """What `then` answers in the transaction that finds a token; issued before, if need be."""
        if not because.strip() or mask_shapes(because) != because:
            raise ValueError("`because` says why, without an e-mail address, a token or a key: it lies in the audit")

        def look(db: Connection) -> tuple[Any, T | None]:
            row = self._allowed(db, contract_id)
            return row, then(db, row) if statements.lives(db, row.hris_profile_id, min_life_s) else None

        wish = None
        for _ in range(ROUNDS):
            row, found = self.store.write(look)
            if found is not None:
                return found
            wish = wish or self._wish(row, who, because, min_life_s)
            self._issuing.renew(wish)
        raise NotNow(contract_id, "its tokens do not stay in the vault.", after_s=self.waits.after_failure_s)

    def _allowed(self, db: Connection, contract_id: str) -> Any:
        """The run's row, where its worker may have a token. Raises NoToken."""
        row = _known(db, contract_id)
        if self.consent_required and not consents.given(db, row.contract_id):
            raise ConsentMissing(contract_id, "not before the worker's consent.", Reason.CONSENT_MISSING)
        _refuse_unready(db, row)
        return row


def apps_http() -> Http:
    """A payslip is larger, and made more slowly, than what we ask Deel for."""
    return Http(read_s=30.0, total_s=60.0, max_bytes=32 << 20)


def _known(db: Connection, contract_id: str) -> Any:
    row = runs.find(db, contract_id)
    if row is None:
        raise UnknownContract(contract_id, "no run is of it.")
    return row


def _refuse_unready(db: Connection, row: Any) -> None:
    """Raises NoToken unless a token of this run was seen to open its worker's account, and nobody stopped it since."""
    state, step, reason = State(row.state), Step(row.step), reason_of(row.reason)
    why = f"its run is {state} at {step}."
    unverified = step.position <= Step.VERIFY_TOKEN.position and state is not State.COMPLETED
    if state is State.FAILED and unverified and reason is Reason.TOKEN_SUPERSEDED:
        raise PingPong(row.contract_id, why, reason)
    if state is State.CANCELLED or (state is State.FAILED and unverified):
        raise Parked(row.contract_id, why, reason)
    if row.hris_profile_id is None or (unverified and not statements.was_verified(db, row.id)):
        raise NotReady(row.contract_id, why, reason)
