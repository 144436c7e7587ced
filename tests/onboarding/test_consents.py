"""Consents as events tell them: no token before one, and none after its withdrawal."""

from __future__ import annotations

from sqlalchemy import update

from onboarding.store import consents, runs
from tests.onboarding.tidings import (
    GIVEN,
    WITHDRAWN,
    hire_completed,
    on_both,
    revoke,
    tell,
)
from tests.onboarding.worlds import Driver


def test_no_token_before_a_consent_and_no_cost_until_then(consenting: Driver):
    """It waits in the store: no message, no poll, no call."""
    consenting.hire()
    assert consenting.carry() == "waiting"
    row, calls = consenting.run(), len(consenting.deel.ledger.calls())
    assert (row.reason, row.nudge_at, row.next_attempt_at) == ("consent_missing", None, None)
    assert consenting.recover() == "waiting"
    assert len(consenting.deel.ledger.calls()) == calls
    tell(consenting, GIVEN)
    assert consenting.recover() == "completed"


@on_both
def test_a_withdrawal_revokes_and_a_second_consent_starts_again(consenting: Driver):
    """By itself; nobody is told a second time that the onboarding completed."""
    tell(consenting, GIVEN)
    hire_completed(consenting)
    tell(consenting, WITHDRAWN)
    row = consenting.run()
    assert (row.state, row.step, row.reason, row.nudge_at) == ("waiting", "issue_token", "consent_missing", None)
    assert consenting.vault_token() is None
    revoke(consenting)
    assert consenting.deel.live_token("c-1") is None
    assert consenting.recover() == "waiting"
    tell(consenting, GIVEN, evidence="DOC-2")
    assert consenting.recover() == "completed"
    consenting.as_promised()


def test_a_withdrawal_leaves_the_steps_before_a_token_alone(consenting: Driver):
    """They learn facts; and wait where the token would be issued."""
    tell(consenting, GIVEN)
    consenting.hire()
    tell(consenting, WITHDRAWN)
    assert consenting.run().state == "pending"
    assert consenting.carry() == "waiting"
    assert consenting.deel.tokens_issued_for("c-1") == 0


def test_a_parked_run_stays_parked_and_begins_at_its_token(consenting: Driver):
    """An engineer's replay must not tell of a token that is gone."""
    tell(consenting, GIVEN)
    hire_completed(consenting)
    parked = update(runs.runs).values(state="failed", reason="notify_rejected")
    consenting.store.write(lambda db: db.execute(parked))
    tell(consenting, WITHDRAWN)
    row = consenting.run()
    assert (row.state, row.step, row.reason) == ("failed", "issue_token", "notify_rejected")


def test_where_no_consent_is_asked_for_a_withdrawal_is_only_kept(onboard: Driver):
    """Nothing would issue the next token less."""
    hire_completed(onboard)
    tell(onboard, WITHDRAWN)
    assert onboard.run().state == "completed"
    assert onboard.store.read(lambda db: consents.withdrawn(db, "c-1"))


@on_both
def test_the_time_of_the_decision_counts_not_of_the_message(consenting: Driver):
    """A withdrawal that overtakes the consent before it wins; at one time, what came last does."""
    tell(consenting, WITHDRAWN, time="2026-02-01T00:00:00Z")
    tell(consenting, GIVEN, time="2026-01-01T00:00:00Z")
    assert not consenting.store.read(lambda db: consents.given(db, "c-1"))
    tell(consenting, GIVEN, time="2026-02-01T00:00:00Z")
    assert consenting.store.read(lambda db: consents.given(db, "c-1"))
    tell(consenting, WITHDRAWN, time="2026-01-15T00:00:00Z")
    assert consenting.store.read(lambda db: consents.given(db, "c-1"))


def test_a_consent_of_tomorrow_is_of_now(consenting: Driver):
    """Else no withdrawal could come after it."""
    tell(consenting, GIVEN, time="2999-01-01T00:00:00Z")
    assert consenting.store.read(lambda db: consents.given(db, "c-1"))
    tell(consenting, WITHDRAWN)
    assert not consenting.store.read(lambda db: consents.given(db, "c-1"))


def test_a_consent_that_comes_twice_is_one_line(consenting: Driver):
    """The queue may deliver again."""
    for _ in range(2):
        tell(consenting, GIVEN, time="2026-01-01T00:00:00Z")
    (line,) = consenting.store.read(lambda db: consents.of_contract(db, "c-1"))
    assert (line.evidence, line.version, line.channel, line.who) == ("DOC-1", "terms-3", "portal", "hris")
    assert line.decided_at.isoformat() == "2026-01-01T00:00:00+00:00"
