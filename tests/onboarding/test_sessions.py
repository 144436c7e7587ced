"""Sessions at Deel that are not ours, or that nobody got to know: whose token lives on, and whose must not."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import pytest

from onboarding import failpoints
from onboarding.runs import STEPS, Reason, State, Step
from onboarding.store import consents, organizations, runs
from tests.onboarding.worlds import Death, Driver, die

DELETE = "DELETE /workers/{worker_id}/session"


@pytest.mark.parametrize("status", [400, 404, 500])
def test_a_strangers_token_leaves_the_vault_whatever_deel_says_to_its_revocation(onboard: Driver, status: int):
    """The verdict stands: parked as identity_mismatch, and nobody is handed that token."""
    onboard.hire()
    onboard.deel.impersonates("c-1", email="eve@example.com")
    onboard.deel.fails(DELETE, status=status, times=99)
    assert onboard.carry() == State.FAILED
    assert onboard.run().reason == Reason.IDENTITY_MISMATCH
    assert onboard.vault_token() is None


@pytest.mark.parametrize("trouble", ["500", "a refused token", "death"])
def test_a_strangers_token_is_revoked_in_the_end(onboard: Driver, trouble: str):
    """It opens somebody else's payslips: that its first DELETE did not get through must not leave it for a day."""
    onboard.hire()
    onboard.deel.impersonates("c-1", email="eve@example.com")
    for step in STEPS[:3]:
        onboard.deliver("c-1", step)
    if trouble == "500":
        onboard.deel.fails(DELETE, times=3)
    elif trouble == "death":
        onboard.deel.cuts_connection(after=DELETE)
    else:
        onboard.deel.fails(DELETE, status=401)
        onboard.carry()
        assert [row.paused_reason for row in onboard.store.read(organizations.paused)] == [Reason.ORG_TOKEN_REJECTED]
        onboard.store.write(lambda db: organizations.resume(db, onboard.deel.organization_id))
    assert onboard.carry() == State.FAILED
    assert onboard.run().reason == Reason.IDENTITY_MISMATCH
    assert onboard.run().token_expires_at is None
    assert onboard.deel.live_token("c-1") is None
    assert onboard.deel.tokens_issued_for("c-1") == (2 if trouble == "a refused token" else 1)


def test_a_worker_who_changed_the_address_is_no_stranger(onboard: Driver):
    """Ours was sealed at the onboarding: Deel is asked before a token that works is revoked, and then believed."""
    onboard.hire()
    onboard.carry()
    token = onboard.vault_token()
    onboard.deel._world.contracts["c-1"].email = "ada.byron@example.com"
    for _ in range(2):
        row = onboard.run()
        assert onboard.store.write(lambda db, row=row: runs.replay(db, row, runs.Replay(step=Step.VERIFY_TOKEN)))
        assert onboard.carry() == State.COMPLETED
    assert onboard.vault_token() == onboard.deel.live_token("c-1") == token
    assert onboard.deel.ledger.count(DELETE) == 0
    assert onboard.deel.ledger.count("GET /contracts/{contract_id}") == 1  # the second replay knows the new address


def test_a_run_whose_contract_named_another_worker_gets_a_token_of_the_right_one(onboard: Driver):
    """Mended at Deel and replayed: the second profile's first issue must not bring back the first one's token."""
    onboard.hire()
    onboard.deel.impersonates("c-1", email="eve@example.com")
    assert onboard.carry() == State.FAILED
    contract = onboard.deel._world.contracts["c-1"]
    contract.impersonated_by = None
    contract.profiles.clear()
    onboard.deel._world.create_profile(contract)
    row = onboard.run()
    assert onboard.store.write(lambda db: runs.replay(db, row, runs.Replay(step=Step.CONTRACT_CREATED)))
    assert onboard.carry() == State.COMPLETED
    assert onboard.vault_token() == onboard.deel.live_token("c-1") is not None
    assert "superseded" not in onboard.outcomes(Step.VERIFY_TOKEN)


@pytest.mark.parametrize("lost", ["answer", "status", "process"])
def test_a_token_that_nobody_got_to_know_blocks_no_run(onboard: Driver, lost: str):
    """Deel keeps no keys and refuses a second session: the first, whose answer was lost, goes before it."""
    onboard.deel.policy.second_session = "refuse"
    onboard.deel.policy.idempotency = False
    onboard.hire()
    if lost == "answer":
        onboard.deel.cuts_connection(after="POST /workers/session")
    elif lost == "status":
        onboard.deel.fails_after("POST /workers/session")
    else:
        failpoints.arm("issue_token.called", die)
        with suppress(Death):
            onboard.carry()
        failpoints.disarm()
        onboard.recover()
    onboard.carry()
    onboard.as_promised()


def test_a_strangers_session_is_ended_by_an_engineers_wish_alone(onboard: Driver):
    """Where Deel refuses a second one, a plain replay must not kill it; `--reissue` says that it may."""
    onboard.deel.policy.second_session = "refuse"
    onboard.hire()
    for step in STEPS[:2]:
        onboard.deliver("c-1", step)
    stranger = onboard.deel.supersede("c-1")
    for _ in range(2):
        assert onboard.carry() == State.FAILED
        assert onboard.run().reason == Reason.REQUEST_REJECTED
        assert onboard.deel.live_token("c-1") == stranger
        row = onboard.run()
        assert onboard.store.write(lambda db, row=row: runs.replay(db, row, runs.Replay(step=Step.ISSUE_TOKEN)))
    onboard.carry()
    row = onboard.run()
    assert onboard.store.write(lambda db: runs.replay(db, row, runs.Replay(step=Step.ISSUE_TOKEN, reissue=True)))
    onboard.carry()
    onboard.as_promised()


def test_who_waited_for_a_consent_kills_no_stranger(onboard: Driver):
    """That an attempt began is no reason to think that it issued a token."""
    onboard.deel.policy.second_session = "refuse"
    onboard.world = replace(onboard.world, consent_required=True)
    onboard.hire(with_profile=True)
    stranger = onboard.deel.supersede("c-1")
    onboard.carry()
    onboard.store.write(lambda db: consents.record(db, "c-1", evidence="x", version="1", who="hr"))
    onboard.pass_time()
    assert onboard.carry() == State.FAILED
    assert onboard.deel.live_token("c-1") == stranger
