"""The claim and its fence."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, update

from onboarding.runs import Back, Backoff, Done, Facts, IssuedToken, Later, Park, Pause, Reason, State, Step, settle
from onboarding.store import organizations, tokens
from onboarding.store.claims import Claim, NoClaim, Terms, Why, begin
from onboarding.store.engine import Store
from onboarding.store.records import record
from onboarding.store.sql import from_now
from onboarding.store.tables import attempts, runs, worker_tokens
from tests.onboarding.store.rows import KEYRING, ORG, TERMS, add_run, claim, run_row, secret, timeline


def refusal(store: Store, step: Step = Step.CONTRACT_CREATED, terms: Terms = TERMS) -> NoClaim:
    taken = store.write(lambda db: begin(db, "run-1", step, terms))
    assert isinstance(taken, NoClaim), taken
    return taken


def finish(store: Store, held: Claim, outcome) -> bool:
    change = settle(held.run, outcome, Backoff(), lambda: 0.5)
    return store.write(lambda db: record(db, held, change, KEYRING, TERMS))


def expire_lease(store: Store) -> None:
    store.write(lambda db: db.execute(update(runs).values(lease_until=from_now(-1))))


def test_a_claim_is_a_committed_start(store: Store):
    """Before the work begins, the row says who is at it and that an attempt began."""
    add_run(store)
    held = claim(store)
    assert held.fence == 1
    assert run_row(store).state == State.RUNNING
    assert timeline(store) == [("contract_created", None)]


def test_of_many_claims_at_once_one_wins(store: Store):
    """Two copies of one message: one works, the other comes again when the lease has run out."""
    add_run(store)
    with ThreadPoolExecutor(6) as pool:
        answers = list(
            pool.map(lambda _: store.write(lambda db: begin(db, "run-1", Step.CONTRACT_CREATED, TERMS)), range(6))
        )
    assert sum(isinstance(answer, Claim) for answer in answers) == 1
    assert {answer.why for answer in answers if isinstance(answer, NoClaim)} == {Why.HELD}
    assert all(0 < answer.wait_s <= 60 for answer in answers if isinstance(answer, NoClaim))


def test_a_stale_claim_writes_nothing(store: Store):
    """A worker that was paused beyond its lease finds its fence passed, and leaves run and timeline alone."""
    add_run(store)
    late = claim(store)
    expire_lease(store)
    current = claim(store)
    assert not finish(store, late, Park(reason=Reason.NOT_EOR))
    assert run_row(store).state == State.RUNNING
    assert finish(store, current, Done())
    assert not finish(store, late, Park(reason=Reason.NOT_EOR))
    assert timeline(store) == [("contract_created", "crashed"), ("contract_created", "done")]
    assert run_row(store).step == Step.ENSURE_PROFILE


def test_recording_twice_is_recording_once(store: Store):
    """A commit whose answer was lost is tried again and changes nothing more."""
    add_run(store)
    held = claim(store)
    assert finish(store, held, Done())
    first = run_row(store)
    assert finish(store, held, Done())
    assert (run_row(store).step, run_row(store).fence) == (first.step, first.fence)
    assert len(timeline(store)) == 1


def test_a_step_that_is_done_is_not_claimed_again(store: Store):
    """A redelivered message finds its step done and adds no attempt."""
    add_run(store, step=Step.ISSUE_TOKEN)
    assert refusal(store, Step.CONTRACT_CREATED).why is Why.STEP_DONE
    assert refusal(store, Step.VERIFY_TOKEN).why is Why.STEP_AHEAD
    assert timeline(store) == []


@pytest.mark.parametrize("state", [State.COMPLETED, State.FAILED, State.CANCELLED])
def test_an_ended_run_is_not_claimed(store: Store, state: State):
    """Only an engineer's replay opens it again."""
    add_run(store, state=state)
    assert refusal(store) == NoClaim(Why.ENDED, state)


def test_an_unknown_run_is_said_to_be_unknown(store: Store):
    """A message for a run that was deleted harms nobody."""
    assert refusal(store).why is Why.UNKNOWN


def test_no_try_before_its_time(store: Store):
    """A doubled message cannot shorten a backoff."""
    add_run(store)
    assert finish(store, claim(store), Later(reason=Reason.RATE_LIMITED, after_s=30, http_status=429))
    row = run_row(store)
    assert (row.state, row.reason, row.tries) == (State.WAITING, Reason.RATE_LIMITED, 1)
    early = refusal(store)
    assert early.why is Why.TOO_EARLY
    assert 28 < early.wait_s <= 30
    assert row.nudge_at - row.next_attempt_at == timedelta(seconds=TERMS.lease_s)


def test_a_wait_beyond_a_lease_is_the_reconcilers(store: Store):
    """Long waits lie in the row alone, and are nudged the moment they are over."""
    add_run(store)
    assert finish(store, claim(store), Later(reason=Reason.DEEL_UNAVAILABLE, after_s=300))
    row = run_row(store)
    assert row.nudge_at == row.next_attempt_at


def test_three_starts_without_an_end_park_the_run(store: Store):
    """A poison run kills three workers, not a fourth."""
    add_run(store)
    for _ in range(3):
        claim(store)
        expire_lease(store)
    parked = refusal(store)
    assert (parked.why, parked.run is not None) == (Why.CRASH_LOOP, True)
    assert (run_row(store).state, run_row(store).reason) == (State.FAILED, Reason.CRASH_LOOP)
    assert timeline(store) == [("contract_created", "crashed")] * 3
    assert refusal(store).why is Why.ENDED


def test_the_third_start_is_not_parked_while_it_works(store: Store):
    """A doubled message does not park a run whose third attempt is under way."""
    add_run(store)
    for _ in range(2):
        claim(store)
        expire_lease(store)
    third = claim(store)
    assert refusal(store).why is Why.HELD
    assert finish(store, third, Done())
    assert run_row(store).starts == 0


def test_a_crash_that_was_followed_by_an_end_is_forgiven(store: Store):
    """Only starts in a row count."""
    add_run(store)
    for _ in range(5):
        claim(store)
        expire_lease(store)
        assert finish(store, claim(store), Later(reason=Reason.DEEL_UNAVAILABLE, after_s=1))
        store.write(lambda db: db.execute(update(runs).values(next_attempt_at=None)))
    assert run_row(store).state == State.WAITING


def test_facts_are_sealed(store: Store):
    """The worker's address is nowhere in the row but sealed."""
    add_run(store)
    facts = Facts("eor", (secret("ada@example.com"),), "p-1")
    assert finish(store, claim(store), Done(facts=facts, hris_profile_id="p-1"))
    row = run_row(store)
    assert (row.contract_type, row.hris_profile_id) == ("eor", "p-1")
    assert b"ada" not in row.emails_sealed
    assert "ada" not in repr({k: v for k, v in row._mapping.items() if k != "emails_sealed"})


def test_a_token_is_written_with_the_outcome_or_not_at_all(store: Store):
    """A stale claim leaves no token behind."""
    add_run(store, step=Step.ISSUE_TOKEN, hris_profile_id="p-1")
    late = claim(store, step=Step.ISSUE_TOKEN)
    store.write(lambda db: tokens.intend(db, "run-1", late.fence, ORG, "p-1"))
    expire_lease(store)
    current = claim(store, step=Step.ISSUE_TOKEN)
    expires = datetime.now(UTC) + timedelta(hours=24)
    done = Done(issued=IssuedToken(1, secret("worker-token"), expires), token_expires_at=expires)
    assert not finish(store, late, done)
    assert store.read(lambda db: tokens.live(db, KEYRING, "p-1")) is None
    assert finish(store, current, done)
    live = store.read(lambda db: tokens.live(db, KEYRING, "p-1"))
    assert live is not None
    assert live.token.get_secret_value() == "worker-token"


def test_back_buries_the_dead_token(store: Store):
    """What Deel refused is never handed out again, and the run is at issue_token for the next number."""
    add_run(store, step=Step.ISSUE_TOKEN, hris_profile_id="p-1")
    held = claim(store, step=Step.ISSUE_TOKEN)
    store.write(lambda db: tokens.intend(db, "run-1", held.fence, ORG, "p-1"))
    expires = datetime.now(UTC) + timedelta(hours=24)
    finish(store, held, Done(issued=IssuedToken(1, secret("t-1"), expires)))
    finish(store, claim(store, step=Step.VERIFY_TOKEN), Back(dead_issue=1))
    assert (run_row(store).step, run_row(store).reissues) == (Step.ISSUE_TOKEN, 1)
    assert store.read(lambda db: tokens.live(db, KEYRING, "p-1")) is None
    sealed = store.read(lambda db: db.execute(select(worker_tokens.c.sealed)).scalar_one())
    assert sealed is None


def test_a_paused_organisation_burns_nothing(store: Store):
    """Every run of it waits without an attempt; others go on; resume brings them back."""
    add_run(store)
    add_run(store, "run-2")
    add_run(store, "run-3", organization_id="org-2")
    assert finish(store, claim(store), Pause(reason=Reason.ORG_TOKEN_REJECTED, http_status=401))
    paused = store.write(lambda db: begin(db, "run-2", Step.CONTRACT_CREATED, TERMS))
    assert isinstance(paused, NoClaim)
    assert paused.why is Why.PAUSED
    assert timeline(store, "run-2") == []
    assert (run_row(store, "run-2").state, run_row(store, "run-2").reason) == ("waiting", "org_token_rejected")
    claim(store, "run-3")
    assert store.write(lambda db: organizations.resume(db, ORG))
    claim(store, "run-1")
    claim(store, "run-2")


def test_one_probe_is_let_through_and_ends_the_pause(store: Store):
    """When the probe's time has come one run tries, and its success resumes the organisation."""
    add_run(store)
    add_run(store, "run-2")
    finish(store, claim(store), Pause(reason=Reason.SCOPE_MISSING))
    assert refusal(store).why is Why.PAUSED
    store.write(lambda db: db.execute(update(organizations.organizations).values(probe_at=from_now(-1))))
    probe = claim(store)
    assert probe.probe
    assert isinstance(store.write(lambda db: begin(db, "run-2", Step.CONTRACT_CREATED, TERMS)), NoClaim)
    assert finish(store, probe, Done(http_status=200))
    assert store.read(lambda db: organizations.paused_reason(db, ORG)) is None
    assert not claim(store, "run-2").probe


def test_a_probe_that_found_its_step_done_ends_no_pause(store: Store):
    """It asked Deel nothing, so it learnt nothing of the trouble."""
    add_run(store)
    finish(store, claim(store), Pause(reason=Reason.SCOPE_MISSING))
    store.write(lambda db: db.execute(update(organizations.organizations).values(probe_at=from_now(-1))))
    assert finish(store, claim(store), Done())
    assert store.read(lambda db: organizations.paused_reason(db, ORG)) == Reason.SCOPE_MISSING


def test_a_probe_that_fails_leaves_the_pause(store: Store):
    """The first reason stands, so that one alert is raised and not one a probe."""
    add_run(store)
    finish(store, claim(store), Pause(reason=Reason.SCOPE_MISSING))
    store.write(lambda db: db.execute(update(organizations.organizations).values(probe_at=from_now(-1))))
    finish(store, claim(store), Pause(reason=Reason.ORG_TOKEN_REJECTED))
    assert store.read(lambda db: organizations.paused_reason(db, ORG)) == Reason.SCOPE_MISSING


def test_attempts_are_unique_per_fence(store: Store):
    """Two attempts never share a line of the timeline."""
    add_run(store)
    claim(store)
    expire_lease(store)
    claim(store)
    fences = store.read(lambda db: db.execute(select(attempts.c.fence).order_by(attempts.c.id)).scalars().all())
    assert fences == [1, 2]


def test_a_reason_of_a_later_release_is_no_defect(store: Store):
    """In a rolling deploy: the claim is committed when the row is read, and three of these were a crash loop."""
    add_run(store, state="waiting", reason="a_word_to_come")
    assert claim(store).run.reason is None
