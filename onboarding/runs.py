"""Run, Step, State, Reason: the state machine of an onboarding, pure.

A step answers with an Outcome; `settle` turns it into what is written to the run's row. Nothing here
reads a clock, a store or a network: times are seconds from now, and the store adds them to its own clock.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, Self, assert_never

from pydantic import SecretStr

MAX_REISSUES: Final = 3
"""How often a token found superseded is issued anew before the run is parked."""


class Step(StrEnum):
    """The five steps, in the order in which they are done."""

    CONTRACT_CREATED = "contract_created"
    ENSURE_PROFILE = "ensure_profile"
    ISSUE_TOKEN = "issue_token"  # noqa: S105 - a step's name
    VERIFY_TOKEN = "verify_token"  # noqa: S105 - a step's name
    NOTIFY = "notify"

    @property
    def position(self) -> int:
        """Place in the chain, from 0."""
        return STEPS.index(self)

    @property
    def following(self) -> Step | None:
        """The next step; None after the last."""
        return STEPS[self.position + 1] if self.position + 1 < len(STEPS) else None


STEPS: Final = tuple(Step)


class State(StrEnum):
    """Of a run. Only `pending`, `running` and `waiting` are carried on by a message or the reconciler."""

    PENDING = "pending"  # made or replayed, or between two steps
    RUNNING = "running"  # a worker holds a claim on it
    WAITING = "waiting"  # has a time, an organisation or a consent to wait for
    COMPLETED = "completed"
    FAILED = "failed"  # parked: an engineer decides
    CANCELLED = "cancelled"


ACTIVE: Final = (State.PENDING, State.RUNNING, State.WAITING)


class Advised(StrEnum):
    """Words of a closed list, each with a line of advice."""

    advice: str

    def __new__(cls, word: str, advice: str) -> Self:
        """A member is its word; the advice goes with it."""
        member = str.__new__(cls, word)
        member._value_ = word
        member.advice = advice
        return member


class Reason(Advised):
    """Why a run waits or failed, and what a tired engineer does about it."""

    @classmethod
    def of(cls, word: str) -> Reason:
        """The reason that a row names. Raises KeyError for a word that is not in the list."""
        return cls.__members__[word.upper()]

    RATE_LIMITED = (
        "rate_limited",
        "It waits for the request budget, and goes on by itself. Once parked: find who else spends it, then replay.",
    )
    DEEL_UNAVAILABLE = (
        "deel_unavailable",
        "Deel did not answer as it should. It goes on by itself; once parked: see that Deel is well, then replay.",
    )
    CONTRACT_NOT_FOUND = (
        "contract_not_found",
        "Deel does not know the contract. Check the id and the token's organisation, then replay.",
    )
    PROFILE_NOT_FOUND = (
        "profile_not_found",
        "Deel does not know the profile that it named itself. Compare contract and person in Deel, then replay.",
    )
    NOT_EOR = (
        "not_eor",
        "Worker tokens exist for EOR contracts only. Nothing to do; cancel it to clear the list.",
    )
    FACTS_INCOMPLETE = (
        "facts_incomplete",
        "The contract names no e-mail for its worker, so no token could be checked. Add it in Deel, then replay.",
    )
    CONSENT_MISSING = (
        "consent_missing",
        "The worker's consent is not on record. Nothing is issued before it is.",
    )
    CONTRACT_TERMINATED = (
        "contract_terminated",
        "The contract has ended: its token was revoked. Nothing to do; where Deel says otherwise by now, replay.",
    )
    ERASED = "erased", "The worker was erased: nothing personal can be read again, and nothing starts it anew."
    TOKEN_REVOKING = (
        "token_revoking",
        "The token before is being revoked at Deel. It goes on by itself once that is done.",
    )
    PAUSED = "paused", "An engineer paused the organisation: `onboarding resume ORG` when it may go on."
    ORG_TOKEN_REJECTED = (
        "org_token_rejected",
        "Deel refuses the token (401). `onboarding org token set ORG` takes a new one while workers run.",
    )
    ORG_TOKEN_MISSING = (
        "org_token_missing",
        "No token for Deel serves this organisation: `onboarding org token set ORG` takes one; its runs go on.",
    )
    SCOPE_MISSING = (
        "scope_missing",
        "The token for Deel lacks a scope: `onboarding doctor` names it. Add it, then `onboarding resume ORG`.",
    )
    TOKEN_SUPERSEDED = (
        "token_superseded",
        "Something else keeps issuing tokens for this worker and kills ours. Find and stop it, then replay.",
    )
    IDENTITY_MISMATCH = (
        "identity_mismatch",
        "The token opened another person's account; it is out of the vault. Compare contract and profile in Deel.",
    )
    NOTIFY_UNAVAILABLE = (
        "notify_unavailable",
        "A notification target does not answer. It goes on by itself; once parked: mend the target, then replay.",
    )
    NOTIFY_REJECTED = (
        "notify_rejected",
        "`show` names the target: it said 4xx, or is private (ONBOARDING_NOTIFY_ALLOW_PRIVATE). Mend it, then replay.",
    )
    REQUEST_REJECTED = (
        "request_rejected",
        "Deel refused the request. Give the request id of the last attempt to Deel's support.",
    )
    VAULT_LOCKED = (
        "vault_locked",
        "The vault's keys do not open it: `onboarding doctor` names the one that is missing. Then replay.",
    )
    CRASH_LOOP = (
        "crash_loop",
        "Workers died on it, time after time: read their logs at those times before any replay.",
    )
    INTERNAL_ERROR = (
        "internal_error",
        "A defect of ours: the log has the traceback under this run id. Report it, then replay.",
    )


PAUSING: Final = (Reason.ORG_TOKEN_REJECTED, Reason.ORG_TOKEN_MISSING, Reason.SCOPE_MISSING, Reason.PAUSED)
"""Reasons that a whole organisation waits for."""


@dataclass(frozen=True)
class Facts:
    """What an event or Deel says about a contract. Any of it may be missing."""

    contract_type: str | None = None
    emails: tuple[SecretStr, ...] = ()  # the worker's, lower case, the likeliest first
    hris_profile_id: str | None = None


@dataclass(frozen=True)
class IssuedToken:
    """A worker token as Deel answered with it, and the number of the issue that it answers."""

    issue_number: int
    token: SecretStr
    expires_at: datetime


@dataclass(frozen=True)
class Run:
    """A run's row as a step sees it."""

    id: str
    organization_id: str
    contract_id: str
    state: State
    step: Step
    reason: Reason | None = None
    tries: int = 0  # of this step, since it was entered
    not_found: int = 0  # tries among them that Deel answered with 404
    reissues: int = 0  # tokens found superseded, since the run was made or replayed
    parkings: int = 0
    reissue_asked: bool = False  # an engineer wants a new token although one lives
    hris_profile_id: str | None = None
    token_expires_at: datetime | None = None
    token_lapsed: bool = False  # by the database's clock
    contract_type: str | None = None
    has_emails: bool = False
    facts_fresh: bool = False  # told by a signed webhook or a listing within the last ten minutes
    tried_before: bool = False  # an earlier attempt of this step may have had an effect that nobody recorded


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one attempt came to. `http_status` and `request_id` are Deel's (or a target's) last answer."""

    http_status: int | None = None
    request_id: str | None = None


@dataclass(frozen=True, kw_only=True)
class Done(Outcome):
    """The step is done; what it learnt is written with it."""

    hris_profile_id: str | None = None
    facts: Facts | None = None
    issued: IssuedToken | None = None
    token_expires_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Back(Outcome):
    """The token is dead: back to `issue_token`, for the next issue number."""

    dead_issue: int


@dataclass(frozen=True, kw_only=True)
class Later(Outcome):
    """Try again, not before `after_s`: what Retry-After said."""

    reason: Reason
    after_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class Park(Outcome):
    """An engineer decides. `dead_issue`: the issue number of a token that was revoked on the way."""

    reason: Reason
    dead_issue: int | None = None


@dataclass(frozen=True, kw_only=True)
class Pause(Outcome):
    """Every run of the organisation waits; this one too."""

    reason: Reason


@dataclass(frozen=True, kw_only=True)
class Await(Outcome):
    """The run waits for an act of somebody's, which will nudge it; nothing is tried until then."""

    reason: Reason


AnyOutcome = Done | Back | Later | Park | Pause | Await


@dataclass(frozen=True)
class Backoff:
    """Exponential with full jitter and a cap; all in seconds.

    Twelve tries under a ten-minute cap ride out some 25 minutes of outage on average; a contract
    or a profile that Deel does not know yet (both can lag behind Deel's own word) is asked for five times.
    """

    base_s: float = 1.0
    cap_s: float = 600.0
    max_tries: int = 12
    max_not_found: int = 5
    longest_s: float = 3600.0  # no Retry-After makes a run wait longer

    def wait_s(self, tries: int, after_s: float | None, draw: Callable[[], float]) -> int:
        """Whole seconds, at least 1, before the try that follows `tries` failed ones.

        Never before what Retry-After said (`after_s`); but later where the backoff is: twelve times "in a second" are
        twelve seconds, and an outage that Deel announces so lasts longer.
        Whole and at least 1, as Celery 5.7 destroys a task whose countdown rounds to zero.
        """
        wait = draw() * min(self.cap_s, self.base_s * 2.0 ** min(tries, 32))
        return max(1, math.ceil(wait), math.ceil(min(after_s or 0.0, self.longest_s)))

    def is_spent(self, tries: int, not_found: int) -> bool:
        """Whether so many failed tries of a step are enough: the run is parked."""
        return tries >= self.max_tries or not_found >= self.max_not_found


@dataclass(frozen=True)
class Change:
    """What is written to the run and to its attempt when an outcome is recorded."""

    state: State
    step: Step
    outcome: str  # the attempt's word: done, retry, waiting, failed, superseded
    source: AnyOutcome
    reason: Reason | None = None
    wait_s: int | None = None  # until the next try
    tries: int = 0
    not_found: int = 0
    reissues: int = 0
    parkings: int = 0
    pauses: Reason | None = None  # the organisation


def settle(run: Run, outcome: AnyOutcome, backoff: Backoff, draw: Callable[[], float]) -> Change:
    """The transition table. `draw` yields the jitter, in [0, 1)."""
    match outcome:
        case Done() if run.step.following is not None:
            return _change(run, outcome, State.PENDING, "done", step=run.step.following, tries=0, not_found=0)
        case Done():
            return _change(run, outcome, State.COMPLETED, "done", tries=0, not_found=0, reissues=0)
        case Back() if run.reissues < MAX_REISSUES:
            back = _change(run, outcome, State.PENDING, "superseded", reason=Reason.TOKEN_SUPERSEDED)
            return replace(back, step=Step.ISSUE_TOKEN, reissues=run.reissues + 1, tries=0, not_found=0)
        case Back():
            return _parked(run, outcome, Reason.TOKEN_SUPERSEDED)
        case Later(reason=reason):
            return _later(run, outcome, reason, backoff, backoff.wait_s(run.tries, outcome.after_s, draw))
        case Park(reason=reason):
            return _parked(run, outcome, reason)
        case Pause(reason=reason):
            return _change(run, outcome, State.WAITING, "waiting", reason=reason, pauses=reason)
        case Await(reason=reason):
            return _change(run, outcome, State.WAITING, "waiting", reason=reason)
        case _:
            assert_never(outcome)


def _later(run: Run, outcome: Later, reason: Reason, backoff: Backoff, wait_s: int) -> Change:
    waits = _change(run, outcome, State.WAITING, "retry", reason=reason, wait_s=wait_s)
    if reason is Reason.RATE_LIMITED and outcome.http_status is None:  # by our own budget: no call, so no try
        return waits
    lagging = reason in (Reason.CONTRACT_NOT_FOUND, Reason.PROFILE_NOT_FOUND)
    tries, not_found = run.tries + 1, run.not_found + lagging
    if backoff.is_spent(tries, not_found):
        return _parked(run, outcome, reason)
    return replace(waits, tries=tries, not_found=not_found)


def _parked(run: Run, outcome: AnyOutcome, reason: Reason) -> Change:
    return _change(run, outcome, State.FAILED, "failed", reason=reason, parkings=run.parkings + 1)


def _change(run: Run, outcome: AnyOutcome, state: State, word: str, **others: Any) -> Change:
    """What is not said stays as it is."""
    counts = {"tries": run.tries, "not_found": run.not_found, "reissues": run.reissues, "parkings": run.parkings}
    return Change(state, source=outcome, outcome=word, **{"step": run.step, **counts, **others})
