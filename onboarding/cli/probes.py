"""Is Deel there, does it take our token, which scope is missing: asked by calls that cannot have an effect."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit
from uuid import uuid4

from pydantic import SecretStr

from onboarding.budget import Budget
from onboarding.deel import Budget as AnyBudget
from onboarding.deel import Deel, DeelFailure, ParkRun, PauseOrganisation, SessionFieldInMemory
from onboarding.runs import Reason
from onboarding.settings import Settings
from onboarding.store import org_tokens, organizations
from onboarding.store.engine import Store
from onboarding.transport import Http

NOBODY: Final = "00000000-0000-0000-0000-000000000000"
"""No contract's and no worker's id: 404 or 400 where the scope is there, 403 where it is missing.
Source: Deel's API, HTTP statuses."""
FOR: Final = {
    "contracts:read": "to read a contract's facts, and the list for backfills",
    "people:write": "to make a worker's profile",
    "admin:worker": "to issue and revoke workers' tokens",
    "people:read": "to learn the token's organisation where organizations:read is missing",
    "webhooks:read": "for `onboarding webhook list` and `check`, and upkeep's look at them",
    "webhooks:write": "for `onboarding webhook create` and `delete`",
}
SCOPES: Final = tuple(FOR)
NEEDED: Final = frozenset(SCOPES[:3])
"""Without these nothing is onboarded; the others make something easier."""
CHECKS: Final = ("deel", *(f"scope {scope}" for scope in SCOPES), "organisation")
NOT_CHECKED: Final = "not checked"
THERE: Final = "there"
MOST_ORGANIZATIONS: Final = 10
"""Each is asked by seven calls."""
_HINTS: Final = {
    "admin:worker": "Deel keeps admin:worker off by default: your contact there enables it for the organisation.",
    "organizations:read": "Add organizations:read, or let every HRIS event name its organization_id.",
}


@dataclass(frozen=True)
class Finding:
    """What one check came to; `hint` says what to do where it is not ok."""

    check: str
    ok: bool
    detail: str
    hint: str = ""


class OwnPace:
    """Where the store, and so the shared budget, is not there: one call after the other."""

    def __init__(self, rate: float) -> None:
        self._gap_s = 1.0 / rate

    def take(self) -> float:
        """Wait as long as one request takes of the budget; the next is behind this one, however late it goes."""
        time.sleep(self._gap_s)
        return math.inf

    def hold(self, seconds: float) -> None:
        """Wait at once."""
        time.sleep(seconds)


def probe_deel(settings: Settings, store: Store | None) -> Iterator[Finding]:
    """One finding for each of CHECKS. `store`: None where it cannot keep the budget."""
    if settings.deel_token is None:
        yield _without_token(store)
        yield from not_checked(*CHECKS[1:])
        return
    with _client(settings, settings.deel_token, store) as deel:
        yield from _probe(deel, urlsplit(settings.deel_url).netloc)


def probe_organizations(settings: Settings, store: Store) -> Iterator[Finding]:
    """One finding for each organisation that has a token of its own: whom Deel refused first, then by name."""
    own = store.read(org_tokens.fingerprints)
    paused = {row.id for row in store.read(organizations.paused)}
    ordered = sorted((row.id for row in own), key=lambda each: (each not in paused, each))
    for organization_id in ordered[:MOST_ORGANIZATIONS]:
        yield _of_organization(settings, store, organization_id)
    if len(ordered) > MOST_ORGANIZATIONS:
        detail = f"{len(ordered) - MOST_ORGANIZATIONS} more were not asked; each was when its token was put in"
        yield Finding("organisations", ok=True, detail=detail)


def _of_organization(settings: Settings, store: Store, organization_id: str) -> Finding:
    check = f"organisation {organization_id}"
    own = store.read(lambda db: org_tokens.find(db, organization_id))
    if own is None:
        return Finding(check, ok=True, detail="its token was removed a moment ago")
    token = store.read(lambda db: org_tokens.reveal(db, settings.keyring(), organization_id, own))
    found = list(probe_deel(settings.model_copy(update={"deel_token": token}), store))
    if not found[0].ok:
        return replace(found[0], check=check)
    wrong = [each for each in found if each.check.startswith("scope ") and each.detail != THERE]
    detail = "; ".join(f"{each.check} {each.detail}" for each in wrong) or "its token has every scope"
    hint = next((each.hint for each in wrong if each.hint), "")
    return Finding(check, ok=all(each.ok for each in wrong), detail=detail, hint=hint)


def _without_token(store: Store | None) -> Finding:
    """No fault where organisations have tokens of their own: each was asked about when it was put in."""
    if store is not None and store.read(org_tokens.any_there):
        return Finding(
            CHECKS[0], ok=True, detail="no token in the settings; `onboarding org list` names those in the vault"
        )
    hint = "Set ONBOARDING_DEEL_TOKEN, or give each organisation its own: onboarding org token set ORG."
    return Finding(CHECKS[0], ok=False, detail="no token", hint=hint)


def not_checked(*checks: str) -> Iterator[Finding]:
    """For what cannot be looked at after what was found."""
    return (Finding(check, ok=False, detail=NOT_CHECKED) for check in checks)


@contextmanager
def _client(settings: Settings, token: SecretStr, store: Store | None) -> Iterator[Deel]:
    rate = settings.deel_rate
    budget: AnyBudget = OwnPace(rate) if store is None else Budget(store, token, rate)
    field = SessionFieldInMemory(settings.deel_session_field)
    http = Http()
    try:
        yield Deel(http, base_url=settings.deel_url, token=token, budget=budget, session_field=field)
    finally:
        http.close()


def _probe(deel: Deel, host: str) -> Iterator[Finding]:
    calls: dict[str, Callable[[], object]] = {
        "contracts:read": lambda: deel.contract(NOBODY),
        "people:write": lambda: deel.create_worker(NOBODY, idempotency_key=str(uuid4())),
        "admin:worker": lambda: deel.delete_session(NOBODY),
        "people:read": deel.whoami,
        "webhooks:read": deel.subscriptions,
        "webhooks:write": lambda: deel.unsubscribe(NOBODY),
    }
    failure: DeelFailure | None = None
    for scope in SCOPES:
        failure = _failure_of(calls[scope])
        if scope == SCOPES[0]:
            yield _reached(failure, host)
            if not _let_in(failure):
                yield from not_checked(*CHECKS[1:])
                return
        yield _scope(scope, failure)
    yield _organization(deel)


def _failure_of(call: Callable[[], object]) -> DeelFailure | None:
    try:
        call()
    except DeelFailure as failure:
        return failure
    return None


def _there(failure: DeelFailure | None) -> bool:
    """Deel looked for the id, so the token may."""
    if isinstance(failure, ParkRun):
        return failure.status == HTTPStatus.BAD_REQUEST
    return failure is None or failure.reason is Reason.CONTRACT_NOT_FOUND


def _forbidden(failure: DeelFailure | None) -> bool:
    return isinstance(failure, ParkRun | PauseOrganisation) and failure.status == HTTPStatus.FORBIDDEN


def _let_in(failure: DeelFailure | None) -> bool:
    return _there(failure) or _forbidden(failure)


def _reached(failure: DeelFailure | None, host: str) -> Finding:
    if failure is None or _let_in(failure):
        return Finding(CHECKS[0], ok=True, detail=f"{host} answers and takes the token")
    if failure.status is None:
        return Finding(CHECKS[0], ok=False, detail=f"{host} does not answer", hint="Check ONBOARDING_DEEL_URL.")
    if isinstance(failure, ParkRun) and failure.status == HTTPStatus.NOT_FOUND:
        hint = "Check the path of ONBOARDING_DEEL_URL."
        return Finding(CHECKS[0], ok=False, detail=f"{host} does not know the path", hint=hint)
    return Finding(CHECKS[0], ok=False, detail=f"{host}: {failure}", hint=failure.reason.advice)


def _scope(scope: str, failure: DeelFailure | None) -> Finding:
    check = f"scope {scope}"
    if failure is None or _there(failure):
        return Finding(check, ok=True, detail=THERE)
    if _forbidden(failure):
        named = failure.scope if isinstance(failure, PauseOrganisation) else None
        detail = "missing" if named in (None, scope) else f"refused: Deel wants {named}"
        hint = _HINTS.get(scope, f"Add {scope} to the token in Deel.")
        needed = scope in NEEDED
        detail = f"{detail}, {FOR[scope]}" if needed else f"not needed: {detail}, {FOR[scope]}"
        return Finding(check, ok=not needed, detail=detail, hint=hint if needed else "")
    return Finding(check, ok=False, detail=f"not known: {failure}", hint=failure.reason.advice)


def _organization(deel: Deel) -> Finding:
    """Events that name no organisation belong to the token's; nothing else needs its id."""
    check = CHECKS[-1]
    try:
        found = deel.organization_id()
    except DeelFailure as failure:
        return Finding(check, ok=False, detail=f"not known: {failure}", hint=failure.reason.advice)
    if found is None:
        return Finding(check, ok=True, detail="the token may not ask for its own", hint=_HINTS["organizations:read"])
    return Finding(check, ok=True, detail=found)
