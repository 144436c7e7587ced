"""Tokens on demand: one issue at a time, none that works is killed, and nothing leaves without consent."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import pytest
from sqlalchemy import select, update

from onboarding import failpoints, revoking, upkeep
from onboarding.access import Access
from onboarding.consent_events import Evidence
from onboarding.issuing import Waits
from onboarding.no_token import (
    ConsentMissing,
    NotNow,
    NotReady,
    OrganisationPaused,
    Parked,
    PingPong,
    Refused,
    UnknownContract,
)
from onboarding.runs import Reason, Step
from onboarding.store import access as statements
from onboarding.store import consents, endings, organizations, retention
from onboarding.store import runs as runs_store
from onboarding.store.sql import from_now
from onboarding.store.tables import audit, runs, worker_tokens
from onboarding.store.tables import revocations as revocations_table
from onboarding.store.tokens import Intended
from tests.onboarding.worlds import Death, Driver, die, driver

ISSUE = "POST /workers/session"
ASK = {"who": "app", "because": "a test"}


@pytest.fixture
def world(store_url: str) -> Iterator[Driver]:
    with driver(store_url) as made:
        yield made


@pytest.fixture
def access(world: Driver) -> Iterator[Access]:
    made = Access.of(world.world)
    yield replace(made, waits=Waits(after_failure_s=0.2, settle_s=0.02))
    made.close()


@pytest.fixture
def hired(world: Driver) -> Driver:
    """A completed run: its token was verified."""
    world.hire()
    world.carry()
    world.as_promised()
    return world


def decide(world: Driver, *, given: bool) -> None:
    """The worker consents, or withdraws, where that counts."""
    said, terms = Evidence("e", "1", "portal", "hr"), {"required": True, "lease_s": 60.0}
    world.store.write(lambda db: endings.decide(db, "c-1", said, given=given, **terms))


def replay(world: Driver) -> None:
    row = world.run()
    assert world.store.write(lambda db: runs_store.replay(db, row, runs_store.Replay()))


def expire(world: Driver, life_s: float = -1.0) -> None:
    """The vault's tokens have so much life left."""
    columns = {"expires_at": from_now(life_s), "stored_at": from_now(-3600)}
    world.store.write(lambda db: db.execute(update(worker_tokens).values(**columns)))


def asked(world: Driver, route: str = ISSUE) -> int:
    return world.deel.ledger.count(route, "c-1")


def lines(world: Driver) -> list[tuple[str, str, str]]:
    query = select(audit.c.who, audit.c.did, audit.c.because).order_by(audit.c.id)
    return [tuple(row) for row in world.store.read(lambda db: db.execute(query).all())]


def test_a_live_token_is_handed_out_and_no_call_is_made(hired: Driver, access: Access):
    """Who asked, and why, is on record."""
    calls = len(hired.deel.ledger)
    live = access.token("c-1", **ASK)
    assert live.token.get_secret_value() == hired.deel.live_token("c-1")
    assert len(hired.deel.ledger) == calls
    assert lines(hired) == [("app", "token", "a test")]


@pytest.mark.parametrize("life_s", [-1.0, 200.0])
def test_one_that_has_expired_or_is_about_to_is_renewed(hired: Driver, access: Access, life_s: float):
    """The run shows the new one's end; the renewal is on record, too."""
    expire(hired, life_s)
    live = access.token("c-1", **ASK)
    assert live.issue_number == 2
    assert live.token.get_secret_value() == hired.deel.live_token("c-1")
    assert hired.run().token_expires_at == live.expires_at
    assert [did for _, did, _ in lines(hired)] == ["token_renewed", "token"]
    assert access.token("c-1", **ASK) == live
    assert hired.deel.tokens_issued_for("c-1") == 2


def test_a_worker_who_is_acted_for_is_kept_by_retention(hired: Driver, access: Access):
    """Or nobody could act any more, 400 days after the hire."""
    old = {"updated_at": from_now(-500 * 86_400)}
    hired.store.write(lambda db: db.execute(update(runs).values(**old)))
    expire(hired)
    access.token("c-1", **ASK)
    expire(hired)
    assert hired.store.write(lambda db: retention.retire_runs(db, retention.Retention(400))).deleted == 0
    hired.store.write(lambda db: db.execute(update(runs).values(**old)))
    assert hired.store.write(lambda db: retention.retire_runs(db, retention.Retention(400))).deleted == 1


def test_a_deel_that_refuses_while_one_lives_has_it_deleted_first(hired: Driver, access: Access):
    """Whether it replaces or refuses is not documented; the one before is too short to be of use."""
    hired.deel.policy.second_session = "refuse"
    expire(hired, 200.0)
    live = access.token("c-1", **ASK)
    assert live.token.get_secret_value() == hired.deel.live_token("c-1")
    assert hired.deel.tokens_issued_for("c-1") == 2


def test_a_hundred_callers_at_once_cause_one_issue(hired: Driver, access: Access):
    """Each gets the same token."""
    expire(hired)
    everybody = threading.Barrier(100)

    def ask(_: int) -> str:
        everybody.wait()
        return access.token("c-1", **ASK).token.get_secret_value()

    with ThreadPoolExecutor(100) as pool:
        answers = list(pool.map(ask, range(100)))
    assert set(answers) == {hired.deel.live_token("c-1")}
    assert asked(hired) == 2  # the run's own, and one


@pytest.mark.parametrize("point", ["intending", "intended", "calling", "called", "keeping", "kept"])
def test_one_who_dies_while_issuing_costs_no_second_token(hired: Driver, access: Access, point: str):
    """Whatever it had done: the next one asks for the same issue, and Deel answers with the same token."""
    expire(hired)
    access = replace(access, waits=replace(access.waits, held_s=0.3))
    failpoints.arm(f"access.{point}", die)
    with pytest.raises(Death):
        access.token("c-1", **ASK)
    failpoints.disarm()
    live = access.token("c-1", **ASK)
    assert live.issue_number == 2
    assert live.token.get_secret_value() == hired.deel.live_token("c-1")
    assert hired.deel.tokens_issued_for("c-1") == 2


def test_a_cut_connection_costs_no_second_token(hired: Driver, access: Access):
    """Deel issued it, the answer was lost: the caller is told to ask again, and gets that token."""
    expire(hired)
    hired.deel.cuts_connection(after=ISSUE)
    with pytest.raises(NotNow) as none:
        access.token("c-1", **ASK)
    assert none.value.reason is Reason.DEEL_UNAVAILABLE
    assert none.value.after_s
    assert access.token("c-1", **ASK).token.get_secret_value() == hired.deel.live_token("c-1")
    assert hired.deel.tokens_issued_for("c-1") == 2


def test_after_a_failure_nobody_asks_for_a_moment(hired: Driver, access: Access):
    """A hundred callers must not each find out that Deel is away."""
    expire(hired)
    hired.deel.fails(ISSUE, status=503, times=100)
    impatient = replace(access, waits=Waits(patience_s=0.2, after_failure_s=30.0))
    for _ in range(4):
        with pytest.raises(NotNow):
            impatient.token("c-1", **ASK)
    assert asked(hired) == 2


def test_a_run_that_issues_at_this_moment_is_waited_for(hired: Driver, access: Access):
    """Its token is the one: nobody asks for another."""
    expire(hired)
    at_issue = {"state": "running", "step": "issue_token", "lease_until": from_now(60)}
    hired.store.write(lambda db: db.execute(update(runs).values(**at_issue)))
    with pytest.raises(NotNow):
        replace(access, waits=Waits(patience_s=0.3)).token("c-1", **ASK)
    assert asked(hired) == 1
    hired.store.write(lambda db: db.execute(update(runs).values(state="pending", lease_until=None)))
    hired.carry()
    assert access.token("c-1", **ASK).issue_number == 2
    assert asked(hired) == 2


def test_a_token_that_works_is_not_killed_by_a_complaint(hired: Driver, access: Access):
    """Deel is asked whose it is."""
    live = access.token("c-1", **ASK)
    access.refused("c-1", live.issue_number)
    assert access.token("c-1", **ASK) == live
    assert asked(hired) == 1


def test_a_superseded_token_is_renewed_once_for_all_who_complain(hired: Driver, access: Access):
    """Ten complain at once; an old complaint does not kill the new one."""
    live = access.token("c-1", **ASK)
    hired.store.write(lambda db: db.execute(update(worker_tokens).values(stored_at=from_now(-90))))
    hired.deel.supersede("c-1")
    looks = asked(hired, "GET /people/me")
    with ThreadPoolExecutor(10) as pool:
        list(pool.map(lambda _: access.refused("c-1", live.issue_number), range(10)))
    assert asked(hired, "GET /people/me") - looks == 1
    new = access.token("c-1", **ASK)
    access.refused("c-1", live.issue_number)
    assert access.token("c-1", **ASK) == new
    assert new.token.get_secret_value() == hired.deel.live_token("c-1")
    assert asked(hired) == 2


def test_a_new_token_is_given_time_to_be_known(hired: Driver, access: Access):
    """Each that is replaced too early costs the one before, and would look like ping-pong."""
    live = access.token("c-1", **ASK)
    hired.deel.fails("GET /people/me", status=401, times=2)
    access.refused("c-1", live.issue_number)
    assert access.token("c-1", **ASK) == live


def test_a_consent_withdrawn_while_deel_issues_leaves_no_token(hired: Driver, access: Access):
    """Neither in the vault nor at Deel."""
    careful = replace(access, consent_required=True)
    decide(hired, given=True)
    expire(hired)
    failpoints.arm("access.keeping", lambda: decide(hired, given=False))
    with pytest.raises(ConsentMissing):
        careful.token("c-1", **ASK)
    assert hired.vault_token() is None
    assert hired.deel.live_token("c-1") is None


def test_nobody_issues_before_a_token_that_was_refused_is_gone(hired: Driver, access: Access):
    """The DELETE would end theirs as well: another contract of the worker may have one."""
    careful = replace(access, consent_required=True)
    decide(hired, given=True)
    expire(hired)
    seen = []

    def look() -> None:
        profile = hired.run().hris_profile_id
        wish = {"for_s": 1.0, "min_life_s": 0.0}
        take = partial(statements.take, run_id="r", organization_id="o", profile=profile, holder="other", **wish)
        hired.store.write(lambda db: db.execute(revocations_table.delete()))
        seen.append(hired.store.write(take))

    failpoints.arm("access.keeping", lambda: decide(hired, given=False))
    failpoints.arm("access.kept", look)
    with pytest.raises(ConsentMissing):
        careful.token("c-1", **ASK)
    assert seen == [statements.Busy()]
    look()
    assert isinstance(seen[1], Intended)


def test_nothing_is_issued_while_deel_is_told_to_end_a_token(hired: Driver, access: Access):
    """The DELETE would end the new one as well; once it is done, there is a new one."""
    decide(hired, given=False)
    with pytest.raises(NotNow):
        replace(access, waits=Waits(patience_s=0.2)).token("c-1", **ASK)
    assert hired.deel.ledger.count(ISSUE) == 1
    assert revoking.revoke_due(hired.world, 0.0) == 1
    assert access.token("c-1", **ASK).token.get_secret_value() == hired.deel.live_token("c-1")


def play_ping_pong(world: Driver, access: Access, times: int = 3) -> None:
    for _ in range(times):
        live = access.token("c-1", **ASK)
        world.deel.supersede("c-1")
        access.refused("c-1", live.issue_number)


def test_ping_pong_is_stopped_after_three_and_said_once(hired: Driver, access: Access, monkeypatch):
    """The run is parked, so that every list, the alarm and the notification say so; a replay begins anew."""
    told = []
    monkeypatch.setattr("onboarding.observe.report_parked", lambda *args: told.append(args))
    play_ping_pong(hired, access)
    for _ in range(2):
        with pytest.raises(PingPong) as none:
            access.token("c-1", **ASK)
        assert none.value.advice
    row = hired.run()
    assert (row.state, row.step, row.reason) == ("failed", "verify_token", "token_superseded")
    assert told == [(row.id, "token_superseded", "verify_token", row.organization_id)]
    assert asked(hired) == 3
    upkeep.tell_failures(hired.world, 0)
    assert [one.body["type"] for one in hired.sink.unique()] == ["onboarding.completed", "onboarding.failed"]
    replay(hired)
    assert hired.carry() == "completed"
    play_ping_pong(hired, access, times=2)
    assert access.token("c-1", **ASK).token.get_secret_value() == hired.deel.live_token("c-1")


def test_two_that_lie_far_apart_are_no_ping_pong(hired: Driver, access: Access):
    """One a day is somebody's habit, and costs one call."""
    for _ in range(4):
        play_ping_pong(hired, access, times=1)
        hired.store.write(lambda db: db.execute(update(worker_tokens).values(superseded_at=from_now(-7 * 3600))))
    assert access.token("c-1", **ASK)


def test_nothing_leaves_the_vault_without_consent(hired: Driver, access: Access):
    """Neither a live token nor a new one."""
    careful = replace(access, consent_required=True)
    with pytest.raises(ConsentMissing):
        careful.token("c-1", **ASK)
    said = {"evidence": "e", "version": "1", "who": "w"}
    hired.store.write(lambda db: consents.record(db, "c-1", **said))
    assert careful.token("c-1", **ASK)
    hired.store.write(lambda db: consents.record(db, "c-1", given=False, **said))
    expire(hired)
    with pytest.raises(ConsentMissing):
        careful.token("c-1", **ASK)
    assert asked(hired) == 1


def test_who_is_not_known_or_not_that_far_is_told_so(world: Driver, access: Access):
    """An error for each, and no call."""
    with pytest.raises(UnknownContract):
        access.token("c-9", **ASK)
    world.hire()
    with pytest.raises(NotReady):
        access.token("c-1", **ASK)
    for step in (Step.CONTRACT_CREATED, Step.ENSURE_PROFILE, Step.ISSUE_TOKEN):
        world.deliver("c-1", step)
    with pytest.raises(NotReady):  # it was issued, and nobody has seen yet whose account it opens
        access.token("c-1", **ASK)
    world.carry()
    assert access.token("c-1", **ASK)


def test_a_run_that_is_verified_again_keeps_its_app_going(hired: Driver, access: Access):
    """A replay of thousands must not take their tokens from those who use them."""
    replay(hired)
    assert hired.run().state == "pending"
    assert access.token("c-1", **ASK).issue_number == 1


@pytest.mark.parametrize(
    ("columns", "works"),
    [
        ({"state": "cancelled", "step": "notify"}, False),
        ({"state": "failed", "step": "verify_token", "reason": "identity_mismatch"}, False),
        ({"state": "failed", "step": "notify", "reason": "notify_rejected"}, True),
    ],
)
def test_a_parked_or_cancelled_run_has_no_token_unless_it_was_verified(hired: Driver, access: Access, columns, works):
    """A target that refuses the news is no reason to keep the worker's app waiting."""
    hired.store.write(lambda db: db.execute(update(runs).values(**columns)))
    if works:
        assert access.token("c-1", **ASK)
    else:
        with pytest.raises(Parked):
            access.token("c-1", **ASK)


def test_a_rejected_org_token_pauses_the_organisation_once(hired: Driver, access: Access, monkeypatch):
    """As a step would: one alert; then nothing is asked until it is resumed, or a probe's time has come."""
    told = []
    monkeypatch.setattr("onboarding.observe.report_paused", lambda *args: told.append(args))
    expire(hired)
    hired.deel.revoke_token(hired.deel.org_token)
    for _ in range(3):
        with pytest.raises(OrganisationPaused) as none:
            access.token("c-1", **ASK)
        assert none.value.reason is Reason.ORG_TOKEN_REJECTED
    assert len(told) == 1
    hired.deel.restore_token(hired.deel.org_token)
    hired.store.write(lambda db: db.execute(update(worker_tokens).values(issuing_until=None)))
    hired.probe_is_due()
    assert access.token("c-1", **ASK).issue_number == 2
    assert hired.store.read(organizations.paused) == []


def test_what_deel_refuses_is_told_as_such(hired: Driver, access: Access):
    """A 403 about one worker parks nobody, and is no "try again"."""
    expire(hired)
    hired.deel.fails(ISSUE, status=403)
    with pytest.raises(Refused, match="HTTP 403"):
        access.token("c-1", **ASK)


def test_a_reason_is_asked_for_and_holds_nothing_personal(hired: Driver, access: Access):
    """It lies in the store, in the open."""
    for because in ("", "  ", "for ada@example.com"):
        with pytest.raises(ValueError, match="because"):
            access.token("c-1", who="app", because=because)
