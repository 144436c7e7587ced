"""Events that name no organisation, and a token that may not tell its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from onboarding.cli.probes import NEEDED
from onboarding.events import Message
from onboarding.runs import State
from onboarding.store.events import HOME
from tests.onboarding.worlds import Driver, driver


@pytest.fixture
def onboard(sqlite_url: str) -> Iterator[Driver]:
    """A driver whose token has the documented scopes and no others."""
    with driver(sqlite_url) as made:
        made.world.clients.configure(SecretStr(made.deel.add_token(NEEDED)))
        yield made


def test_runs_go_on_where_the_token_may_not_know_its_organisation(onboard: Driver):
    """GET /organizations and GET /people/me are both refused: once, and no run waits for it."""
    for contract in ("c-1", "c-2"):
        onboard.deel.has_contract(contract)
        plain = f'{{"type": "contract.created", "contract_id": "{contract}"}}'
        onboard.intake.accept(Message(plain.encode(), {}, "contract.created"))
        assert onboard.carry(contract) == State.COMPLETED
        onboard.as_promised(contract)

    assert onboard.run("c-1").organization_id == HOME
    refused = [call.route for call in onboard.deel.ledger if call.status == 403]
    assert refused == ["GET /organizations", "GET /people/me"]
