"""Asking Deel for a worker's next token, or about the one that lives: one process at a time for each worker.

By the step's rules (onboarding/steps.py): the intent is committed under its number first, an unknown outcome is asked
for again under the same one, and no token that works is killed. A renewed one is not verified: the profile's first was.
"""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, TypeVar

import structlog
from sqlalchemy import Connection

from onboarding import observe
from onboarding.clients import Clients
from onboarding.deel import Deel, DeelFailure, ParkRun, PauseOrganisation, TokenRejected, TryLater, session_key
from onboarding.dialling import within
from onboarding.failpoints import call, fail_point
from onboarding.no_token import NotNow, NoToken, OrganisationPaused, Refused
from onboarding.runs import AnyOutcome, Done, Reason, Step
from onboarding.steps import TRIES_OF_A_NEW_TOKEN, ask_session, judge_session
from onboarding.store import access as statements
from onboarding.store import organizations, runs, tokens
from onboarding.store.engine import Store, StoreUnavailable
from onboarding.store.tokens import Intended, Kept, LiveToken
from onboarding.vault import Keyring

T = TypeVar("T")
log = structlog.get_logger(__name__)
PROBE_EVERY_S: Final = 300.0


@dataclass(frozen=True)
class Waits:
    """All in seconds. `issue_s` < `held_s`: whoever asks Deel is through before another one takes over."""

    issue_s: float = 30.0  # all waits and calls of one question to Deel
    held_s: float = 35.0  # then who asks has died
    patience_s: float = 20.0  # of those who wait for the answer
    after_failure_s: float = 2.0  # before Deel is asked for this worker again
    settle_s: float = 1.0  # between two looks at a new token, which may not be known everywhere at Deel


@dataclass(frozen=True)
class Wish:
    """Whose token, for whom and why; `gives_up_at`, on the monotonic clock."""

    row: Any  # the run's
    who: str
    because: str
    min_life_s: float
    gives_up_at: float
    holder: str = field(default_factory=lambda: secrets.token_hex(8))


@dataclass(frozen=True)
class Issuing:
    """`allowed`: raises NoToken where the run's worker may have no token, with the transaction it is asked in."""

    store: Store
    clients: Clients
    keyring: Keyring
    allowed: Callable[[Connection, str], Any]
    waits: Waits

    def renew(self, wish: Wish) -> None:
        """Issue the next token, or wait for whoever is at it. Raises NoToken."""
        row = wish.row

        def take(db: Connection) -> tuple[Kept | Intended | statements.Busy, bool]:
            self.allowed(db, row.contract_id)
            paused = organizations.paused_reason(db, row.organization_id)
            if paused and not _is_probe(db, row, paused):
                raise OrganisationPaused(row.contract_id, f"{row.organization_id} is paused.", reason_of(paused))
            by = (row.id, row.organization_id, row.hris_profile_id, wish.holder)
            taken = statements.take(db, *by, for_s=self.waits.held_s, min_life_s=wish.min_life_s)
            return taken, bool(paused)

        fail_point("access.intending")
        intent, probe = self.store.write(take)
        fail_point("access.intended")
        match intent:
            case Intended():
                self._issue(wish, intent, probe=probe)
            case statements.Busy():
                self._wait_for_the_other(wish)

    def judge(self, wish: Wish, live: LiveToken) -> bool:
        """Ask Deel about a token that somebody saw refused, and bury it if it is dead. False: another one is at it."""
        row, profile, number = wish.row, wish.row.hris_profile_id, live.issue_number
        for_s = self.waits.held_s
        if not self.store.write(lambda db: statements.hold(db, profile, wish.holder, number, for_s=for_s)):
            return False
        is_dead = self._is_dead(wish, live)

        def keep(db: Connection) -> Any:
            parked = statements.bury_superseded(db, profile, number) if is_dead else ()
            statements.give_back(db, profile, wish.holder)
            return parked

        fail_point("access.keeping")
        parked = self.store.write(keep)
        fail_point("access.kept")
        if is_dead:
            log.warning("token_superseded", contract_id=row.contract_id, run_id=row.id, issue_number=number)
        for each in parked:
            reason = Reason.TOKEN_SUPERSEDED
            log.error("run_parked", run_id=each.id, step=Step.VERIFY_TOKEN, reason=reason, advice=reason.advice)
            observe.report_parked(each.id, reason, Step.VERIFY_TOKEN, each.organization_id)
        return True

    def pass_time(self, wish: Wish) -> None:
        """Somebody else is at it. Raises NotNow where that has lasted too long."""
        if time.monotonic() > wish.gives_up_at:
            why, after_s = "another process asks Deel for it, or has just failed to get it.", self.waits.after_failure_s
            raise NotNow(wish.row.contract_id, why, after_s=after_s)
        time.sleep(0.05 + 0.1 * random.random())  # noqa: S311 - so that they do not all look at once

    def _wait_for_the_other(self, wish: Wish) -> None:
        profile, min_life_s = wish.row.hris_profile_id, wish.min_life_s
        while self.store.read(lambda db: statements.is_busy(db, profile, min_life_s)):
            self.pass_time(wish)

    def _issue(self, wish: Wish, intent: Intended, *, probe: bool) -> None:
        row, profile, number = wish.row, wish.row.hris_profile_id, intent.issue_number
        key = session_key(intent.by, number, profile)
        session = self._ask(wish, partial(ask_session, "access", profile=profile, key=key, replaces=number > 1))
        outcome = judge_session(session, number, datetime.now(UTC))
        fail_point("access.keeping")
        refusal = self.store.write(lambda db: self._keep(db, wish, number, outcome, probe=probe))
        fail_point("access.kept")
        if refusal is not None:
            self._ask(wish, lambda deel: call("access", lambda: deel.delete_session(profile)))
            self.store.write(lambda db: statements.give_back(db, profile, wish.holder))  # not before: it would die, too
            raise refusal
        log.info("token_renewed", contract_id=row.contract_id, run_id=row.id, issue_number=number)

    def _keep(self, db: Connection, wish: Wish, number: int, outcome: AnyOutcome, *, probe: bool) -> NoToken | None:
        """What Deel answered. Not None: meanwhile it was forbidden, as by a consent withdrawn; the token is to go."""
        row, profile, refusal = wish.row, wish.row.hris_profile_id, None
        try:
            self.allowed(db, row.contract_id)
        except NoToken as none:
            refusal = none
        issued = outcome.issued if isinstance(outcome, Done) and refusal is None else None
        if issued is None:
            tokens.bury(db, profile, number)
        elif statements.keep(db, self.keyring, profile, issued):
            runs.note(db, wish.who, "token_renewed", wish.because, row)
        if refusal is None:
            statements.give_back(db, profile, wish.holder)
        else:
            statements.hold_on(db, profile, wish.holder, self.waits.held_s)
        if probe:
            organizations.resume_after_probe(db, row.organization_id, Step.ISSUE_TOKEN)
        return refusal

    def _is_dead(self, wish: Wish, live: LiveToken) -> bool:
        profile = wish.row.hris_profile_id
        looks = TRIES_OF_A_NEW_TOKEN if self.store.read(lambda db: statements.is_new(db, profile)) else 1
        for look in range(looks):
            time.sleep(self.waits.settle_s if look else 0.0)
            if not isinstance(self._ask(wish, lambda deel: call("access", lambda: deel.me(live.token))), TokenRejected):
                return False
        return True

    def _ask(self, wish: Wish, ask: Callable[[Deel], T]) -> T:
        """A call to Deel by who holds the worker's turn; given back, after a pause, where Deel failed."""
        row, after_s = wish.row, self.waits.after_failure_s
        failure: NoToken
        try:
            with within(self.waits.issue_s):
                return ask(self.clients.of(row.organization_id))
        except PauseOrganisation as refused:
            failure = self._pause(row, refused)
        except TryLater as later:
            after_s = min(max(later.after_s or 0.0, after_s), self.waits.held_s)
            failure = NotNow(row.contract_id, f"{later}.", later.reason, after_s)
        except ParkRun as refused:  # nothing says that it will be otherwise soon
            after_s = self.waits.held_s
            failure = Refused(row.contract_id, f"Deel refuses ({refused}).", refused.reason)
        with suppress(StoreUnavailable):  # then it is over when it is over
            self.store.write(lambda db: statements.give_back(db, row.hris_profile_id, wish.holder, after_s))
        raise failure

    def _pause(self, row: Any, failure: DeelFailure) -> NoToken:
        """Every run of the organisation waits; one alert, whoever meets it first. Not for a token replaced just now."""
        organization_id, reason = row.organization_id, failure.reason
        if self.clients.has_another(organization_id):
            return NotNow(row.contract_id, f"{failure}.", reason, self.waits.after_failure_s)
        if self.store.write(lambda db: organizations.pause(db, organization_id, reason, Step.ISSUE_TOKEN)):
            log.error("organisation_paused", organization_id=organization_id, reason=reason, advice=reason.advice)
            observe.report_paused(organization_id, reason)
        return OrganisationPaused(row.contract_id, f"Deel refuses ({failure}).", reason)


def reason_of(word: str | None) -> Reason | None:
    """The reason; None for none, and for one of a newer release."""
    return Reason.__members__.get((word or "").upper())


def _is_probe(db: Connection, row: Any, paused: str) -> bool:
    """Of a pause of Deel's making, one may try from time to time, as a run may."""
    by_deel = paused != Reason.PAUSED
    return by_deel and organizations.take_probe(db, row.organization_id, Step.ISSUE_TOKEN, PROBE_EVERY_S)
