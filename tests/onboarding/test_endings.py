"""A contract that ends, a consent that is withdrawn: the token dies, here at once, at Deel soon."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from sqlalchemy import select, update

from onboarding import failpoints, revoking
from onboarding.events import Message
from onboarding.runs import Step
from onboarding.store import alive, consents, endings, revocations, runs
from onboarding.store.sql import from_now
from onboarding.store.tables import audit, turns
from onboarding.store.tables import events as events_table
from onboarding.store.tables import revocations as wishes
from tests.onboarding.worlds import Death, Driver, driver

GIVEN = {"type": "worker.consent.given", "evidence": "DOC-1", "version": "terms-3", "channel": "portal"}
WITHDRAWN = GIVEN | {"type": "worker.consent.withdrawn"}
LEASE_S = 60.0


on_both = pytest.mark.parametrize("onboard", ["sqlite", "postgres"], indirect=True)
"""Where a statement is of more than the usual kind."""


@pytest.fixture
def onboard(request: pytest.FixtureRequest) -> Iterator[Driver]:
    """On SQLite, or on both databases."""
    with driver(request.getfixturevalue(f"{getattr(request, 'param', 'sqlite')}_url")) as made:
        yield made


@pytest.fixture
def consenting(onboard: Driver) -> Driver:
    """Consent is required."""
    onboard.world = replace(onboard.world, consent_required=True)
    onboard.intake = replace(onboard.intake, consent_required=True)
    return onboard


def take(onboard: Driver, event_type: str, contract: str = "c-1", *, signed: bool = True, **overrides: Any) -> None:
    """A webhook of Deel's comes in."""
    webhook = onboard.deel.webhook(event_type, contract, **overrides)
    onboard.intake.accept(Message(webhook.body, dict(webhook.headers) if signed else {}, event_type))


def tell(onboard: Driver, document: dict[str, Any], contract: str = "c-1", **fields: Any) -> None:
    """The HRIS's own words come in."""
    body = json.dumps({"contract_id": contract, **document, **fields}).encode()
    onboard.intake.accept(Message(body, {}, document["type"]))


def revoke(onboard: Driver, *, after_s: float = 0.0) -> int:
    """Upkeep's turn, once so many seconds have passed."""
    due = wishes.c.due_at.is_not(None)
    sooner = update(wishes).where(due, wishes.c.due_at <= from_now(after_s)).values(due_at=from_now(-1))
    onboard.store.write(lambda db: db.execute(sooner))
    onboard.store.write(lambda db: db.execute(turns.delete().where(turns.c.work == "revoke")))
    return revoking.revoke_due(onboard.world, 0.0)


def wish(onboard: Driver, contract: str = "c-1") -> Any:
    (row,) = onboard.store.read(lambda db: revocations.of_contract(db, contract))
    return row


def last_event(onboard: Driver) -> tuple[str, str | None]:
    query = select(events_table.c.disposition, events_table.c.reason).order_by(events_table.c.id.desc()).limit(1)
    return tuple(onboard.store.read(lambda db: db.execute(query).one()))


def deletes(onboard: Driver) -> int:
    return sum(call.route == "DELETE /workers/{worker_id}/session" for call in onboard.deel.ledger.calls())


def hire_completed(onboard: Driver, contract: str = "c-1", **facts: Any) -> None:
    onboard.hire(contract, **facts)
    assert onboard.carry(contract) == "completed"


def share_profile(onboard: Driver, contract: str, other: str) -> None:
    """Both contracts are one worker's, who has one token; both runs have completed with it."""
    row = onboard.run(contract)
    columns = {name: getattr(row, name) for name in ("hris_profile_id", "token_expires_at")}
    columns |= {"state": "completed", "step": "notify"}
    onboard.hire(other, email=f"{contract}@example.com")
    onboard.store.write(
        lambda db: db.execute(update(runs.runs).where(runs.runs.c.contract_id == other).values(columns))
    )


# --- the contract has ended


@on_both
@pytest.mark.parametrize("event_type", ["contract.terminated", "contract.status.updated"])
def test_the_end_of_a_contract_revokes_its_token(onboard: Driver, event_type: str):
    """In the vault before the message is acknowledged, at Deel at upkeep's next turn; the run is cancelled."""
    hire_completed(onboard)
    onboard.store.write(lambda db: alive.mark(db, runs.find(db, "c-1"), on=True))
    onboard.deel.ends("c-1")
    take(onboard, event_type)
    assert onboard.vault_token() is None
    row = onboard.run()
    assert not row.keep_alive
    assert (row.state, row.reason, row.token_expires_at) == ("cancelled", "contract_terminated", None)
    assert revoke(onboard) == 1
    assert onboard.deel.live_token("c-1") is None
    assert (wish(onboard).result, wish(onboard).http_status) == ("revoked", 204)
    lines = onboard.store.read(lambda db: db.execute(select(audit.c.who, audit.c.did).order_by(audit.c.id)).all())
    assert [tuple(line) for line in lines] == [("deel", "terminate"), ("upkeep", "token_revoked")]
    assert revoke(onboard) == 0


def test_told_twice_it_is_done_once(onboard: Driver):
    """The same message again, and another one that says the same."""
    hire_completed(onboard)
    take(onboard, "contract.terminated", timestamp="2026-01-05T09:00:00.000Z")
    take(onboard, "contract.terminated", timestamp="2026-01-05T10:00:00.000Z")
    assert last_event(onboard) == ("duplicate", "contract_terminated")
    revoke(onboard)
    assert deletes(onboard) == 1


@pytest.mark.parametrize("steps", range(5))
def test_what_waits_is_cancelled(onboard: Driver, steps: int):
    """Wherever it stands; nothing carries it any more, and Deel's 404 is as good as done."""
    onboard.hire()
    for step in list(Step)[:steps]:
        onboard.deliver("c-1", step)
    take(onboard, "contract.terminated")
    revoke(onboard)
    assert onboard.recover() == "cancelled"
    assert onboard.deel.live_token("c-1") is None
    assert wish(onboard).result == ("revoked" if steps > 1 else "nothing")


@on_both
def test_an_end_that_comes_before_the_beginning_prevents_it(onboard: Driver):
    """Webhooks keep no order."""
    onboard.deel.has_contract("c-1")
    take(onboard, "contract.terminated")
    assert last_event(onboard) == ("accepted", "contract_terminated")
    take(onboard, "contract.created")
    assert last_event(onboard) == ("ignored", "contract_terminated")
    assert onboard.run() is None


def test_an_unsigned_beginning_of_an_ended_contract_is_parked(onboard: Driver):
    """Its facts are asked of Deel, which knows."""
    onboard.deel.has_contract("c-1")
    onboard.deel.ends("c-1", on="2026-01-05")
    onboard.plain("c-1")
    assert onboard.carry() == "failed"
    assert onboard.run().reason == "contract_terminated"


def test_an_unsigned_end_is_asked_of_deel_first(onboard: Driver):
    """A forged message kills no token, a true one does."""
    hire_completed(onboard)
    take(onboard, "contract.terminated", signed=False)
    assert last_event(onboard) == ("accepted", "ending_unproven")
    assert onboard.run().state == "completed"
    assert revoke(onboard) == 1
    assert wish(onboard).result == "not_confirmed"
    assert onboard.vault_token() == onboard.deel.live_token("c-1") is not None

    onboard.deel.ends("c-1", on="2026-01-05")
    tell(onboard, {"type": "contract.terminated"})
    assert revoke(onboard) == 0
    assert revoke(onboard, after_s=61) == 1
    assert onboard.run().state == "cancelled"
    assert revoke(onboard) == 1
    assert onboard.deel.live_token("c-1") is None


def test_an_end_by_another_organisations_key_is_asked_of_deel_too(onboard: Driver):
    """Each has a key of its own, and knows it."""
    hire_completed(onboard)
    take(onboard, "contract.terminated", organization_id="org-2")
    assert last_event(onboard) == ("accepted", "ending_unproven")
    assert onboard.run().state == "completed"


def test_who_cries_wolf_spends_one_call_a_minute(onboard: Driver):
    """However often it is said."""
    hire_completed(onboard)
    for number in range(3):
        tell(onboard, {"type": "contract.terminated"}, id=str(number))
    assert revoke(onboard) == 1
    tell(onboard, {"type": "contract.terminated"}, id="last")
    assert revoke(onboard, after_s=50) == 0


def test_an_unsigned_end_of_tomorrow_is_none_yet(onboard: Driver):
    """Deel names the day."""
    hire_completed(onboard)
    onboard.deel.ends("c-1", status="in_progress", on="2999-01-01")
    tell(onboard, {"type": "contract.terminated"})
    revoke(onboard)
    assert wish(onboard).result == "not_confirmed"
    assert onboard.run().state == "completed"


def test_an_unsigned_end_of_an_unknown_contract_costs_nothing(onboard: Driver):
    """No call is spent on what starts nothing."""
    tell(onboard, {"type": "contract.terminated"}, contract="c-9")
    assert last_event(onboard) == ("ignored", "no_run")
    assert revoke(onboard) == 0


def test_an_ended_contract_is_replayed_from_its_facts(onboard: Driver):
    """Where Deel says that it goes on after all, it gets a new token; where not, it is parked."""
    hire_completed(onboard)
    take(onboard, "contract.terminated")
    revoke(onboard)
    row = onboard.run()
    assert onboard.store.write(lambda db: runs.replay(db, row, runs.Replay()))
    assert onboard.run().step == "contract_created"
    onboard.recover()
    onboard.as_promised()
    assert onboard.deel.tokens_issued_for("c-1") == 2


def test_an_end_that_a_step_learns_of_revokes_the_token_too(onboard: Driver):
    """No webhook told; an engineer had it looked up."""
    hire_completed(onboard)
    onboard.store.write(lambda db: alive.mark(db, runs.find(db, "c-1"), on=True))
    onboard.deel.ends("c-1")
    row = onboard.run()
    onboard.store.write(lambda db: runs.replay(db, row, runs.Replay(Step.CONTRACT_CREATED)))
    assert onboard.recover() == "failed"
    row = onboard.run()
    assert (row.reason, row.keep_alive, onboard.vault_token()) == ("contract_terminated", False, None)
    assert revoke(onboard) == 1
    assert onboard.deel.live_token("c-1") is None


@pytest.mark.parametrize("step", [None, Step.ISSUE_TOKEN])
def test_an_ended_contract_that_is_replayed_is_asked_about(onboard: Driver, step: Step | None):
    """However fresh the facts of its webhook are, and wherever the replay is to begin."""
    hire_completed(onboard)
    onboard.deel.ends("c-1")
    take(onboard, "contract.terminated")
    row = onboard.run()
    onboard.store.write(lambda db: runs.replay(db, row, runs.Replay(step)))
    assert onboard.recover() == "failed"
    assert onboard.run().reason == "contract_terminated"
    assert onboard.deel.tokens_issued_for("c-1") == 1


# --- one worker, two contracts, one token


@on_both
def test_the_token_that_another_contract_needs_stays(onboard: Driver):
    """Until that one ends too."""
    hire_completed(onboard)
    share_profile(onboard, "c-1", "c-2")
    take(onboard, "contract.terminated", "c-1")
    assert onboard.run("c-1").state == "cancelled"
    assert wish(onboard).result == "kept"
    assert onboard.vault_token("c-2") == onboard.deel.live_token("c-1") is not None
    take(onboard, "contract.terminated", "c-2")
    revoke(onboard)
    assert onboard.vault_token("c-2") is None
    assert onboard.deel.live_token("c-1") is None


@on_both
def test_of_two_contracts_that_end_at_once_one_revokes(onboard: Driver):
    """Each would leave the token to the other."""
    hire_completed(onboard)
    share_profile(onboard, "c-1", "c-2")
    with onboard.store.engine.begin() as first, ThreadPoolExecutor(1) as pool:
        endings.terminate(first, "c-1", "org", LEASE_S)
        end = partial(endings.terminate, contract_id="c-2", organization_id="org", lease_s=LEASE_S)
        second = pool.submit(onboard.store.write, end)
        time.sleep(0.1)
        first.commit()
        second.result()
    assert (wish(onboard, "c-1").result, wish(onboard, "c-2").result) == ("kept", None)
    revoke(onboard)
    assert onboard.deel.live_token("c-1") is None


# --- deaths, failures, races


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


# --- consents


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


def test_an_erased_contract_that_ends_stays_erased(onboard: Driver):
    """Else a replay could bring it back."""
    hire_completed(onboard)
    onboard.deel.ends("c-1", on="2026-01-05")
    tell(onboard, {"type": "contract.terminated"})
    onboard.store.write(lambda db: endings.erase(db, ["c-1"], LEASE_S))
    for _ in range(3):
        revoke(onboard, after_s=61)
    assert onboard.run().reason == "erased"
    assert [row.done_at is None for row in onboard.store.read(lambda db: revocations.of_contract(db, "c-1"))] == [
        False
    ] * 2
