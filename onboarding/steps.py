"""The five steps: (run, world) -> outcome. Each may be done twice, at any point, with the same result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Final

import structlog
from pydantic import SecretStr

from onboarding import notify
from onboarding.clients import learn_home
from onboarding.deel import Deel, Identity, ParkRun, Session, TokenRejected, TryLater, session_key, worker_key
from onboarding.dialling import time_left
from onboarding.failpoints import call, fail_point
from onboarding.notify import Verdict
from onboarding.runs import AnyOutcome, Await, Back, Done, IssuedToken, Later, Park, Reason, Run, Step
from onboarding.store import consents, facts, notifications, tokens
from onboarding.store.claims import Claim
from onboarding.store.events import HOME
from onboarding.world import World

log = structlog.get_logger(__name__)
TRIES_OF_A_NEW_TOKEN: Final = 3
"""Before a second new one is issued: the first may not be known everywhere at Deel, and each costs the one before."""


class Late(Exception):  # noqa: N818 - not a fault: somebody else owns the run
    """A newer claim owns the run: stop, write nothing more."""


def contract_created(claim: Claim, world: World) -> AnyOutcome:
    """Learn the facts: from the event while they are fresh, else from Deel."""
    run = claim.run
    if run.organization_id == HOME:
        _learn_home(run, world)
    if run.facts_fresh and run.contract_type is not None and (run.contract_type != "eor" or run.has_emails):
        return Done() if run.contract_type == "eor" else Park(reason=Reason.NOT_EOR)
    contract = call(run.step, lambda: _deel(run, world).contract(run.contract_id))
    told = contract.facts()
    status, request_id = contract.receipt.status, contract.receipt.request_id
    if told.contract_type != "eor":
        return Park(reason=Reason.NOT_EOR, http_status=status, request_id=request_id)
    if contract.has_ended(datetime.now(UTC)):  # its webhook came late, or out of order
        return Park(reason=Reason.CONTRACT_TERMINATED, http_status=status, request_id=request_id)
    if not told.emails:
        return Park(reason=Reason.FACTS_INCOMPLETE, http_status=status, request_id=request_id)
    return Done(facts=told, hris_profile_id=told.hris_profile_id, http_status=status, request_id=request_id)


def ensure_profile(claim: Claim, world: World) -> AnyOutcome:
    """Make the worker's profile unless it is known. After an attempt that may have made it, look first."""
    run = claim.run
    if run.hris_profile_id is not None:
        return Done()
    if run.tried_before:
        contract = call(run.step, lambda: _deel(run, world).contract(run.contract_id))
        if contract.hris_profile_id is not None:
            return Done(hris_profile_id=contract.hris_profile_id, http_status=contract.receipt.status)
    key = worker_key(run.organization_id, run.contract_id)
    try:
        profile = call(run.step, lambda: _deel(run, world).create_worker(run.contract_id, idempotency_key=key))
    except ParkRun as refusal:
        if refusal.status != HTTPStatus.BAD_REQUEST:
            raise
        # what a second POST answers is not documented: perhaps this, with the profile there already
        contract = call(run.step, lambda: _deel(run, world).contract(run.contract_id))
        if contract.hris_profile_id is None:
            raise
        return Done(hris_profile_id=contract.hris_profile_id, http_status=contract.receipt.status)
    return Done(
        hris_profile_id=profile.hris_profile_id,
        http_status=profile.receipt.status,
        request_id=profile.receipt.request_id,
    )


def issue_token(claim: Claim, world: World) -> AnyOutcome:
    """Keep a live token; else commit which issue is asked for, then ask Deel for it."""
    run, profile = claim.run, _profile(claim.run)
    if world.consent_required and not world.store.read(lambda db: consents.given(db, run.contract_id)):
        return Await(reason=Reason.CONSENT_MISSING)
    fail_point("issue_token.intending")
    intent = world.store.write(lambda db: tokens.intend(db, run.id, claim.fence, run.organization_id, profile))
    fail_point("issue_token.intended")
    match intent:
        case None:
            raise Late
        case tokens.Revoking():
            return Await(reason=Reason.TOKEN_REVOKING)
        case tokens.Kept(expires_at=expires_at):
            return Done(token_expires_at=expires_at)
        case tokens.Intended(issue_number=number, by=by, wished=wished):
            # by an issue of ours before, by a lost answer to this one, or because an engineer says so
            replaces = number > 1 or wished or (run.tried_before and not run.parkings)
            key, deel = session_key(by, number, profile), _deel(run, world)
            session = ask_session(run.step, deel, profile=profile, key=key, replaces=replaces)
            return judge_session(session, number, datetime.now(UTC))


def ask_session(at: str, deel: Deel, *, profile: str, key: str, replaces: bool) -> Session:
    """POST /workers/session. `replaces`: it is known that a token which may live is no use any more.

    `at`: whose fail points stand on each side.
    """
    try:
        return call(at, lambda: deel.create_session(profile, idempotency_key=key))
    except ParkRun as refusal:
        if refusal.status != HTTPStatus.BAD_REQUEST or not replaces:
            raise
    # Whether Deel replaces a live token or refuses is not documented; the one before is no use any more, or nobody
    # ever got to know it, so it goes first. Only 2xx answers are kept under a key, so the same key is right.
    call(at, lambda: deel.delete_session(profile))
    return call(at, lambda: deel.create_session(profile, idempotency_key=key))


def judge_session(session: Session, number: int, now: datetime) -> AnyOutcome:
    """What POST /workers/session answered. A replayed answer is an old token: with little life left it is no use.

    Source: Deel's API, idempotency: the first 2xx is repeated for 24 h, whatever became of its token.
    """
    status, request_id = session.receipt.status, session.receipt.request_id
    if session.replayed and session.expires_at < now + timedelta(seconds=tokens.ENOUGH_LIFE_S):
        return Back(dead_issue=number, http_status=status, request_id=request_id)
    return Done(
        issued=IssuedToken(number, session.token, session.expires_at),
        token_expires_at=session.expires_at,
        http_status=status,
        request_id=request_id,
    )


def verify_token(claim: Claim, world: World) -> AnyOutcome:
    """See that the token opens the account of the contract's worker, and nobody else's."""
    run, profile = claim.run, _profile(claim.run)
    live, emails = world.store.read(
        lambda db: (tokens.live(db, world.keyring, profile), facts.emails_of(db, world.keyring, profile))
    )
    if live is None:
        seen = run.reason is Reason.IDENTITY_MISMATCH  # by the try before, whose DELETE did not get through
        return (
            _revoke(run, world, profile, Park(reason=Reason.IDENTITY_MISMATCH, dead_issue=0))
            if seen
            else Back(dead_issue=0)
        )
    answer = call(run.step, lambda: _deel(run, world).me(live.token))
    outcome = judge_identity(answer, emails, live.issue_number)
    if isinstance(outcome, Back) and run.reissues and run.tries < TRIES_OF_A_NEW_TOKEN:
        return Later(reason=Reason.TOKEN_SUPERSEDED, http_status=outcome.http_status, request_id=outcome.request_id)
    if not isinstance(outcome, Park):
        return outcome
    contract = call(run.step, lambda: _deel(run, world).contract(run.contract_id))
    told = contract.facts()  # ours may be old, and the worker right
    outcome = judge_identity(answer, told.emails, live.issue_number)
    if isinstance(outcome, Done):
        return replace(outcome, facts=told)
    world.store.write(lambda db: tokens.bury(db, profile, live.issue_number))  # whatever becomes of the call to come
    return _revoke(run, world, profile, outcome)


def _revoke(run: Run, world: World, profile: str, outcome: AnyOutcome) -> AnyOutcome:
    try:
        call(run.step, lambda: _deel(run, world).delete_session(profile))
    except TryLater as failure:  # somebody else's token must not live on for a day because Deel hiccuped
        status, request_id = failure.status, failure.request_id
        return Later(
            reason=Reason.IDENTITY_MISMATCH, after_s=failure.after_s, http_status=status, request_id=request_id
        )
    except ParkRun as refusal:
        return replace(outcome, http_status=refusal.status, request_id=refusal.request_id)
    return outcome


def judge_identity(answer: Identity | TokenRejected, emails: tuple[SecretStr, ...], issue_number: int) -> AnyOutcome:
    """What GET /people/me says about a token. It names no profile id: the addresses must match.

    Source: Deel's OpenAPI of /people/me: its ids are numbers, those of POST /eor/worker are UUIDs.
    """
    status, request_id = answer.receipt.status, answer.receipt.request_id
    if isinstance(answer, TokenRejected):
        return Back(dead_issue=issue_number, http_status=status, request_id=request_id)
    # both sides were read by one rule: only ASCII letters are lowered, so that no Unicode trick makes two one
    known = {email.get_secret_value() for email in emails}
    if any(email.get_secret_value() in known for email in answer.emails):
        return Done(http_status=status, request_id=request_id)
    return Park(reason=Reason.IDENTITY_MISMATCH, dead_issue=issue_number, http_status=status, request_id=request_id)


def notify_targets(claim: Claim, world: World) -> AnyOutcome:
    """Send onboarding.completed to every target that does not have it yet.

    Not of a token that ran out while the run lay still, between its verification and this: it gets a new one first.
    """
    run = claim.run
    if run.token_lapsed:
        return Back(dead_issue=0)
    targets = {target.name: target for target in world.targets}
    message_id = notify.message_id(run.id, notify.COMPLETED)
    rows = world.store.write_one(lambda db: notifications.prepare(db, run.id, message_id, targets))
    # what was refused in an earlier try, whose worker died before it could say so, is refused still
    answers = [notify.Answer(Verdict.REFUSED, row.http_status) for row in rows if row.refused_at is not None]
    open_rows = [row for row in rows if row.delivered_at is None and row.refused_at is None and row.target in targets]
    # who was away before comes last, and who gets no time at all is not counted as tried: one that hangs must not
    # keep the others from being told
    for each in sorted(open_rows, key=lambda row: row.tries):
        if time_left() <= 0:
            answers.append(notify.Answer(Verdict.LATER))
            break
        target, message = targets[each.target], notify.completed(run, each.created_at)
        answer = call(run.step, lambda target=target, message=message: target.send(message))  # type: ignore[misc]
        keep_answer(world, message_id, target.name, answer)
        answers.append(answer)
    return judge_answers(answers)


def judge_answers(answers: list[notify.Answer]) -> AnyOutcome:
    """What the targets made of it, all together: one that is away delays the run, then one that refuses parks it."""
    for verdict in (Verdict.LATER, Verdict.REFUSED):
        for answer in answers:
            if answer.verdict is verdict:
                if verdict is Verdict.REFUSED:
                    return Park(reason=Reason.NOTIFY_REJECTED, http_status=answer.http_status)
                return Later(reason=Reason.NOTIFY_UNAVAILABLE, http_status=answer.http_status)
    statuses = [answer.http_status for answer in answers if answer.http_status is not None]  # the exchange has none
    return Done(http_status=statuses[-1] if statuses else None)


def keep_answer(world: World, message_id: str, target: str, answer: notify.Answer, wait_s: float = 0.0) -> None:
    """Write down what a target made of a message; the log tells of those that did not take it."""
    told = {"target": target, "message_id": message_id, "http_status": answer.http_status, "why": answer.why or None}
    match answer.verdict:
        case Verdict.DELIVERED:
            world.store.write_one(lambda db: notifications.delivered(db, message_id, target, answer.http_status))
        case Verdict.REFUSED:
            log.warning("target_refused", **told)
            world.store.write_one(lambda db: notifications.refused(db, message_id, target, answer.http_status))
        case Verdict.LATER:
            log.warning("target_failed", **told)
            world.store.write_one(lambda db: notifications.failed(db, message_id, target, answer.http_status, wait_s))


STEP_ACTIONS: Final[dict[Step, Callable[[Claim, World], AnyOutcome]]] = {
    Step.CONTRACT_CREATED: contract_created,
    Step.ENSURE_PROFILE: ensure_profile,
    Step.ISSUE_TOKEN: issue_token,
    Step.VERIFY_TOKEN: verify_token,
    Step.NOTIFY: notify_targets,
}


def _learn_home(run: Run, world: World) -> None:
    """The event named no organisation: it belongs to that of the token, which is asked of Deel once.

    A token that may not know its own changes nothing: the run goes on under the placeholder.
    """
    home = world.clients.home
    if home is not None:
        learn_home(world.store, home, lambda: call(run.step, home.deel.organization_id))


def _deel(run: Run, world: World) -> Deel:
    return world.clients.of(run.organization_id)


def _profile(run: Run) -> str:
    if run.hris_profile_id is None:
        raise ParkRun(Reason.PROFILE_NOT_FOUND)
    return run.hris_profile_id
