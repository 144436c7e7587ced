"""Workers who are kept alive: their tokens are renewed ahead of their end, and no others."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from onboarding import renewals, upkeep
from onboarding.access import Access
from onboarding.simulator import Policy
from onboarding.store import alive, consents
from onboarding.store.sql import from_now
from onboarding.store.tables import audit, runs, turns, worker_tokens
from onboarding.vault import Keyring
from tests.onboarding.worlds import Driver, driver

ISSUE = "POST /workers/session"
HOUR = 3600.0


@pytest.fixture
def world(store_url: str) -> Iterator[Driver]:
    with driver(store_url) as made:
        yield made


def hire(world: Driver, *contracts: str) -> None:
    for contract in contracts:
        world.hire(contract)
        world.carry(contract)


def mark(world: Driver, contract: str = "c-1", *, on: bool = True) -> None:
    row = world.run(contract)
    world.store.write(lambda db: alive.mark(db, row, on=on))


def put(world: Driver, **columns: Any) -> None:
    world.store.write(lambda db: db.execute(update(worker_tokens).values(**columns)))


def row_of(world: Driver, contract: str = "c-1") -> Any:
    query = select(worker_tokens).where(worker_tokens.c.hris_profile_id == world.run(contract).hris_profile_id)
    return world.store.read(lambda db: db.execute(query).one())


def look(world: Driver) -> int:
    world.store.write(lambda db: db.execute(update(turns).values(last_at=from_now(-HOUR))))
    return upkeep.keep_alive(world.world)


def issued(world: Driver) -> int:
    return world.deel.ledger.count(ISSUE)


def test_one_that_is_due_is_renewed_and_due_again_before_its_end(world: Driver):
    """Between two and ten hours ahead; and on record as upkeep's."""
    hire(world, "c-1", "c-2")
    mark(world)
    assert look(world) == 0
    put(world, expires_at=from_now(5 * HOUR), stored_at=from_now(-19 * HOUR))
    world.store.write(lambda db: alive.postpone(db, world.run().hris_profile_id, 0))
    assert look(world) == 1
    assert world.deel.tokens_issued_for("c-1") == 2
    assert world.deel.tokens_issued_for("c-2") == 1
    row = row_of(world)
    assert timedelta(hours=2) <= row.expires_at - row.renew_at <= timedelta(hours=10)
    assert look(world) == 0
    who = world.store.read(lambda db: db.execute(select(audit.c.who, audit.c.did)).all())
    assert who == [("upkeep", "token_renewed")]


def test_only_those_who_are_marked_have_a_time(world: Driver):
    """Marked before the first token, or after it; `--off` takes it away."""
    world.hire("c-1")
    mark(world)
    hire(world, "c-2")
    world.carry("c-1")
    assert row_of(world, "c-1").renew_at is not None
    assert row_of(world, "c-2").renew_at is None
    mark(world, "c-2")
    assert row_of(world, "c-2").renew_at is not None
    mark(world, "c-1", on=False)
    assert row_of(world, "c-1").renew_at is None


def test_a_look_takes_a_tenth_of_the_budget_and_the_longest_due_first(world: Driver, monkeypatch: pytest.MonkeyPatch):
    """At five a second: five in ten seconds."""
    assert (renewals.per_round(5), renewals.per_round(0.2)) == (5, 1)
    monkeypatch.setattr(renewals, "per_round", lambda _rate: 2)
    hire(world, "c-1", "c-2", "c-3")
    put(world, expires_at=from_now(HOUR), stored_at=from_now(-23 * HOUR))
    for late_s, contract in enumerate(("c-3", "c-1", "c-2")):
        mark(world, contract)
        profile = world.run(contract).hris_profile_id
        world.store.write(lambda db, profile=profile, late_s=late_s: alive.postpone(db, profile, -late_s))
    assert look(world) == 2
    assert [world.deel.tokens_issued_for(contract) for contract in ("c-1", "c-2", "c-3")] == [2, 2, 1]
    assert upkeep.keep_alive(world.world) == 0  # it is not its turn
    assert look(world) == 1


def test_one_that_cannot_be_renewed_holds_up_nobody(world: Driver, monkeypatch: pytest.MonkeyPatch):
    """Its run is parked, or its worker did not consent: it is looked at again in an hour."""
    monkeypatch.setattr(renewals, "per_round", lambda _rate: 1)
    hire(world, "c-1", "c-2")
    put(world, expires_at=from_now(HOUR), stored_at=from_now(-23 * HOUR))
    for contract in ("c-1", "c-2"):
        mark(world, contract)
    put(world, renew_at=from_now(-1))
    world.store.write(lambda db: alive.postpone(db, world.run("c-1").hris_profile_id, -60))  # the longest due
    parked = {"state": "failed", "step": "verify_token", "reason": "identity_mismatch"}
    world.store.write(lambda db: db.execute(update(runs).where(runs.c.contract_id == "c-1").values(**parked)))
    assert [look(world), look(world), look(world)] == [0, 1, 0]
    assert world.deel.tokens_issued_for("c-1") == 1


def test_a_deel_that_is_away_is_not_asked_for_each_of_them(world: Driver):
    """One call in a look; the others stay due, and are renewed once it is back."""
    hire(world, "c-1", "c-2")
    put(world, expires_at=from_now(HOUR), stored_at=from_now(-23 * HOUR))
    for contract in ("c-1", "c-2"):
        mark(world, contract)
    put(world, renew_at=from_now(-1))
    before = issued(world)
    world.deel.fails(ISSUE, status=503)
    assert look(world) == 0
    assert issued(world) - before == 1
    put(world, renew_at=from_now(-1), issuing_until=None)
    assert look(world) == 2


def test_consent_withdrawn_stops_it(world: Driver):
    """No renewal without it."""
    hire(world, "c-1")
    mark(world)
    put(world, expires_at=from_now(HOUR), stored_at=from_now(-23 * HOUR), renew_at=from_now(-1))
    object.__setattr__(world.world, "consent_required", True)
    assert look(world) == 0
    said = {"evidence": "e", "version": "1", "who": "w"}
    world.store.write(lambda db: consents.record(db, "c-1", **said))
    put(world, renew_at=from_now(-1))
    assert look(world) == 1


def test_a_short_life_at_deel_is_no_reason_to_issue_over_and_over(world: Driver):
    """A new token is taken as it is: the next would live no longer."""
    assert Policy().token_life_s == 24 * HOUR
    hire(world, "c-1")
    world.deel.policy.token_life_s = 100
    put(world, expires_at=from_now(-1))
    access = Access.of(world.world)
    tokens = {access.token("c-1", who="app", because="a test").issue_number for _ in range(5)}
    assert tokens == {2}
    access.close()


def test_one_whom_a_stranger_superseded_is_due_at_once(world: Driver):
    """As soon as somebody finds out."""
    hire(world, "c-1")
    mark(world)
    world.deel.supersede("c-1")
    put(world, stored_at=from_now(-HOUR))
    access = Access.of(world.world)
    access.refused("c-1", 1)
    access.close()
    assert look(world) == 1
    assert world.vault_token() == world.deel.live_token("c-1")


def test_organisations_that_share_a_token_share_the_tenth(world: Driver, monkeypatch: pytest.MonkeyPatch):
    """Twenty of them would else take twice the budget."""
    monkeypatch.setattr(renewals, "per_round", lambda _rate: 2)
    hire(world, "c-1", "c-2", "c-3")
    put(world, expires_at=from_now(HOUR), stored_at=from_now(-23 * HOUR))
    for contract in ("c-1", "c-2", "c-3"):
        mark(world, contract)
        own = update(runs).where(runs.c.contract_id == contract).values(organization_id=f"org-of-{contract}")
        world.store.write(lambda db, own=own: db.execute(own))
    put(world, renew_at=from_now(-1))
    assert [look(world), look(world)] == [2, 1]


def test_a_vault_that_does_not_open_is_said_and_looked_at_again_later(world: Driver):
    """No defect to be reported every ten seconds."""
    hire(world, "c-1")
    mark(world)
    put(world, expires_at=from_now(HOUR), stored_at=from_now(-23 * HOUR), renew_at=from_now(-1))
    object.__setattr__(world.world, "keyring", Keyring.from_setting("k2:" + "B" * 42 + "A="))
    assert look(world) == 0
    assert row_of(world).renew_at > row_of(world).expires_at - timedelta(minutes=5)
