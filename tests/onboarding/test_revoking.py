"""A revocation is carried out whatever dies, fails or races."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import update

from onboarding import failpoints, revoking
from onboarding.runs import Step
from onboarding.store import endings, revocations
from onboarding.store.sql import from_now
from onboarding.store.tables import revocations as wishes
from tests.onboarding.tidings import (
    GIVEN,
    LEASE_S,
    WITHDRAWN,
    deletes,
    hire_completed,
    on_both,
    revoke,
    take,
    tell,
    wish,
)
from tests.onboarding.worlds import Death, Driver


@pytest.mark.parametrize("point", [*failpoints.REVOKE_POINTS, "store.committing", "store.committed"])
def test_a_death_anywhere_is_only_a_delay(onboard: Driver, point: str):
    """The wish lies in the store until it is settled there."""
    hire_completed(onboard)
    take(onboard, "contract.terminated")

    def die() -> None:
        failpoints.disarm()
        raise Death

    failpoints.arm(point, die)
    with pytest.raises(Death):
        revoke(onboard)
    revoke(onboard, after_s=revoking.CLAIM_S + 1)
    assert wish(onboard).result == "revoked"
    assert onboard.deel.live_token("c-1") is None


@on_both
def test_a_claimed_one_is_nobody_elses(onboard: Driver):
    """Two beats, one DELETE."""
    hire_completed(onboard)
    take(onboard, "contract.terminated")
    assert len(onboard.store.write(lambda db: revocations.take_due(db, 9, 60.0))) == 1
    assert onboard.store.write(lambda db: revocations.take_due(db, 9, 60.0)) == []


@pytest.mark.parametrize(
    "trouble",
    [
        lambda deel: deel.fails("DELETE /workers/{worker_id}/session", 503),
        lambda deel: deel.fails("DELETE /workers/{worker_id}/session", 400),
        lambda deel: deel.cuts_connection(after="DELETE /workers/{worker_id}/session"),
        lambda deel: deel.revoke_token(deel.org_token),
    ],
)
def test_it_is_tried_until_deel_has_done_it(onboard: Driver, trouble: Callable[[Any], None]):
    """Whatever Deel says meanwhile."""
    hire_completed(onboard)
    take(onboard, "contract.terminated")
    trouble(onboard.deel)
    assert revoke(onboard) == 0
    assert (wish(onboard).tries, wish(onboard).result) == (1, None)
    assert wish(onboard).reason is not None
    onboard.deel.restore_token(onboard.deel.org_token)
    assert revoke(onboard, after_s=700) == 1
    assert onboard.deel.live_token("c-1") is None


def test_after_a_day_nothing_is_left_to_revoke(onboard: Driver):
    """The token has ended by itself: nobody asks Deel for ever."""
    hire_completed(onboard)
    take(onboard, "contract.terminated")
    onboard.store.write(lambda db: db.execute(update(wishes).values(wanted_at=from_now(-26 * 3600))))
    assert revoke(onboard) == 1
    assert wish(onboard).result == "lapsed"
    assert deletes(onboard) == 0


@pytest.mark.parametrize("point", ["issue_token.intended", "issue_token.calling", "issue_token.called"])
def test_a_token_that_is_being_issued_meanwhile_is_revoked_too(onboard: Driver, point: str):
    """Its answer is not taken, and Deel is told after the lease: not before the token is there."""
    onboard.hire()
    for step in (Step.CONTRACT_CREATED, Step.ENSURE_PROFILE):
        onboard.deliver("c-1", step)

    def end() -> None:
        failpoints.disarm()
        take(onboard, "contract.terminated")
        revoke(onboard)

    failpoints.arm(point, end)
    onboard.deliver("c-1", Step.ISSUE_TOKEN)
    assert onboard.run().state == "cancelled"
    assert onboard.vault_token() is None
    assert onboard.deel.live_token("c-1") is not None
    revoke(onboard, after_s=onboard.intake.line.lease_s + 1)
    assert onboard.deel.live_token("c-1") is None


@on_both
def test_nothing_is_issued_while_a_revocation_is_open(consenting: Driver):
    """Its DELETE would end the new token as well; it goes on by itself once that is done."""
    tell(consenting, GIVEN)
    hire_completed(consenting)
    tell(consenting, WITHDRAWN)
    tell(consenting, GIVEN, evidence="DOC-2")
    assert consenting.recover() == "waiting"
    row = consenting.run()
    assert (row.reason, row.nudge_at) == ("token_revoking", None)
    assert consenting.deel.tokens_issued_for("c-1") == 1
    revoke(consenting)
    assert consenting.recover() == "completed"
    assert consenting.vault_token() == consenting.deel.live_token("c-1") is not None
    assert consenting.deel.tokens_issued_for("c-1") == 2


def test_one_that_is_done_while_the_step_looks_is_not_waited_for(consenting: Driver):
    """A nudge between the look and its record is lost, but the next turn sees it waiting for nothing."""
    tell(consenting, GIVEN)
    hire_completed(consenting)
    tell(consenting, WITHDRAWN)
    tell(consenting, GIVEN, evidence="DOC-2")

    def done() -> None:
        failpoints.disarm()
        revoke(consenting)

    failpoints.arm("issue_token.recording", done)
    consenting.deliver("c-1", Step.ISSUE_TOKEN)
    assert (consenting.run().reason, consenting.run().nudge_at) == ("token_revoking", None)
    revoke(consenting)
    assert consenting.recover() == "completed"


@on_both
def test_an_older_wishs_end_does_not_settle_a_newer_one(onboard: Driver):
    """The DELETE that was under way was not about the token that came since."""
    hire_completed(onboard)
    take(onboard, "contract.terminated")
    (old,) = onboard.store.write(lambda db: revocations.take_due(db, 1, 60.0))
    onboard.store.write(lambda db: endings.terminate(db, "c-1", "org", LEASE_S))
    onboard.store.write(lambda db: revocations.settle(db, old, revocations.Result.REVOKED))
    assert wish(onboard).result is None
    assert revoke(onboard) == 1
