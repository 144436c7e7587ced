"""A paused organisation: one alert, one probe at a time, and who gets it."""

from __future__ import annotations

from structlog.testing import capture_logs

from onboarding.runs import Reason, State, Step
from onboarding.store import organizations
from onboarding.store.events import HOME
from tests.onboarding.worlds import Driver


def test_new_runs_do_not_take_the_turn_of_the_probe(onboard: Driver):
    """They stand before the step of the trouble: that they get on proves nothing, and there is one turn in minutes."""
    onboard.hire("c-1")
    onboard.deel.fails("POST /workers/session", status=401)
    onboard.carry("c-1")
    assert [row.paused_reason for row in onboard.store.read(organizations.paused)] == [Reason.ORG_TOKEN_REJECTED]
    onboard.probe_is_due()
    onboard.hire("c-2")
    onboard.deliver("c-2", Step.CONTRACT_CREATED)
    assert onboard.run("c-2").state == State.WAITING
    onboard.pass_time()
    assert onboard.carry("c-1") == State.COMPLETED
    assert onboard.store.read(organizations.paused) == []


def test_a_pause_is_one_alert(onboard: Driver):
    """Four workers get the same 401, and a probe gets it again: the first one tells."""
    for number in range(4):
        onboard.hire(f"c-{number}")
    onboard.deel.fails("POST /eor/worker", status=401, times=9)
    with capture_logs() as said:
        for number in range(4):
            onboard.deliver(f"c-{number}", Step.CONTRACT_CREATED)
        onboard.deliver("c-0", Step.ENSURE_PROFILE)
        onboard.probe_is_due()
        onboard.pass_time()
        onboard.deliver("c-0", Step.ENSURE_PROFILE)
    words = [line["event"] for line in said]
    assert (words.count("organisation_paused"), words.count("step_again")) == (1, 1)


def test_the_pause_of_a_nameless_organisation_goes_with_its_runs(onboard: Driver):
    """Its token was refused before its id was learnt: once a probe gets through, all of its runs go on."""
    for contract in ("c-1", "c-2"):
        onboard.deel.has_contract(contract)
        onboard.plain(contract)
    onboard.deel.revoke_token(onboard.deel.org_token)
    for contract in ("c-1", "c-2"):
        onboard.carry(contract)
    assert [row.id for row in onboard.store.read(organizations.paused)] == [HOME]
    onboard.deel.restore_token(onboard.deel.org_token)
    onboard.probe_is_due()
    assert onboard.carry("c-1") == State.COMPLETED
    row = onboard.run("c-2")
    assert row.organization_id == onboard.deel.organization_id
    assert row.nudge_at <= row.now
    assert onboard.store.read(organizations.paused) == []
