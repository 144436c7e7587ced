"""A contract that ends: the token dies, here at once, at Deel soon."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from sqlalchemy import select, update

from onboarding.runs import Step
from onboarding.store import alive, endings, revocations, runs
from onboarding.store.tables import audit
from tests.onboarding.tidings import (
    LEASE_S,
    deletes,
    hire_completed,
    last_event,
    on_both,
    revoke,
    take,
    tell,
    wish,
)
from tests.onboarding.worlds import Driver


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
