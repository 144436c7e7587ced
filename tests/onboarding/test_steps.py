"""The five steps against a simulated Deel that misbehaves."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import SecretStr
from sqlalchemy import update

from onboarding import perform as performing
from onboarding.deel import Identity, Receipt, Session, TokenRejected
from onboarding.events import Message
from onboarding.notify import Answer, Notification, Verdict
from onboarding.perform import Anew
from onboarding.runs import STEPS, Back, Done, Park, Reason, State, Step
from onboarding.steps import judge_identity, judge_session
from onboarding.store import consents, organizations, runs
from onboarding.store.events import HOME
from onboarding.store.sql import from_now
from onboarding.store.tables import runs as table
from onboarding.store.tables import worker_tokens
from tests.onboarding.worlds import Driver

NOW = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
OK = Receipt(200, "req-1")


def replay(onboard: Driver, **wish) -> None:
    row = onboard.run()
    assert onboard.store.write(lambda db: runs.replay(db, row, runs.Replay(**wish)))


def emails(*addresses: str) -> tuple[SecretStr, ...]:
    return tuple(map(SecretStr, addresses))


@pytest.mark.parametrize(
    ("known", "found", "verdict"),
    [
        (emails("ada@example.com"), emails("ada@example.com"), Done),
        (emails("ada@old.com", "ada@example.com"), emails("ada@example.com", "ada"), Done),
        (emails("ada@example.com"), emails("eve@example.com"), Park),
        (emails(), emails("eve@example.com"), Park),
        (emails("kelvin@example.com"), emails("\u212aelvin@example.com"), Park),
    ],
)
def test_an_identity_is_the_workers_or_a_stranger(known, found, verdict):
    """One address in common; a look-alike letter makes another person."""
    outcome = judge_identity(Identity(found, None, OK), known, 4)
    assert isinstance(outcome, verdict)
    if isinstance(outcome, Park):
        assert (outcome.reason, outcome.dead_issue) == (Reason.IDENTITY_MISMATCH, 4)


def test_a_rejected_token_leads_back_with_its_number():
    """So that exactly that issue is buried."""
    assert judge_identity(TokenRejected(Receipt(401, None)), emails("a@b.c"), 7) == Back(dead_issue=7, http_status=401)


@pytest.mark.parametrize(
    ("replayed", "hours", "verdict"), [(False, 24, Done), (True, 23, Done), (True, 0.5, Back), (False, 0.5, Done)]
)
def test_a_replayed_answer_with_little_life_left_is_no_use(replayed, hours, verdict):
    """The trap of Idempotency-Key: the same old token comes back for 24 hours."""
    session = Session(SecretStr("t"), NOW + timedelta(hours=hours), replayed, OK)
    assert isinstance(judge_session(session, 1, NOW), verdict)


def test_a_lost_answer_costs_a_try_and_not_a_token(onboard: Driver):
    """Deel issued the token, the answer was lost: the second try gets the same one."""
    onboard.deel.cuts_connection(after="POST /workers/session", times=1)
    onboard.hire()
    onboard.carry()
    onboard.as_promised()
    assert onboard.outcomes(Step.ISSUE_TOKEN) == ["retry", "done"]
    assert onboard.deel.tokens_issued_for("c-1") == 1


def test_an_old_answer_with_little_life_left_leads_to_the_next_issue(onboard: Driver):
    """The answer was lost, and what Deel repeats under its key is nearly expired: the next number gets a new token."""
    onboard.deel.policy.token_life_s = 600.0
    onboard.deel.cuts_connection(after="POST /workers/session", times=1)
    onboard.hire()
    onboard.carry()
    onboard.as_promised()
    assert onboard.outcomes(Step.ISSUE_TOKEN) == ["retry", "superseded", "done"]
    assert onboard.deel.tokens_issued_for("c-1") == 2


def test_a_lost_profile_is_found_again(onboard: Driver):
    """Deel made the profile and the answer was lost: the second try looks first, and makes no second one."""
    onboard.deel.policy.idempotency = False
    onboard.deel.policy.repeat_worker = "duplicate"
    onboard.deel.cuts_connection(after="POST /eor/worker", times=1)
    onboard.hire()
    onboard.carry()
    onboard.as_promised()
    assert onboard.deel.ledger.count("POST /eor/worker") == 1


def test_a_400_for_a_profile_that_is_there_is_no_failure(onboard: Driver):
    """What a second POST answers is not documented: on 400 the step looks again."""
    onboard.deel.policy.idempotency = False
    onboard.deel.policy.repeat_worker = "400"
    onboard.hire()
    onboard.deliver("c-1", Step.CONTRACT_CREATED)
    onboard.deliver("c-1", Step.ENSURE_PROFILE)
    profile = onboard.run().hris_profile_id
    with_amnesia = onboard.run()
    onboard.store.write(lambda db: db.execute(_forget_profile(with_amnesia.id)))
    replay(onboard, step=Step.ENSURE_PROFILE)
    assert onboard.carry() == State.COMPLETED
    assert onboard.run().hris_profile_id == profile


def _forget_profile(run_id: str):
    return update(table).where(table.c.id == run_id).values(hris_profile_id=None)


def test_a_400_without_a_profile_parks(onboard: Driver):
    """Deel refuses, and there is no profile: an engineer decides."""
    onboard.deel.fails("POST /eor/worker", status=400, times=9)
    onboard.hire()
    assert onboard.carry() == State.FAILED
    assert onboard.run().reason == Reason.REQUEST_REJECTED


def test_a_stranger_identity_is_revoked_and_parked(onboard: Driver):
    """The token opened somebody else's account: it is dead at Deel and out of the vault."""
    onboard.hire()
    onboard.deel.impersonates("c-1", email="eve@example.com")
    assert onboard.carry() == State.FAILED
    assert onboard.run().reason == Reason.IDENTITY_MISMATCH
    assert onboard.deel.live_token("c-1") is None
    assert onboard.vault_token() is None
    assert onboard.run().token_expires_at is None


def test_a_superseded_token_is_issued_anew(onboard: Driver):
    """A stranger killed it before it was verified: one more, and the vault has the live one."""
    onboard.deel.has_contract("c-0")
    onboard.hire()
    onboard.deel.supersedes_after_issue("c-1", times=2)
    onboard.carry()
    onboard.as_promised()
    assert onboard.outcomes(Step.VERIFY_TOKEN) == ["superseded", *["retry"] * 3, "superseded", "done"]


def test_a_token_that_keeps_dying_is_parked(onboard: Driver):
    """Three new ones, then somebody has to look who else issues tokens."""
    onboard.hire()
    onboard.deel.supersedes_after_issue("c-1", times=99)
    assert onboard.carry() == State.FAILED
    assert onboard.run().reason == Reason.TOKEN_SUPERSEDED
    assert onboard.deel.tokens_issued_for("c-1") == 4


def test_a_replay_keeps_the_token_and_a_reissue_replaces_it(onboard: Driver):
    """No replay kills a token that works, unless an engineer asks; nobody is notified twice."""
    onboard.hire()
    onboard.carry()
    first = onboard.deel.live_token("c-1")
    replay(onboard)
    assert onboard.carry() == State.COMPLETED
    assert onboard.deel.live_token("c-1") == first
    replay(onboard, reissue=True)
    assert onboard.carry() == State.COMPLETED
    assert onboard.deel.live_token("c-1") != first
    onboard.as_promised()


def test_a_reissue_works_where_deel_refuses_a_second_session(onboard: Driver):
    """Then the old one goes first."""
    onboard.deel.policy.second_session = "refuse"
    onboard.hire()
    onboard.carry()
    first = onboard.deel.live_token("c-1")
    replay(onboard, reissue=True)
    assert onboard.carry() == State.COMPLETED
    assert onboard.deel.live_token("c-1") != first
    onboard.as_promised()


def test_a_worker_with_two_contracts_keeps_one_token(onboard: Driver):
    """The second run of a profile must not kill the first one's token."""
    onboard.hire()
    onboard.carry()
    first = onboard.deel.live_token("c-1")
    row = onboard.run()
    onboard.hire("c-2")
    onboard.deliver("c-2", Step.CONTRACT_CREATED)
    onboard.deliver("c-2", Step.ENSURE_PROFILE)
    same = update(table).where(table.c.contract_id == "c-2").values(hris_profile_id=row.hris_profile_id)
    onboard.store.write(lambda db: db.execute(same))
    onboard.deliver("c-2", Step.ISSUE_TOKEN)
    assert onboard.deel.live_token("c-1") == first
    assert onboard.deel.tokens_issued_for("c-1") == 1


def test_a_missing_scope_pauses_the_organisation(onboard: Driver):
    """admin:worker is off by default at Deel: one alert, nothing burnt."""
    onboard.deel.policy.admin_scopes_enabled = False
    onboard.hire()
    assert onboard.carry() == State.WAITING
    assert onboard.run().reason == Reason.SCOPE_MISSING
    onboard.deel.policy.admin_scopes_enabled = True
    organization = onboard.run().organization_id
    onboard.store.write(lambda db: organizations.resume(db, organization))
    assert onboard.carry() == State.COMPLETED
    onboard.as_promised()


def test_an_event_without_organisation_learns_it_once(onboard: Driver):
    """From Deel, for all runs that wait for it and all that come later."""
    for contract in ("c-1", "c-2"):
        onboard.hire(contract, signed=False)
    plain = '{"type": "contract.created", "contract_id": "c-3"}'
    onboard.deel.has_contract("c-3", email="three@example.com")
    onboard.intake.accept(Message(plain.encode(), {}, "contract.created"))
    assert onboard.run("c-3").organization_id == HOME
    assert onboard.carry("c-3") == State.COMPLETED
    assert onboard.run("c-3").organization_id == onboard.deel.organization_id
    assert onboard.deel.ledger.count("GET /organizations") == 1
    onboard.as_promised("c-3")


def test_a_contract_that_lags_behind_its_webhook_is_waited_for(onboard: Driver):
    """404 a few times, then it is there; or it never is, and an engineer decides."""
    onboard.hire(signed=False, visible_after_s=30.0)
    onboard.deliver("c-1", Step.CONTRACT_CREATED)
    assert onboard.run().reason == Reason.CONTRACT_NOT_FOUND
    onboard.deel.clock.advance(31)
    onboard.pass_time()
    assert onboard.carry() == State.COMPLETED
    onboard.hire("c-never", signed=False, visible_after_s=1e6)
    assert onboard.carry("c-never") == State.FAILED
    assert onboard.run("c-never").reason == Reason.CONTRACT_NOT_FOUND
    assert onboard.outcomes(Step.CONTRACT_CREATED, "c-never") == ["retry"] * 4 + ["failed"]


def test_a_contract_that_is_not_eor_is_parked(onboard: Driver):
    """Told by the webhook without a call, or found out from Deel."""
    onboard.hire(type="ongoing_time_based")
    onboard.hire("c-2", type="peo", signed=False)
    for contract in ("c-1", "c-2"):
        assert onboard.carry(contract) == State.FAILED
        assert onboard.run(contract).reason == Reason.NOT_EOR
    assert onboard.deel.ledger.count() == 1


def test_a_contract_without_an_address_is_parked(onboard: Driver):
    """No token could be checked."""
    onboard.hire(email="", signed=False)
    assert onboard.carry() == State.FAILED
    assert onboard.run().reason == Reason.FACTS_INCOMPLETE


def test_stale_facts_are_fetched_anew(onboard: Driver):
    """A webhook older than ten minutes is not believed."""
    onboard.hire()
    onboard.store.write(lambda db: db.execute(update(table).values(facts_at=from_now(-601))))
    onboard.carry()
    assert onboard.deel.ledger.count("GET /contracts/{contract_id}") == 1
    onboard.as_promised()


def test_without_a_consent_nothing_is_issued(onboard: Driver):
    """The run waits without cost until the consent is on record."""
    onboard.world = replace(onboard.world, consent_required=True)
    onboard.hire()
    assert onboard.carry() == State.WAITING
    assert (onboard.run().reason, onboard.run().nudge_at) == (Reason.CONSENT_MISSING, None)
    assert onboard.deel.tokens_issued_for("c-1") == 0
    onboard.store.write(lambda db: consents.record(db, "c-1", evidence="doc", version="1", who="ada"))
    assert onboard.recover() == State.COMPLETED
    onboard.as_promised()


def test_a_target_that_hangs_does_not_keep_the_others_from_being_told(onboard: Driver, monkeypatch):
    """It may use up the step's time once; the next try begins with who got none."""
    asked: list[str] = []

    class Slow:
        def __init__(self, name: str, takes_s: float, verdict: Verdict) -> None:
            self.name, self._takes_s, self._answer = name, takes_s, Answer(verdict)

        def send(self, _: Notification) -> Answer:
            asked.append(self.name)
            time.sleep(self._takes_s)
            return self._answer

    onboard.world = replace(
        onboard.world, targets=(Slow("hangs", 1.1, Verdict.LATER), Slow("listens", 0, Verdict.DELIVERED))
    )
    onboard.hire()
    for step in STEPS[:-1]:
        onboard.deliver("c-1", step)
    monkeypatch.setattr(performing, "STEP_S", 1.0)
    for _ in range(2):
        onboard.deliver("c-1", Step.NOTIFY)
        onboard.pass_time()
    assert asked == ["hangs", "listens", "hangs"]
    assert onboard.outcomes(Step.NOTIFY) == ["retry", "retry"]


def test_a_token_that_ran_out_before_anybody_was_told_is_replaced_first(onboard: Driver):
    """The run lay still for a day between its verification and its notification."""
    onboard.hire()
    for step in STEPS[:-1]:
        onboard.deliver("c-1", step)
    onboard.deel.clock.advance(25 * 3600)
    hour_ago = {"token_expires_at": from_now(-3600)}
    onboard.store.write(lambda db: db.execute(update(table).values(**hour_ago)))
    onboard.store.write(lambda db: db.execute(update(worker_tokens).values(expires_at=from_now(-3600))))
    assert onboard.deliver("c-1", Step.NOTIFY) == Anew(Step.ISSUE_TOKEN)
    assert onboard.carry() == State.COMPLETED
    assert onboard.deel.tokens_issued_for("c-1") == 2
    (told,) = onboard.sink.unique()
    assert told.body["data"]["token_expires_at"] > datetime.now(UTC).isoformat()


def test_a_target_that_refuses_parks_and_one_that_is_away_is_waited_for(onboard: Driver):
    """503 is tried again under the same id; 410 parks; the target that has it gets it once."""
    onboard.sink.answers(503, times=2)
    onboard.hire()
    onboard.carry()
    onboard.as_promised()
    assert onboard.outcomes(Step.NOTIFY) == ["retry", "retry", "done"]
    assert len(onboard.published) == 1
    onboard.sink.answers(410, times=1)
    onboard.hire("c-2")
    assert onboard.carry("c-2") == State.FAILED
    assert onboard.run("c-2").reason == Reason.NOTIFY_REJECTED
