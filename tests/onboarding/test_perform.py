"""One attempt of one step; and what is true whatever dies, comes twice, or comes late."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, update
from structlog.testing import capture_logs

from onboarding import failpoints
from onboarding.failpoints import STEP_POINTS
from onboarding.perform import Again, Onward, Rest
from onboarding.runs import STEPS, Reason, State, Step
from onboarding.store import organizations, runs
from onboarding.store.engine import StoreUnavailable
from onboarding.store.sql import from_now
from onboarding.store.tables import attempts, deel_tokens, worker_tokens
from onboarding.store.tables import runs as runs_table
from onboarding.vault import Keyring
from tests.onboarding.worlds import Death, Driver, die, driver

POINTS = [f"{step}.{point}" for step in STEPS for point in STEP_POINTS] + [
    "issue_token.intending",
    "issue_token.intended",
]
NUMBERS = itertools.count()
UNREACHED = {"contract_created.calling", "contract_created.called"}  # with a signed webhook's facts


@pytest.fixture
def onboard(store_url: str) -> Iterator[Driver]:
    with driver(store_url) as made:
        yield made


@pytest.fixture
def onboard_sqlite(sqlite_url: str) -> Iterator[Driver]:
    with driver(sqlite_url) as made:
        yield made


def die_at(point: str, times: int = 1) -> list[str]:
    """Arm a point with a death; returns the list of deaths that happened."""
    deaths: list[str] = []

    def die() -> None:
        if len(deaths) < times:
            deaths.append(point)
            raise Death(point)

    failpoints.arm(point, die)
    return deaths


def test_the_main_job_end_to_end(onboard: Driver):
    """Three calls, five attempts, a live token in the vault, one notification."""
    onboard.hire()
    assert onboard.carry() == State.COMPLETED
    assert [(step, outcome) for step, outcome, _ in onboard.timeline()] == [(step, "done") for step in STEPS]
    assert onboard.deel.ledger.count() == 3
    onboard.as_promised()


def test_with_a_profile_there_two_calls(onboard: Driver):
    """The signed webhook names the profile: nothing to ensure."""
    onboard.hire(with_profile=True)
    onboard.carry()
    assert onboard.deel.ledger.count() == 2
    onboard.as_promised()


@pytest.mark.parametrize("store_url", ["postgres"], indirect=True)  # SQLite gets the next test's, which are more
@pytest.mark.parametrize("point", POINTS)
def test_a_death_at_any_point_costs_a_try_and_nothing_else(onboard: Driver, point: str):
    """Killed there, and tried again: the same profile, the same token, one notification by its id."""
    deaths = die_at(point)
    onboard.hire(signed=point not in UNREACHED)
    with pytest.raises(Death):
        onboard.carry()
    assert onboard.recover() == State.COMPLETED
    onboard.as_promised()
    assert deaths == [point]
    assert onboard.deel.tokens_issued_for("c-1") == 1


# The three that raise take turns at the effects, as most make no difference between them; `make chaos` has them all.
BLOWS = {"death": (1, 1), "pause beyond the lease": (1, 1), "raise": (1, 3), "cut": (2, 3), "disk_full": (3, 3)}


@pytest.mark.parametrize("kind", BLOWS)
def test_a_blow_at_any_effect_costs_a_try_and_nothing_else(onboard_sqlite: Driver, kind: str):
    """At the first effect of a run, at the second, and so on to its last: each commit and each call, on both sides."""
    blows = {
        "death": die,
        "pause beyond the lease": onboard_sqlite.pass_time,
        **{word: failpoints._action(word) for word in ("raise", "cut", "disk_full")},
    }
    for nth in itertools.count(*BLOWS[kind]):
        onboard_sqlite.store.write(lambda db: db.execute(delete(deel_tokens)))  # so that the organisation is asked for
        contract = f"c-{nth}"
        failpoints.disarm()
        onboard_sqlite.hire(contract, signed=False)
        within = () if kind == "pause beyond the lease" else ("store.committing",)  # there it holds the row's lock
        passed = blow_at(nth, blows[kind], failpoints.POINTS - {"store.committing"} | {*within})
        for carry in (onboard_sqlite.carry, onboard_sqlite.recover):  # the reconciler's own effects get theirs too
            with suppress(Death, failpoints.Injected, OSError), capture_logs():  # a traceback takes long to draw
                carry(contract)
        failpoints.disarm()
        struck = passed[nth - 1] if len(passed) >= nth else None
        assert onboard_sqlite.recover(contract) == State.COMPLETED, struck
        onboard_sqlite.as_promised(contract)
        assert onboard_sqlite.deel.tokens_issued_for(contract) == 1, struck
        if struck is None:
            break
    assert nth > 40, "there are more effects than that: the blows did not fall"


def blow_at(nth: int, blow, points: frozenset[str]) -> list[str]:
    """Arm these points: the nth that is passed gets the blow, and no other. Returns those that were passed."""
    passed: list[str] = []

    def passing(point: str) -> None:
        passed.append(point)
        if len(passed) == nth:
            blow()

    for point in points:
        failpoints.arm(point, partial(passing, point))
    return passed


@pytest.mark.parametrize("step", STEPS)
def test_every_message_twice_changes_nothing(onboard_sqlite: Driver, step: Step):
    """A step that finds itself done adds no attempt and makes no call; only a redelivered one sends the next link."""
    onboard_sqlite.hire()
    for each in STEPS:
        home = onboard_sqlite.deel.organization_id
        assert onboard_sqlite.deliver("c-1", each) in (Onward(), Rest(State.COMPLETED, left=home))
        if each is step:
            before = onboard_sqlite.deel.ledger.count(), len(onboard_sqlite.timeline())
            double = onboard_sqlite.deliver("c-1", each)
            assert double == Rest("pending" if each is not Step.NOTIFY else "completed")
            again = onboard_sqlite.deliver("c-1", each, redelivered=True)
            assert again == (Onward() if each is not Step.NOTIFY else Rest(State.COMPLETED))
            assert (onboard_sqlite.deel.ledger.count(), len(onboard_sqlite.timeline())) == before
    onboard_sqlite.as_promised()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(STEPS), max_size=25))
def test_any_pile_of_messages_leads_to_one_token(onboard_sqlite: Driver, pile):
    """Lost, doubled, reordered: messages change when a run completes, never what it did."""
    contract = f"c-{next(NUMBERS)}"
    onboard_sqlite.hire(contract)
    for step in pile:
        onboard_sqlite.deliver(contract, step)
    if onboard_sqlite.run(contract).state != State.COMPLETED:
        onboard_sqlite.recover(contract)
    onboard_sqlite.as_promised(contract)
    assert onboard_sqlite.deel.tokens_issued_for(contract) == 1


def test_a_pause_beyond_the_lease_writes_nothing(onboard: Driver):
    """Somebody else took over while we hung after the call: our outcome is refused, theirs stands."""
    onboard.hire()
    for step in STEPS[:2]:
        onboard.deliver("c-1", step)
    hung: list[str] = []

    def hang() -> None:
        if not hung:
            hung.append("once")
            onboard.pass_time()
            onboard.carry()  # the other worker, from claim to the end

    failpoints.arm("issue_token.called", hang)
    assert onboard.deliver("c-1", Step.ISSUE_TOKEN) == Rest("late")
    onboard.as_promised()
    assert onboard.deel.tokens_issued_for("c-1") == 1


def test_three_deaths_in_a_row_park_the_run(onboard: Driver):
    """A poison run is parked as crash_loop, told, and a replay completes it."""
    onboard.hire()
    die_at("ensure_profile.called", times=3)
    for _ in range(3):
        with pytest.raises(Death):
            onboard.carry()
        onboard.pass_time()
    assert onboard.carry() == State.FAILED
    assert onboard.run().reason == Reason.CRASH_LOOP
    assert onboard.outcomes(Step.ENSURE_PROFILE) == ["crashed"] * 3
    row = onboard.run()
    assert onboard.store.write(lambda db: runs.replay(db, row, runs.Replay()))
    assert onboard.carry() == State.COMPLETED
    onboard.as_promised()


def test_a_store_that_is_away_is_not_a_failure_of_the_run(onboard_sqlite: Driver, monkeypatch):
    """Nothing is known, so nothing is decided: the message comes again."""
    onboard_sqlite.hire()

    def away(_work):
        raise StoreUnavailable("gone")

    monkeypatch.setattr(onboard_sqlite.store, "_run", lambda *_: away(None))
    with pytest.raises(StoreUnavailable):
        onboard_sqlite.deliver("c-1", Step.CONTRACT_CREATED)
    monkeypatch.undo()
    assert onboard_sqlite.carry() == State.COMPLETED


def test_a_held_run_is_looked_at_again_when_its_lease_is_over(onboard: Driver):
    """The second copy of a message waits no longer than the lease."""
    onboard.hire()
    die_at("contract_created.claimed")
    with pytest.raises(Death):
        onboard.carry()
    order = onboard.deliver("c-1", Step.CONTRACT_CREATED)
    assert isinstance(order, Again)
    assert 0 < order.seconds <= onboard.world.terms.lease_s


def test_a_rejected_org_token_pauses_everything_and_burns_nothing(onboard: Driver):
    """One 401, one pause; the others wait without a call; resume brings all of them through."""
    for number in range(3):
        onboard.hire(f"c-{number}")
    onboard.deel.revoke_token(onboard.deel.org_token)
    for number in range(3):
        assert onboard.carry(f"c-{number}") == State.WAITING
    assert onboard.deel.ledger.count() == 1
    assert {onboard.run(f"c-{number}").reason for number in range(3)} == {Reason.ORG_TOKEN_REJECTED}
    onboard.deel.restore_token(onboard.deel.org_token)
    organization = onboard.run("c-0").organization_id
    assert onboard.store.write(lambda db: organizations.resume(db, organization))
    for number in range(3):
        assert onboard.carry(f"c-{number}") == State.COMPLETED
        onboard.as_promised(f"c-{number}")


def test_the_reconciler_carries_a_run_that_no_message_carries(onboard: Driver):
    """Every message lost: the row is enough."""
    onboard.hire()
    assert onboard.recover() == State.COMPLETED
    onboard.as_promised()


def test_a_vanished_vault_row_is_issued_anew(onboard: Driver):
    """A token that expired or was erased between issue and verify: back for another."""
    onboard.hire()
    for step in STEPS[:3]:
        onboard.deliver("c-1", step)
    onboard.store.write(lambda db: db.execute(delete(worker_tokens)))
    assert onboard.carry("c-1") == State.COMPLETED
    assert onboard.vault_token() == onboard.deel.live_token("c-1")


def test_a_timeline_reads_in_order(onboard: Driver):
    """Each attempt ends after it began and before the next one begins."""
    onboard.deel.fails("POST /eor/worker", status=500, times=2)
    onboard.hire()
    onboard.carry()
    rows = onboard.store.read(lambda db: db.execute(attempts.select().order_by(attempts.c.id)).all())
    for earlier, later in itertools.pairwise(rows):
        assert earlier.started_at <= earlier.ended_at <= later.started_at
    assert [row.http_status for row in rows if row.step == Step.ENSURE_PROFILE] == [500, 500, 201]
    assert all(row.request_id for row in rows if row.http_status == 500)


def test_a_probe_resumes_the_organisation_by_itself(onboard: Driver):
    """Deel takes the token again: the first probe that gets through ends the pause for all."""
    for number in range(2):
        onboard.hire(f"c-{number}")
    onboard.deel.revoke_token(onboard.deel.org_token)
    for number in range(2):
        onboard.carry(f"c-{number}")
    onboard.deel.restore_token(onboard.deel.org_token)
    onboard.store.write(lambda db: db.execute(update(organizations.organizations).values(probe_at=from_now(-1))))
    assert onboard.carry("c-0") == State.COMPLETED
    assert onboard.run("c-1").nudge_at <= onboard.run("c-0").updated_at
    assert onboard.carry("c-1") == State.COMPLETED
    assert onboard.store.read(lambda db: db.execute(runs_table.select()).all())


def test_a_missing_vault_key_loses_nothing(onboard: Driver):
    """Neither the token that was just issued nor the run: the key comes back, and the same token is asked for."""
    onboard.hire()
    for step in STEPS[:2]:
        onboard.deliver("c-1", step)
    world = onboard.world
    onboard.world = replace(world, keyring=Keyring.from_setting("k9:" + "B" * 42 + "A="))
    assert isinstance(onboard.deliver("c-1", Step.ISSUE_TOKEN), Onward)
    onboard.pass_time()
    assert isinstance(onboard.deliver("c-1", Step.VERIFY_TOKEN), Again)
    assert onboard.run().reason == Reason.VAULT_LOCKED
    onboard.world = replace(world, keyring=Keyring.from_setting("k9:" + "B" * 42 + "A=,k1:" + "A" * 43 + "="))
    assert onboard.recover() == State.COMPLETED
    assert onboard.deel.tokens_issued_for("c-1") == 1


def test_what_cannot_be_sealed_is_not_kept(onboard: Driver):
    """The worker's data key is wrapped by a key that is gone: the run waits with a reason, and says which."""
    onboard.hire()
    onboard.carry()
    row = onboard.run()
    assert onboard.store.write(lambda db: runs.replay(db, row, runs.Replay(reissue=True)))
    world = onboard.world
    onboard.world = replace(world, keyring=Keyring.from_setting("k9:" + "B" * 42 + "A="))
    assert isinstance(onboard.deliver("c-1", Step.ISSUE_TOKEN), Again)
    assert onboard.run().reason == Reason.VAULT_LOCKED
    onboard.world = world
    assert onboard.recover() == State.COMPLETED
    onboard.as_promised()
    assert onboard.deel.tokens_issued_for("c-1") == 2


def test_no_probe_ends_an_engineers_pause(onboard: Driver):
    """It was in flight when the engineer pressed: its success says nothing of the engineer's reason."""
    onboard.hire()
    onboard.deel.revoke_token(onboard.deel.org_token)
    onboard.carry()
    onboard.deel.restore_token(onboard.deel.org_token)
    organization = onboard.run().organization_id
    onboard.store.write(lambda db: db.execute(update(organizations.organizations).values(probe_at=from_now(-1))))

    def engineer(db):
        organizations.resume(db, organization)
        organizations.pause(db, organization, Reason.PAUSED, None, probe=False)

    failpoints.arm("ensure_profile.called", lambda: onboard.store.write(engineer))
    onboard.deliver("c-1", Step.ENSURE_PROFILE)
    assert onboard.store.read(lambda db: organizations.paused_reason(db, organization)) == Reason.PAUSED


def test_a_slow_deel_is_no_crash_where_the_lease_is_short(onboard_sqlite: Driver):
    """The step gives up before its lease does: else the next claim calls it crashed, and three such park the run."""
    onboard_sqlite.hire()
    onboard_sqlite.deliver("c-1", Step.CONTRACT_CREATED)
    world = onboard_sqlite.world
    onboard_sqlite.world = replace(world, terms=replace(world.terms, lease_s=1.0))
    onboard_sqlite.deel.is_slow("POST /eor/worker", 1.5)
    assert isinstance(onboard_sqlite.deliver("c-1", Step.ENSURE_PROFILE), Again)
    assert onboard_sqlite.outcomes(Step.ENSURE_PROFILE) == ["retry"]
    assert onboard_sqlite.run().lease_until is None
