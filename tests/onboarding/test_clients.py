"""A client for each organisation: its own token, its own budget."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pytest
from pydantic import SecretStr

from onboarding import clients as clients_module
from onboarding.budget import fingerprint_of
from onboarding.clients import Clients, StoredSessionField
from onboarding.deel import PauseOrganisation
from onboarding.runs import Reason, State, Step
from onboarding.simulator import Simulator
from onboarding.store import org_tokens, organizations
from onboarding.store.engine import Store
from onboarding.store.events import HOME
from onboarding.store.tables import budgets
from onboarding.transport import Http
from tests.onboarding.store.rows import KEYRING
from tests.onboarding.worlds import Driver

SCOPES = ("contracts:read", "people:read", "people:write", "admin:worker")
OTHER = "22222222-2222-4222-8222-222222222222"


@pytest.fixture
def deel() -> Iterator[Simulator]:
    with Simulator(rate=None) as simulator:
        yield simulator


@pytest.fixture
def http() -> Iterator[Http]:
    pool = Http()
    yield pool
    pool.close()


@pytest.fixture
def clients(store: Store, deel: Simulator, http: Http) -> Clients:
    return Clients(store, KEYRING, http, url=deel.url, rate=1000, session_field="hris_profile_id")


def give(store: Store, organization_id: str, token: str) -> bool:
    secret = SecretStr(token)
    return store.write(lambda db: org_tokens.keep(db, KEYRING, organization_id, secret, fingerprint_of(secret)))


def test_an_organisation_is_served_by_its_own_token_and_all_others_by_the_configured_one(
    store: Store, deel: Simulator, clients: Clients
):
    """Which is theirs by the answer of Deel."""
    clients.configure(SecretStr(deel.org_token))
    give(store, OTHER, deel.add_token(["organizations:read"], OTHER))
    assert clients.of("org-1").organization_id() == deel.organization_id
    assert clients.of(OTHER).organization_id() == OTHER


def test_without_any_token_the_organisation_is_paused(clients: Clients):
    """By a reason that says what to type."""
    with pytest.raises(PauseOrganisation) as missing:
        clients.of("org-1")
    assert missing.value.reason is Reason.ORG_TOKEN_MISSING
    assert "onboarding org token set" in Reason.ORG_TOKEN_MISSING.advice


def test_a_token_that_is_replaced_or_removed_is_heard_of(
    store: Store, deel: Simulator, clients: Clients, monkeypatch: pytest.MonkeyPatch
):
    """Within ten seconds; until then the client is the same one, and no query is made."""
    give(store, OTHER, deel.add_token(["organizations:read"], OTHER))
    first = clients.of(OTHER)
    assert give(store, OTHER, deel.add_token(["organizations:read"], OTHER))
    assert clients.of(OTHER) is first
    monkeypatch.setattr(clients_module, "LOOK_AGAIN_S", 0.0)
    second = clients.of(OTHER)
    assert second is not first
    assert clients.of(OTHER) is second
    assert store.write(lambda db: org_tokens.remove(db, OTHER))
    with pytest.raises(PauseOrganisation):
        clients.of(OTHER)


def test_the_token_lies_sealed_and_bound_to_its_organisation(store: Store):
    """A ciphertext that is moved to another row does not open."""
    give(store, "org-1", "canary-org-1")
    give(store, "org-2", "canary-org-token-2")
    own = store.read(lambda db: org_tokens.find(db, "org-1"))
    assert own is not None
    assert b"canary" not in own.sealed
    assert store.read(lambda db: org_tokens.reveal(db, KEYRING, "org-1", own)).get_secret_value() == "canary-org-1"
    with pytest.raises(Exception, match=r"organizations\.token_sealed does not open"):
        store.read(lambda db: org_tokens.reveal(db, KEYRING, "org-2", own))


def test_two_organisations_spend_two_budgets(onboard: Driver):
    """Each run by the token of its own organisation, from the first call to the last."""
    other = onboard.deel.add_token(SCOPES, OTHER)
    give(onboard.store, OTHER, other)
    onboard.hire("c-1")
    onboard.hire("c-2", organization_id=OTHER)
    assert [onboard.carry(contract) for contract in ("c-1", "c-2")] == [State.COMPLETED] * 2
    mine, others = Counter(call.organization_id for call in onboard.deel.ledger).most_common()
    assert {mine, others} == {(onboard.deel.organization_id, 3), (OTHER, 3)}
    rows = onboard.store.read(lambda db: db.execute(budgets.select()).all())
    assert {row.fingerprint for row in rows} == {
        fingerprint_of(SecretStr(other)),
        fingerprint_of(SecretStr(onboard.deel.org_token)),
    }


def test_a_run_without_a_token_waits_and_burns_nothing(onboard: Driver, http: Http):
    """Until there is one: then it goes on by itself."""
    onboard.world = replace(onboard.world, clients=without_home(onboard, http))
    onboard.deel.has_contract("c-2", email="c-2@example.com", organization_id=OTHER)
    onboard.plain("c-2", organization_id=OTHER)
    onboard.carry("c-2")
    row = onboard.run("c-2")
    assert (row.state, row.reason, row.tries) == (State.WAITING, Reason.ORG_TOKEN_MISSING, 0)
    assert len(onboard.deel.ledger) == 0
    give(onboard.store, OTHER, onboard.deel.add_token(SCOPES, OTHER))
    onboard.world = replace(onboard.world, clients=without_home(onboard, http))
    assert onboard.store.write(lambda db: organizations.resume(db, OTHER))
    onboard.pass_time()
    assert onboard.carry("c-2") == State.COMPLETED


def test_an_event_that_names_no_organisation_needs_a_token_too(onboard: Driver, http: Http):
    """That of the settings, or one that was added for `home`."""
    onboard.world = replace(onboard.world, clients=without_home(onboard, http))
    give(onboard.store, HOME, onboard.deel.org_token)
    onboard.deel.has_contract("c-1", email="c-1@example.com")
    onboard.plain("c-1")
    assert onboard.carry("c-1") == State.COMPLETED


def test_the_field_of_a_session_is_remembered_for_all_processes(store: Store):
    """Per token: what Deel took once is what another process, or the next start, begins with."""
    first = StoredSessionField(store, "fingerprint", "hris_profile_id")
    assert first.get() == "hris_profile_id"
    first.remember("profile_id")

    assert first.get() == "profile_id"
    assert StoredSessionField(store, "fingerprint", "hris_profile_id").get() == "profile_id"
    assert StoredSessionField(store, "another", "hris_profile_id").get() == "hris_profile_id"


def without_home(onboard: Driver, http: Http) -> Clients:
    url = onboard.deel.url
    return Clients(onboard.store, KEYRING, http, url=url, rate=1000, session_field="hris_profile_id")


def test_a_token_that_was_replaced_a_moment_ago_pauses_nobody(onboard: Driver):
    """Who adds the new one and then revokes the old one in one breath meets processes that have the old one still."""
    old = onboard.deel.add_token(SCOPES, OTHER)
    give(onboard.store, OTHER, old)
    onboard.hire("c-2", organization_id=OTHER)
    onboard.deliver("c-2", Step.CONTRACT_CREATED)
    onboard.world.clients.of(OTHER)
    give(onboard.store, OTHER, onboard.deel.add_token(SCOPES, OTHER))
    onboard.deel.revoke_token(old)
    assert onboard.carry("c-2") == State.COMPLETED
    assert onboard.store.read(organizations.paused) == []


def test_a_token_that_is_the_one_pauses_its_organisation(onboard: Driver):
    """There is no other, so nobody else is let through to be refused."""
    old = onboard.deel.add_token(SCOPES, OTHER)
    give(onboard.store, OTHER, old)
    onboard.hire("c-2", organization_id=OTHER)
    onboard.deel.revoke_token(old)
    onboard.carry("c-2")
    assert [row.paused_reason for row in onboard.store.read(organizations.paused)] == [Reason.ORG_TOKEN_REJECTED]
