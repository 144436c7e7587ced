"""Any interleaving of deliver, crash, expire, replay, cancel, supersede, consent and apps that ask keeps the promises.

The real steps on a real store, against a simulated Deel; beside them a small model of what may be true.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import update
from structlog.testing import capture_logs

from onboarding import failpoints
from onboarding.access import Access
from onboarding.issuing import Waits
from onboarding.no_token import NoToken
from onboarding.runs import ACTIVE, STEPS, State, Step
from onboarding.store import consents, runs, tokens
from onboarding.store.sql import from_now
from onboarding.store.tables import worker_tokens
from onboarding.store.tokens import LiveToken
from tests.onboarding.store.rows import take_due
from tests.onboarding.worlds import Death, Driver, driver

NUMBERS = itertools.count()
MOSTLY = st.sampled_from([True, True, True, False])
SELDOM = st.sampled_from([False, False, False, True])
EFFECTS: Final = 12  # more than any one step has
IMPATIENT: Final = Waits(held_s=0.02, patience_s=0.05, after_failure_s=0.0, settle_s=0.0)


class Onboarding(RuleBasedStateMachine):
    """One contract, and everything that may happen to it."""

    world: Driver  # set by the test
    access: Access

    def __init__(self) -> None:
        super().__init__()
        self.contract = f"c-{next(NUMBERS)}"
        self.consent = False
        self.wishes = 0  # for a new token
        self.stranger = False  # the newest token is somebody else's
        self.world.hire(self.contract)

    # what happens

    @rule(step=st.sampled_from(STEPS))
    def deliver(self, step: Step) -> None:
        """A message arrives: in its turn, late, doubled or too early."""
        self._deliver(step)

    @initialize(steps=st.integers(0, 5), consent=MOSTLY)
    def begin_somewhere(self, steps: int, consent: bool) -> None:
        """With so many steps done."""
        self.consent_changes(consent)
        self.carry_on(steps)

    @rule(messages=st.integers(1, 5))
    def carry_on(self, messages: int) -> None:
        """As the broker would, if it lost nothing."""
        for _ in range(messages):
            self._deliver(Step(self._run().step))

    @rule(nth=st.integers(1, EFFECTS))
    def crash(self, nth: int) -> None:
        """The worker dies at the nth effect of whatever it does next."""
        passed = itertools.count(1)

        def die() -> None:
            if next(passed) == nth:
                raise Death

        for point in failpoints.POINTS:
            failpoints.arm(point, die)
        try:
            self._deliver(Step(self._run().step))
        except Death:
            pass
        finally:
            failpoints.disarm()

    @rule(nth=st.integers(1, EFFECTS), engineer=SELDOM)
    def overtaken(self, nth: int, engineer: bool) -> None:
        """The worker stands still at the nth effect. A double of its message finds it at work; beyond its lease another
        does the step; then the first goes on, and is late: nothing that it still does is written.
        """
        passed = itertools.count(1)
        overtaken: list[int] = []

        def meanwhile() -> None:
            if next(passed) != nth:
                return
            failpoints.disarm()
            row = self._run()
            held = [attempt.fence for attempt in self._attempts() if attempt.outcome is None]
            if held and row.lease_until > row.now:  # one that died before is no double's business
                self._deliver(Step(self._run().step))
                assert [each.fence for each in self._attempts() if each.outcome is None] == held, "two at one time"
            self.world.pass_time()
            if engineer:
                self._replay()
            self._deliver(Step(self._run().step))
            overtaken.extend(fence for fence in held if fence != self._run().fence)

        for point in failpoints.POINTS - {"store.committing"}:  # there it holds the row's lock
            failpoints.arm(point, meanwhile)
        try:
            self._deliver(Step(self._run().step))
        finally:
            failpoints.disarm()
        assert all(each.outcome == "crashed" for each in self._attempts() if each.fence in overtaken)

    @rule()
    def time_passes(self) -> None:
        """Leases run out, waits are over."""
        self.world.pass_time()

    @rule()
    def reconcile(self) -> None:
        """What is due gets its message."""
        for row in take_due(self.world.store):
            if row.contract_id == self.contract:
                self._deliver(Step(row.step))

    @rule(back=st.integers(0, 4), reissue=SELDOM)
    def replay(self, back: int, reissue: bool) -> None:
        """An engineer presses, perhaps for an earlier step, perhaps for a new token."""
        row = self._run()
        step = STEPS[max(0, Step(row.step).position - back)]
        if reissue and step.position > Step.ISSUE_TOKEN.position:
            step = Step.ISSUE_TOKEN
        pressed = self.world.store.write(lambda db: runs.replay(db, row, runs.Replay(step, reissue=reissue)))
        self.wishes += pressed and reissue

    @rule(really=SELDOM)
    def cancel(self, really: bool) -> None:
        """An engineer thinks better of it."""
        row = self._run()
        if really:
            self.world.store.write(lambda db: runs.cancel(db, row))

    @precondition(lambda self: self.world.deel.profiles_of(self.contract))
    @rule()
    def supersede(self) -> None:
        """A stranger issues a token, and ours is dead."""
        self.world.deel.supersede(self.contract)

    @rule(given=MOSTLY)
    def consent_changes(self, given: bool) -> None:
        """The worker consents, or withdraws."""
        self.consent = given
        record = {"evidence": "e", "version": "1", "who": "hr", "given": given}
        self.world.store.write(lambda db: consents.record(db, self.contract, **record))

    @rule(nth=st.integers(0, EFFECTS))
    def app_asks(self, nth: int) -> None:
        """For the token, in a process that dies at the nth effect of it (0: it lives)."""
        self._by_app(nth, lambda access: access.token(self.contract, who="app", because="a test"))

    @rule(nth=st.integers(0, EFFECTS))
    def app_complains(self, nth: int) -> None:
        """Of a 401, rightly or not, in a process that may die."""
        number = self._issue_number()
        if number is not None:
            self._by_app(nth, lambda access: access.refused(self.contract, number))

    @rule(really=SELDOM)
    def token_nears_its_end(self, really: bool) -> None:
        """Whoever asks next needs another one, which kills it."""
        if really and self._issue_number() is not None:
            self.wishes += 1
            profile = worker_tokens.c.hris_profile_id == self._run().hris_profile_id
            end = {"expires_at": from_now(100), "stored_at": from_now(-3600)}
            self.world.store.write(lambda db: db.execute(update(worker_tokens).where(profile).values(**end)))

    @rule(route=st.sampled_from(["POST /eor/worker", "POST /workers/session", "GET /people/me"]))
    def deel_loses_an_answer(self, route: str) -> None:
        """Done, and the connection cut."""
        self.world.deel.cuts_connection(after=route, contract=self.contract)

    # what must be true, always

    @invariant()
    def one_profile(self) -> None:
        """Never a second one, whatever was lost or doubled."""
        assert len(self.world.deel.profiles_of(self.contract)) <= 1

    @invariant()
    def no_token_that_worked_was_killed(self) -> None:
        """One of ours is followed by another of ours only where an engineer asked."""
        sessions = self.world.deel.sessions_of(self.contract)
        killed = sum(one.ours and other.ours for one, other in itertools.pairwise(sessions))
        assert killed <= self.wishes

    @invariant()
    def the_vault_has_what_lives(self) -> None:
        """Or what a stranger killed and nobody has looked at since; never an older one of ours."""
        if self._run().hris_profile_id is None:
            return
        kept, sessions = self.world.vault_token(self.contract), self.world.deel.sessions_of(self.contract)
        ours = [session.token for session in sessions if session.ours]
        assert kept is None or kept == ours[-1]

    @invariant()
    def told_of_one_completion(self) -> None:
        """By one id, and only of a run that had completed."""
        ids = {one.id for one in self.world.sink.unique() if one.body["data"]["contract_id"] == self.contract}
        assert len(ids) <= 1

    @invariant()
    def every_attempt_is_accounted_for(self) -> None:
        """Ended or marked, but for the one that is held."""
        row, rows = self._run(), self._attempts()
        loose = [attempt.fence for attempt in rows if attempt.outcome is None]
        assert loose in ([], [row.fence])
        assert all(earlier.started_at <= later.started_at for earlier, later in itertools.pairwise(rows))

    @invariant()
    def somebody_will_look(self) -> None:
        """An active run has a time at which it is looked at, or waits for a consent that is not there."""
        row = self._run()
        if row.state in ACTIVE and row.nudge_at is None:
            assert row.reason == "consent_missing"
            assert not self.consent

    def teardown(self) -> None:
        """In the end, with a consent and an engineer's patience, every run completes."""
        failpoints.disarm()
        self.consent_changes(given=True)
        for _ in range(4):
            if self.world.recover(self.contract) == State.COMPLETED:
                break
            self._replay()
        self._replay()  # what a stranger did to the token since is found by a replay, and by nothing else
        self.world.recover(self.contract)
        assert self._run().state == State.COMPLETED, (self._run().reason, self.world.timeline(self.contract))
        self.no_token_that_worked_was_killed()
        self.world.as_promised(self.contract)

    def _replay(self) -> None:
        row = self._run()
        assert self.world.store.write(lambda db: runs.replay(db, row, runs.Replay()))

    def _deliver(self, step: Step) -> None:
        issued = self.world.deel.tokens_issued_for(self.contract)
        self.world.deliver(self.contract, step)
        if not self.consent:
            assert self.world.deel.tokens_issued_for(self.contract) == issued, "issued without a consent"

    def _by_app(self, nth: int, act: Callable[[Access], LiveToken | None]) -> None:
        passed = itertools.count(1)

        def die() -> None:
            if next(passed) == nth:
                raise Death

        issued = self.world.deel.tokens_issued_for(self.contract)
        for point in failpoints.POINTS:
            failpoints.arm(point, die)
        try:
            live = act(self.access)
        except (Death, NoToken):
            live = None
        finally:
            failpoints.disarm()
        ours = [session.token for session in self.world.deel.sessions_of(self.contract) if session.ours]
        assert live is None or live.token.get_secret_value() == ours[-1]
        if not self.consent:
            assert live is None, "handed out without a consent"
            assert self.world.deel.tokens_issued_for(self.contract) == issued, "issued without a consent"

    def _issue_number(self) -> int | None:
        profile = self._run().hris_profile_id or ""
        live = self.world.store.read(lambda db: tokens.live(db, self.world.world.keyring, profile))
        return live.issue_number if live else None

    def _attempts(self):
        return self.world.store.read(lambda db: runs.timeline(db, self._run().id))

    def _run(self):
        return self.world.run(self.contract)


def explore(store_url: str, examples: int, begin_from: int | None = None) -> None:
    """Let so many interleavings happen: the same ones each time that they begin from the same number."""
    with driver(store_url) as world, capture_logs():
        world.world = replace(world.world, consent_required=True)
        access = replace(Access.of(world.world), waits=IMPATIENT)
        machine = type("OnboardingHere", (Onboarding,), {"world": world, "access": access})
        if begin_from is not None:
            machine = seed(begin_from)(machine)
        how = settings(
            max_examples=examples,
            stateful_step_count=40,
            deadline=None,
            database=None,  # an interleaving that it remembers from another day is not of this seed
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        )
        run_state_machine_as_test(machine, settings=how)


def test_any_interleaving_keeps_the_promises(store_url: str):
    """On SQLite and on PostgreSQL."""
    explore(store_url, 8)
