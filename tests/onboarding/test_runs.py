"""The state machine."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onboarding.runs import (
    ACTIVE,
    MAX_REISSUES,
    STEPS,
    Await,
    Back,
    Backoff,
    Done,
    Later,
    Park,
    Pause,
    Reason,
    Run,
    State,
    Step,
    settle,
)

RUN = Run("run-1", "org-1", "c-1", State.RUNNING, Step.CONTRACT_CREATED)
BACKOFF = Backoff()
draws = st.floats(0, 1, exclude_max=True)
outcomes = st.one_of(
    st.just(Done()),
    st.builds(Back, dead_issue=st.integers(0, 9)),
    st.builds(Later, reason=st.sampled_from(Reason), after_s=st.none() | st.floats(0, 1e9)),
    st.builds(Park, reason=st.sampled_from(Reason)),
    st.builds(Pause, reason=st.sampled_from(Reason)),
    st.builds(Await, reason=st.sampled_from(Reason)),
)


def half() -> float:
    return 0.5


@given(st.integers(0, 10_000), st.none() | st.floats(-10, 1e12), draws)
def test_every_wait_is_whole_seconds_and_at_least_one(tries, after_s, drawn):
    """Celery 5.7 destroys a task whose countdown rounds to zero; no wait is longer than an hour."""
    wait = BACKOFF.wait_s(tries, after_s, lambda: drawn)
    assert isinstance(wait, int)
    assert 1 <= wait <= 3600


def test_ten_thousand_jitters_stay_within_their_bounds():
    """Full jitter: anywhere below the exponential, which is capped."""
    random.seed(7)
    for tries in range(1000):
        for _ in range(10):
            assert 1 <= BACKOFF.wait_s(tries % 20, None, random.random) <= min(600, max(1, 2 ** (tries % 20)))


def test_nobody_comes_before_retry_after_is_over():
    """Up to an hour. But later where our own backoff is longer: twelve times "in a second" outlast no outage."""
    assert BACKOFF.wait_s(0, 30.2, half) == 31
    assert BACKOFF.wait_s(0, 1e6, half) == 3600
    assert BACKOFF.wait_s(9, 1, half) == 256
    waits = [BACKOFF.wait_s(tries, 1, half) for tries in range(BACKOFF.max_tries - 1)]
    assert sum(waits) > 10 * 60


def test_done_leads_through_the_five_steps_to_completed():
    """In their order, and a step's tries do not burden the next."""
    run, seen = replace(RUN, tries=3), []
    while run.state is not State.COMPLETED:
        seen.append(run.step)
        change = settle(run, Done(), BACKOFF, half)
        assert change.tries == 0
        run = replace(run, step=change.step, state=change.state)
    assert tuple(seen) == STEPS


@pytest.mark.parametrize(("reason", "tries"), [(Reason.DEEL_UNAVAILABLE, 12), (Reason.CONTRACT_NOT_FOUND, 5)])
def test_after_the_last_try_the_run_is_parked_with_its_reason(reason, tries):
    """As many tries as the reason is worth, then an engineer decides."""
    run, states = RUN, []
    while not states or states[-1] is State.WAITING:
        change = settle(run, Later(reason=reason), BACKOFF, half)
        states.append(change.state)
        run = replace(run, tries=change.tries, not_found=change.not_found)
    assert len(states) == tries
    assert (change.state, change.reason, change.parkings) == (State.FAILED, reason, 1)


def test_a_404_after_other_troubles_has_tries_of_its_own():
    """Deel was away four times before it said that it does not know the contract yet: that alone parks nobody."""
    change = settle(replace(RUN, tries=4), Later(reason=Reason.CONTRACT_NOT_FOUND), BACKOFF, half)
    assert (change.state, change.tries, change.not_found) == (State.WAITING, 5, 1)


def test_waiting_for_our_own_budget_is_no_try():
    """No call was made: however long the line, it parks nobody. A 429 of Deel's is a try."""
    spent = Later(reason=Reason.RATE_LIMITED, after_s=30)
    run = replace(RUN, tries=11)
    assert settle(run, spent, BACKOFF, half).state is State.WAITING
    assert settle(run, spent, BACKOFF, half).tries == 11
    assert settle(run, replace(spent, http_status=429), BACKOFF, half).state is State.FAILED


def test_a_superseded_token_is_issued_anew_three_times():
    """Then something else keeps killing our tokens, and an engineer looks for it."""
    run = replace(RUN, step=Step.VERIFY_TOKEN)
    for number in range(MAX_REISSUES):
        change = settle(run, Back(dead_issue=number), BACKOFF, half)
        assert (change.state, change.step, change.outcome) == (State.PENDING, Step.ISSUE_TOKEN, "superseded")
        run = replace(run, reissues=change.reissues)
    last = settle(run, Back(dead_issue=9), BACKOFF, half)
    assert (last.state, last.reason) == (State.FAILED, Reason.TOKEN_SUPERSEDED)


def test_pausing_burns_no_try_and_pauses_the_organisation():
    """Awaiting a consent waits, too, but stops nobody else."""
    run = replace(RUN, tries=5)
    paused = settle(run, Pause(reason=Reason.SCOPE_MISSING), BACKOFF, half)
    assert (paused.state, paused.tries, paused.pauses) == (State.WAITING, 5, Reason.SCOPE_MISSING)
    waits = settle(run, Await(reason=Reason.CONSENT_MISSING), BACKOFF, half)
    assert (waits.state, waits.tries, waits.pauses, waits.wait_s) == (State.WAITING, 5, None, None)


@given(outcomes, st.sampled_from(STEPS), st.integers(0, 20), st.integers(0, 5), draws)
def test_every_change_can_be_explained(outcome, step, tries, reissues, drawn):
    """A run that waits or failed has a reason; one that waits for a time has a time; attempts have a known word."""
    run = replace(RUN, step=step, tries=tries, reissues=reissues)
    change = settle(run, outcome, BACKOFF, lambda: drawn)
    assert change.outcome in {"done", "retry", "waiting", "failed", "superseded"}
    if change.state in {State.WAITING, State.FAILED}:
        assert change.reason is not None
        assert change.reason.advice
    if change.outcome == "retry":
        assert change.wait_s >= 1
    assert change.state in (*ACTIVE, State.COMPLETED, State.FAILED)
    assert change.step in {run.step, run.step.following, Step.ISSUE_TOKEN}


def test_every_reason_is_one_word_with_advice():
    """One line each that tells a tired engineer what to do."""
    for reason in Reason:
        assert reason == reason.name.lower() == reason.value
        assert reason.advice.endswith((".", "`."))
        assert len(reason.advice) < 120
        assert Reason.of(str(reason)) is reason
