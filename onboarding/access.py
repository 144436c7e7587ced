"""Worker tokens on demand, for applications that act as the worker.

    access = Access.of(world)  or  Access.from_settings(load())
    live = access.token("c-42", who="payroll", because="fetch payslips")   # .token, .expires_at, .issue_number
    access.refused("c-42", live.issue_number)                              # Deel answered 401: the next one is new
    with access.as_worker("c-42", who="payroll", because="fetch payslips") as deel:
        deel.get("/people/me")                                             # an httpx client (onboarding/acting.py)

What is issued goes by the step's rules: the intent is committed under its number first, an unknown outcome is asked for
again under the same one, and no token that works is killed. Of all who ask at once, in any process, one asks Deel.
A renewal kills the token before it, as Deel lets one live per worker: who holds the old one gets a 401 and asks again.

Raises NoToken, whose kinds are in onboarding/no_token.py; beside them StoreUnavailable and VaultError, as everywhere.
"""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

import structlog
from sqlalchemy import Connection

from onboarding import observe
from onboarding.clients import Clients
from onboarding.deel import Deel, DeelFailure, ParkRun, PauseOrganisation, TokenRejected, TryLater, session_key
from onboarding.dialling import within
from onboarding.failpoints import fail_point
from onboarding.no_token import (
    ConsentMissing,
    NotNow,
    NoToken,
    NotReady,
    OrganisationPaused,
    Parked,
    PingPong,
    Refused,
    UnknownContract,
)
from onboarding.runs import AnyOutcome, Done, Reason, State, Step
from onboarding.settings import Settings
from onboarding.shapes import mask_shapes
from onboarding.steps import TRIES_OF_A_NEW_TOKEN, ask_session, judge_session
from onboarding.store import access as statements
from onboarding.store import consents, organizations, runs, tokens
from onboarding.store.engine import Store, StoreUnavailable
from onboarding.store.tokens import Intended, Kept, LiveToken
from onboarding.transport import Http
from onboarding.vault import Keyring
from onboarding.world import World, clients_of

if TYPE_CHECKING:
    from onboarding.acting import AsWorker

T = TypeVar("T")
log = structlog.get_logger(__name__)

ENOUGH_LIFE_S: Final = 300.0
"""A token with less left is renewed before it is handed out."""
ISSUE_S: Final = 30.0
"""All waits and calls of one issue together."""
HELD_S: Final = 35.0
"""Whoever asks Deel may take so long; then another one takes over, as it has died."""
PATIENCE_S: Final = 20.0
"""So long the others wait for its answer."""
AFTER_FAILURE_S: Final = 2.0
"""Before anybody asks Deel for this worker's token again."""
SETTLE_S: Final = 1.0
"""A new token may not be known everywhere at Deel: it is looked at as often as the step does, so far apart."""
ROUNDS: Final = 5
PROBE_EVERY_S: Final = 300.0


@dataclass(frozen=True)
class Turn:
    """Who asks Deel for a worker's next token, and why. `probe`: although its organisation is paused."""

    holder: str
    who: str
    because: str
    probe: bool


@dataclass(frozen=True)
class Access:
    """One per process: threads may share it. All waits in seconds."""

    store: Store
    clients: Clients
    keyring: Keyring
    http: Http  # of those who act as workers: answers may be large and slow
    consent_required: bool = False
    patience_s: float = PATIENCE_S
    held_s: float = HELD_S
    after_failure_s: float = AFTER_FAILURE_S
    settle_s: float = SETTLE_S
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

        def hand_out(db: Connection, row: Any, live: LiveToken) -> LiveToken:
            runs.note(db, who, "token", because, row)
            return live

        return self._once_it_lives(contract_id, who, because, min_life_s, hand_out)

    def renew(self, contract_id: str, *, who: str, because: str, min_life_s: float = ENOUGH_LIFE_S) -> None:
        """See to it that a token with so much life is in the vault: as `token`, which nobody gets."""
        self._once_it_lives(contract_id, who, because, min_life_s, lambda _db, _row, live: live)

    def refused(self, contract_id: str, issue_number: int) -> None:
        """Deel answered 401 to the token of this issue. Where it is dead indeed, the next `token` issues anew.

        A token that works is kept, whatever the 401 was about: Deel is asked whose it is, once for all who complain.
        Raises NoToken, StoreUnavailable, VaultError.
        """
        row = self.run(contract_id)
        profile = row.hris_profile_id or ""
        holder, gives_up_at = secrets.token_hex(8), time.monotonic() + self.patience_s
        while (live := self._live(profile)) is not None and live.issue_number == issue_number:
            held = lambda db: statements.hold(db, profile, holder, issue_number, for_s=self.held_s)  # noqa: E731
            if self.store.write(held):
                self._judge(row, live, holder)
                return
            self._pass_time(contract_id, gives_up_at)

    def as_worker(self, contract_id: str, *, who: str, because: str) -> AsWorker:
        """A client of httpx that carries the worker's token: `with` or `async with`."""
        from onboarding.acting import AsWorker  # noqa: PLC0415 - it stands on this module

        return AsWorker(self, contract_id, who, because)

    def run(self, contract_id: str) -> Any:
        """The run's row, by its contract's id or its own. Raises UnknownContract, StoreUnavailable."""
        row = self.store.read(lambda db: runs.find(db, contract_id))
        if row is None:
            raise UnknownContract(contract_id, "no run is of it.")
        return row

    def _once_it_lives(
        self,
        contract_id: str,
        who: str,
        because: str,
        min_life_s: float,
        then: Callable[[Connection, Any, LiveToken], LiveToken],
    ) -> LiveToken:
        if not because.strip() or mask_shapes(because) != because:
            raise ValueError("`because` says why, without an e-mail address, a token or a key: it lies in the audit")

        def look(db: Connection) -> tuple[Any, LiveToken | None]:
            row = self._allowed(db, contract_id)
            if not statements.lives(db, row.hris_profile_id, min_life_s):
                return row, None
            live = tokens.live(db, self.keyring, row.hris_profile_id)
            return row, then(db, row, live) if live else None

        gives_up_at = time.monotonic() + self.patience_s
        for _ in range(ROUNDS):
            row, live = self.store.write(look)
            if live is not None:
                return live
            self._renew(row, who, because, min_life_s, gives_up_at)
        raise NotNow(contract_id, "its tokens do not stay in the vault.", after_s=self.after_failure_s)

    def _allowed(self, db: Connection, contract_id: str) -> Any:
        """The run's row, where its worker may have a token. Raises NoToken."""
        row = runs.find(db, contract_id)
        if row is None:
            raise UnknownContract(contract_id, "no run is of it.")
        if self.consent_required and not consents.given(db, row.contract_id):
            raise ConsentMissing(contract_id, "not before the worker's consent.", Reason.CONSENT_MISSING)
        refuse_unready(db, row)
        return row

    def _renew(self, row: Any, who: str, because: str, min_life_s: float, gives_up_at: float) -> None:
        """Issue the next token, or wait for whoever is at it."""
        holder, profile = secrets.token_hex(8), row.hris_profile_id

        def take(db: Connection) -> tuple[Kept | Intended | statements.Busy, bool]:
            self._allowed(db, row.contract_id)
            paused = organizations.paused_reason(db, row.organization_id)
            if paused and not self._is_probe(db, row, paused):
                raise OrganisationPaused(row.contract_id, f"{row.organization_id} is paused.", reason_of(paused))
            terms = {"for_s": self.held_s, "min_life_s": min_life_s}
            return statements.take(db, row.id, row.organization_id, profile, holder, **terms), bool(paused)

        fail_point("access.intending")
        intent, probe = self.store.write(take)
        fail_point("access.intended")
        if isinstance(intent, Intended):
            self._issue(row, intent, Turn(holder, who, because, probe))
        while isinstance(intent, statements.Busy) and self.store.read(
            lambda db: statements.is_busy(db, profile, min_life_s)
        ):
            self._pass_time(row.contract_id, gives_up_at)

    def _is_probe(self, db: Connection, row: Any, paused: str) -> bool:
        """Of a pause of Deel's making, one may try from time to time, as a run may."""
        return paused != Reason.PAUSED and organizations.take_probe(
            db, row.organization_id, Step.ISSUE_TOKEN, PROBE_EVERY_S
        )

    def _issue(self, row: Any, intent: Intended, turn: Turn) -> None:
        profile, number = row.hris_profile_id, intent.issue_number
        key = session_key(intent.by, number, profile)
        ask = partial(ask_session, call, profile=profile, key=key, replaces=number > 1)
        outcome = judge_session(self._ask(row, turn.holder, ask), number, datetime.now(UTC))
        kept = partial(self._keep, row=row, number=number, outcome=outcome, turn=turn)
        fail_point("access.keeping")
        allowed = self.store.write(kept)
        fail_point("access.kept")
        if not allowed:
            self._ask(row, turn.holder, lambda deel: call(lambda: deel.delete_session(profile)))
        log.info("token_renewed", contract_id=row.contract_id, run_id=row.id, issue_number=number)

    def _keep(self, db: Connection, *, row: Any, number: int, outcome: AnyOutcome, turn: Turn) -> bool:
        """What Deel answered. False: the consent was withdrawn meanwhile, and the token is to go."""
        profile = row.hris_profile_id
        allowed = not self.consent_required or consents.given(db, row.contract_id)
        if isinstance(outcome, Done) and outcome.issued and allowed:
            statements.keep(db, self.keyring, profile, outcome.issued)
            runs.note(db, turn.who, "token_renewed", turn.because, row)
        else:
            tokens.bury(db, profile, number)
        statements.give_back(db, profile, turn.holder)
        if turn.probe:
            organizations.resume_after_probe(db, row.organization_id, Step.ISSUE_TOKEN)
        return allowed

    def _judge(self, row: Any, live: LiveToken, holder: str) -> None:
        """Ask Deel about a token that somebody saw refused."""
        profile = row.hris_profile_id
        looks = TRIES_OF_A_NEW_TOKEN if self.store.read(lambda db: statements.is_new(db, profile)) else 1
        for look in range(looks):
            time.sleep(self.settle_s if look else 0.0)
            answer = self._ask(row, holder, lambda deel: call(lambda: deel.me(live.token)))
            if not isinstance(answer, TokenRejected):
                break

        def keep(db: Connection) -> Any:
            statements.give_back(db, profile, holder)
            return (
                statements.bury_superseded(db, profile, live.issue_number) if isinstance(answer, TokenRejected) else ()
            )

        fail_point("access.keeping")
        parked = self.store.write(keep)
        fail_point("access.kept")
        if isinstance(answer, TokenRejected):
            log.warning("token_superseded", contract_id=row.contract_id, run_id=row.id, issue_number=live.issue_number)
        for each in parked:
            reason = Reason.TOKEN_SUPERSEDED
            log.error("run_parked", run_id=each.id, step=Step.VERIFY_TOKEN, reason=reason, advice=reason.advice)
            observe.report_parked(each.id, reason, Step.VERIFY_TOKEN, each.organization_id)

    def _ask(self, row: Any, holder: str, ask: Callable[[Deel], T]) -> T:
        """A call to Deel by who holds the worker's turn; given back, after a pause, where Deel failed."""
        profile, after_s = row.hris_profile_id, self.after_failure_s
        failure: NoToken
        try:
            with within(min(ISSUE_S, self.held_s)):
                return ask(self.clients.of(row.organization_id))
        except PauseOrganisation as refused:
            self._pause(row, refused)
            failure = OrganisationPaused(row.contract_id, f"Deel refuses ({refused}).", refused.reason)
        except TryLater as later:
            after_s = min(max(later.after_s or 0.0, self.after_failure_s), self.held_s)
            failure = NotNow(row.contract_id, f"{later}.", later.reason, after_s)
        except ParkRun as refused:
            failure = Refused(row.contract_id, f"Deel refuses ({refused}).", refused.reason)
        with suppress(StoreUnavailable):  # then it is over when it is over
            self.store.write(lambda db: statements.give_back(db, profile, holder, after_s))
        raise failure

    def _pause(self, row: Any, failure: DeelFailure) -> None:
        """Every run of the organisation waits; one alert, whoever meets it first."""
        organization_id, reason = row.organization_id, failure.reason
        if self.clients.has_another(organization_id):
            return
        if self.store.write(lambda db: organizations.pause(db, organization_id, reason, Step.ISSUE_TOKEN)):
            log.error("organisation_paused", organization_id=organization_id, reason=reason, advice=reason.advice)
            observe.report_paused(organization_id, reason)

    def _live(self, profile: str) -> LiveToken | None:
        return self.store.read(lambda db: tokens.live(db, self.keyring, profile))

    def _pass_time(self, contract_id: str, gives_up_at: float) -> None:
        """Somebody else is at it."""
        if time.monotonic() > gives_up_at:
            raise NotNow(contract_id, "another process is asking Deel for it.", after_s=AFTER_FAILURE_S)
        time.sleep(0.05 + 0.1 * random.random())  # noqa: S311 - so that they do not all look at once


def apps_http() -> Http:
    """A payslip is larger, and made more slowly, than what we ask Deel for."""
    return Http(read_s=30.0, total_s=60.0, max_bytes=32 << 20)


def call(send: Callable[[], T], /) -> T:
    """A call to Deel, with a fail point on each side."""
    fail_point("access.calling")
    answer = send()
    fail_point("access.called")
    return answer


def refuse_unready(db: Connection, row: Any) -> None:
    """Raises NoToken unless a token of this run was seen to open its worker's account, and nobody stopped it since."""
    state, step, reason = State(row.state), Step(row.step), reason_of(row.reason)
    unverified = step.position <= Step.VERIFY_TOKEN.position and state is not State.COMPLETED
    if state is State.FAILED and unverified and reason is Reason.TOKEN_SUPERSEDED:
        raise PingPong(row.contract_id, f"its run is parked ({row.reason}).", reason)
    if state is State.CANCELLED or (state is State.FAILED and unverified):
        raise Parked(row.contract_id, f"its run is {state} at {step}.", reason)
    if row.hris_profile_id is None or (unverified and not statements.was_verified(db, row.id)):
        raise NotReady(row.contract_id, f"its run is {state} at {step}.", reason, after_s=AFTER_FAILURE_S)


def reason_of(word: str | None) -> Reason | None:
    """The reason; None for none, and for one of a newer release."""
    return Reason.__members__.get((word or "").upper())
