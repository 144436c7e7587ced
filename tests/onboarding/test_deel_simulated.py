"""Deel's client against the simulator: what neither knows of the other, they agree on."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from onboarding.deel import (
    Deel,
    Identity,
    PauseOrganisation,
    SessionFieldInMemory,
    TokenRejected,
    TryLater,
    session_key,
    worker_key,
)
from onboarding.runs import Facts, Reason
from onboarding.simulator import Simulator
from tests.onboarding.deel_wire import (
    CountingBudget,
)


@pytest.fixture
def simulated(http_client):
    """A simulated Deel without a limit, and a client that holds its token."""
    with Simulator(rate=None) as simulator:
        deel = Deel(
            http_client,
            base_url=simulator.url,
            token=SecretStr(simulator.org_token),
            budget=CountingBudget(),
            session_field=SessionFieldInMemory("profile_id"),
        )
        yield simulator, deel


def test_a_worker_is_onboarded(simulated):
    """Contract, worker, session, identity, revocation: the whole way, and the token is then dead."""
    simulator, deel = simulated
    simulator.has_contract("c-1", email="ada@example.com")

    assert deel.contract("c-1").facts() == Facts("eor", (SecretStr("ada@example.com"),), None)
    profile = deel.create_worker("c-1", idempotency_key=worker_key("o", "c-1")).hris_profile_id
    session = deel.create_session(profile, idempotency_key=session_key("r", 1, profile))
    me = deel.me(session.token)
    assert isinstance(me, Identity)
    assert SecretStr("ada@example.com") in me.emails
    deel.delete_session(profile)

    assert isinstance(deel.me(session.token), TokenRejected)
    assert profile == simulator.profiles_of("c-1")[0] == deel.contract("c-1").hris_profile_id
    assert deel.organization_id() == simulator.organization_id


def test_a_lost_answer_is_asked_for_again_under_its_key(simulated):
    """The connection was cut behind the token's issue: the second try gets the same token, and says so."""
    simulator, deel = simulated
    simulator.has_contract("c-1", with_profile=True)
    (profile,) = simulator.profiles_of("c-1")
    simulator.cuts_connection(after="POST /workers/session")
    with pytest.raises(TryLater):
        deel.create_session(profile, idempotency_key=session_key("r", 1, profile))

    session = deel.create_session(profile, idempotency_key=session_key("r", 1, profile))

    assert session.replayed
    assert session.token.get_secret_value() == simulator.live_token("c-1")
    assert simulator.tokens_issued_for("c-1") == 1


def test_a_deel_that_takes_the_other_field_is_understood(simulated):
    """The simulator takes what Deel's OpenAPI names; a client that starts with the guide's field finds out."""
    simulator, deel = simulated
    simulator.has_contract("c-1", with_profile=True)
    simulator.policy.session_fields = ("hris_profile_id",)
    (profile,) = simulator.profiles_of("c-1")

    token = deel.create_session(profile, idempotency_key="k").token.get_secret_value()

    assert token == simulator.live_token("c-1")


def test_a_token_without_its_scope_pauses_and_a_revoked_one_too(simulated, http_client):
    """The simulator's 403 and 401 are Deel's: both concern the organisation."""
    simulator, _ = simulated
    simulator.has_contract("c-1", with_profile=True)
    (profile,) = simulator.profiles_of("c-1")
    token = simulator.add_token(["contracts:read"])
    deel = Deel(
        http_client,
        base_url=simulator.unversioned_url,
        token=SecretStr(token),
        budget=CountingBudget(),
        session_field=SessionFieldInMemory(),
    )
    with pytest.raises(PauseOrganisation) as missing:
        deel.create_session(profile, idempotency_key="k")
    simulator.revoke_token(token)
    with pytest.raises(PauseOrganisation) as rejected:
        deel.contract("c-1")

    assert (missing.value.reason, missing.value.scope) == (Reason.SCOPE_MISSING, "admin:worker")
    assert rejected.value.reason is Reason.ORG_TOKEN_REJECTED
