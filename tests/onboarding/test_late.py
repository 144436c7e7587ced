"""What comes late, or twice, or between two of our steps: each of these once lost, doubled or resurrected something."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update

from onboarding import failpoints, upkeep
from onboarding.events import Message
from onboarding.notify import Answer, Notification, Verdict
from onboarding.runs import STEPS, Backoff, Done, IssuedToken, Reason, State, Step, settle
from onboarding.store import claims, organizations, records, runs, tokens
from onboarding.store.engine import Store
from onboarding.store.sql import from_now
from onboarding.store.tables import runs as table
from onboarding.store.tables import worker_tokens
from tests.onboarding.store.rows import KEYRING, ORG, TERMS, add_run, claim, run_row, secret
from tests.onboarding.worlds import Death, Driver, die, driver

DELETE = "DELETE /workers/{worker_id}/session"


def once(point: str, action) -> None:
    """Do it the first time that the point is reached."""
    done: list[str] = []

    def first_time_only() -> None:
        if not done:
            done.append(point)
            action()

    failpoints.arm(point, first_time_only)


def same_worker(onboard: Driver, *contracts: str) -> None:
    """Contracts of one worker, past the second step."""
    for contract in contracts:
        for step in STEPS[:2]:
            onboard.deliver(contract, step)
    profile = onboard.run(contracts[0]).hris_profile_id
    onboard.store.write(lambda db: db.execute(update(table).values(hris_profile_id=profile)))


# tokens


def test_two_names_of_one_organisation_are_one_worker(onboard: Driver):
    """An event may call the organisation what it likes: the second contract keeps the token of the first."""
    onboard.hire("c-1")
    onboard.carry("c-1")
    first = onboard.deel.live_token("c-1")
    onboard.deel.has_contract("c-2", email="c-1@example.com")
    onboard.plain("c-2", organization_id="acme")
    onboard.deliver("c-2", Step.CONTRACT_CREATED)
    profile = onboard.run("c-1").hris_profile_id
    onboard.store.write(lambda db: db.execute(update(table).values(hris_profile_id=profile)))
    assert onboard.carry("c-2") == State.COMPLETED
    assert onboard.vault_token("c-1") == onboard.vault_token("c-2") == onboard.deel.live_token("c-1") == first


def test_a_late_record_does_not_bring_a_buried_token_back(onboard: Driver):
    """Two runs of one worker get the same answer; the quicker one finds it dead before the slower one records it."""
    onboard.hire("c-1")
    onboard.hire("c-2", email="c-1@example.com")
    same_worker(onboard, "c-1", "c-2")

    def meanwhile() -> None:
        onboard.deliver("c-1", Step.ISSUE_TOKEN)
        onboard.deel.supersede("c-1")
        onboard.deliver("c-1", Step.VERIFY_TOKEN)

    once("issue_token.called", meanwhile)
    onboard.deliver("c-2", Step.ISSUE_TOKEN)
    assert onboard.vault_token("c-2") is None


def test_a_buried_issue_is_not_stored_again(store: Store):
    """The statement itself, on both databases."""
    add_run(store)
    store.write(lambda db: tokens.intend(db, "run-1", 0, ORG, "p"))
    issued = IssuedToken(1, secret("t-1"), datetime.now(UTC) + timedelta(hours=24))
    assert store.write(lambda db: tokens.keep(db, KEYRING, "p", issued))
    store.write(lambda db: tokens.bury(db, "p", 1))
    assert not store.write(lambda db: tokens.keep(db, KEYRING, "p", issued))
    assert store.read(lambda db: tokens.live(db, KEYRING, "p")) is None


def test_two_contracts_of_one_worker_may_name_two_addresses(onboard: Driver):
    """The second does not take the worker for a stranger, nor kill the token that the first one verified."""
    onboard.hire("c-1")
    onboard.carry("c-1")
    profile = onboard.run("c-1").hris_profile_id
    onboard.hire("c-2", email="other@example.com")
    onboard.deliver("c-2", Step.CONTRACT_CREATED)
    onboard.store.write(lambda db: db.execute(update(table).values(hris_profile_id=profile)))
    assert onboard.carry("c-2") == State.COMPLETED
    assert onboard.vault_token("c-1") == onboard.deel.live_token("c-1") is not None


@pytest.mark.parametrize("asked", [True, False])
def test_where_deel_refuses_a_second_session_the_old_one_goes_first(onboard: Driver, asked: bool):
    """An engineer asked, or the old one is nearly over; that its deletion fails once costs a try and no more."""
    onboard.deel.policy.second_session = "refuse"
    onboard.hire()
    onboard.carry()
    first = onboard.vault_token()
    if not asked:
        onboard.store.write(lambda db: db.execute(update(worker_tokens).values(expires_at=from_now(1800))))
    row = onboard.run()
    wish = runs.Replay(step=Step.ISSUE_TOKEN, reissue=asked)
    onboard.store.write(lambda db: runs.replay(db, row, wish))
    onboard.deel.fails(DELETE, status=500, times=1)
    assert onboard.carry() == State.COMPLETED
    assert first != onboard.vault_token() == onboard.deel.live_token("c-1")


# profiles


@pytest.mark.parametrize("how", ["cancelled", "crashed"])
def test_a_replay_looks_before_it_makes_a_second_profile(onboard: Driver, how: str):
    """Neither a cancel nor a crash leaves a try behind; that an attempt began is enough to look first."""
    onboard.deel.policy.idempotency = False  # or more than 24 hours later
    onboard.deel.policy.repeat_worker = "duplicate"
    onboard.hire()
    onboard.deliver("c-1", Step.CONTRACT_CREATED)
    if how == "cancelled":
        once("ensure_profile.called", lambda: onboard.store.write(lambda db: runs.cancel(db, onboard.run())))
        onboard.deliver("c-1", Step.ENSURE_PROFILE)
    else:
        once("ensure_profile.called", die)
        with pytest.raises(Death):
            onboard.deliver("c-1", Step.ENSURE_PROFILE)
        onboard.pass_time()
    row = onboard.run()
    assert onboard.store.write(lambda db: runs.replay(db, row, runs.Replay()))
    assert onboard.carry() == State.COMPLETED
    assert len(onboard.deel.profiles_of("c-1")) == 1


# states


def test_a_late_worker_that_records_is_not_taken_for_dead(postgres_url: str):
    """Its third start hung beyond the lease; it records at the very moment at which the next one counts starts."""
    store = Store(postgres_url)
    add_run(store, step="notify")
    for _ in range(3):
        held = claim(store, step=Step.NOTIFY)
        store.write(lambda db: db.execute(update(table).values(lease_until=from_now(-1))))
    change = settle(held.run, Done(), Backoff(), lambda: 0.5)
    looked = []
    with store.engine.begin() as db:
        assert records.record(db, held, change, KEYRING, TERMS)
        next_one = threading.Thread(
            target=lambda: looked.append(store.write(lambda db: claims.begin(db, "run-1", Step.NOTIFY, TERMS)))
        )
        next_one.start()
        time.sleep(0.3)  # it waits for the row
    next_one.join(10)
    row = run_row(store)
    store.close()
    assert (row.state, row.reason) == (State.COMPLETED, None)
    assert looked[0].why is claims.Why.HELD


def test_a_plan_is_frozen_when_it_is_made(store: Store):
    """A run that went on since is not set back by the replay that was planned for where it stood."""
    add_run(store, step="issue_token")
    held = claim(store, step=Step.ISSUE_TOKEN)
    planned = store.read(lambda db: runs.find(db, "run-1"))
    change = settle(held.run, Done(), Backoff(), lambda: 0.5)
    store.write(lambda db: records.record(db, held, change, KEYRING, TERMS))
    assert not store.write(lambda db: runs.replay(db, planned, runs.Replay(reissue=True)))
    assert run_row(store).step == Step.VERIFY_TOKEN


# notifications


def test_a_refusal_is_remembered_by_the_next_try(onboard: Driver):
    """410, and the worker died before it could record what that means: parked all the same."""
    onboard.sink.answers(410)
    onboard.hire()
    once("notify.recording", die)
    with pytest.raises(Death):
        onboard.carry()
    assert onboard.recover() == State.FAILED
    assert onboard.run().reason == Reason.NOTIFY_REJECTED


class Scripted:
    """A target that answers as told, and with DELIVERED after that."""

    def __init__(self, name: str, *verdicts: Verdict, takes_s: float = 0.0) -> None:
        self.name, self._verdicts, self._takes_s = name, list(verdicts), takes_s
        self.got: list[str] = []

    def send(self, notification: Notification) -> Answer:
        self.got.append(notification.type)
        time.sleep(self._takes_s)
        return Answer(self._verdicts.pop(0) if self._verdicts else Verdict.DELIVERED)


def test_a_target_that_refuses_does_not_hide_the_message_from_one_that_was_away(onboard: Driver):
    """Who was away is told of the completion first; then the run is parked for who refused."""
    bad, away = Scripted("bad", Verdict.REFUSED), Scripted("away", Verdict.LATER)
    onboard.world = replace(onboard.world, targets=(bad, away))
    onboard.hire()
    assert onboard.carry() == State.FAILED
    assert away.got == ["onboarding.completed"] * 2
    assert bad.got == ["onboarding.completed"]


def test_two_rounds_at_once_tell_a_failure_once(onboard: Driver):
    """Who took the message sends it; the other round leaves it alone."""
    slow = Scripted("slow", takes_s=0.8)
    onboard.world = replace(onboard.world, targets=(slow,))
    onboard.hire(type="peo")
    onboard.carry()
    rounds = [threading.Thread(target=upkeep.tell_failures, args=(onboard.world, 0.1)) for _ in range(2)]
    for each in rounds:
        each.start()
        time.sleep(0.3)
    for each in rounds:
        each.join(10)
    assert slow.got == ["onboarding.failed"]
    assert onboard.run().told == 1


# organisations


def test_a_pause_falls_on_the_organisation_that_was_learnt_in_the_same_step(onboard: Driver):
    """Not on the word that stood for it until then."""
    onboard.deel.has_contract("c-1")
    onboard.plain("c-1")
    onboard.deel.fails("GET /contracts/{contract_id}", status=401)
    onboard.carry("c-1")
    paused = onboard.store.read(organizations.paused)
    assert [row.id for row in paused] == [onboard.run("c-1").organization_id] == [onboard.deel.organization_id]


def test_events_without_organisation_belong_to_the_token_of_today(onboard: Driver):
    """What another token's organisation was once called says nothing."""
    onboard.store.write(lambda db: organizations.learn(db, "another", organization_id="of-the-other-token"))
    onboard.deel.has_contract("c-1")
    onboard.plain("c-1")
    onboard.carry("c-1")
    assert onboard.run("c-1").organization_id == onboard.deel.organization_id


# intake


def test_two_messages_of_the_same_contracts_in_opposite_orders_do_not_lock_each_other_out(postgres_url: str):
    """Arrays of sixty, one reversed, at once: both are filed, in no more than a moment."""
    with driver(postgres_url) as onboard:
        names = [f"c-{number}" for number in range(60)]
        for name in names:
            onboard.deel.has_contract(name)
        envelope = json.loads(onboard.deel.webhook("contract.created", names[0], as_array=True).body)
        (resource,) = envelope["data"]["resource"]
        made: list[int] = []

        def accept(order: list[str]) -> None:
            data = {**envelope["data"], "resource": [{**resource, "id": name} for name in order]}
            body = json.dumps({**envelope, "data": data}).encode()
            made.append(len(onboard.intake.accept(Message(body, {}, "contract.created"))))

        both = [threading.Thread(target=accept, args=(order,)) for order in (names, names[::-1])]
        began = time.monotonic()
        for each in both:
            each.start()
        for each in both:
            each.join(20)
        assert sorted(made) == [0, 60]
        assert time.monotonic() - began < 5
