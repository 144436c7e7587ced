"""Events that name no organisation, and a token that may not tell its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from pydantic import SecretStr

from onboarding.cli.probes import SCOPES
from onboarding.deel import Deel, SessionFieldInMemory
from onboarding.events import Message
from onboarding.runs import State
from onboarding.store.events import HOME
from onboarding.transport import Http
from tests.onboarding.deel_wire import CountingBudget
from tests.onboarding.worlds import Driver, driver


@pytest.fixture
def onboard(sqlite_url: str) -> Iterator[Driver]:
    """A driver whose token has the documented scopes and no others."""
    http = Http()
    with driver(sqlite_url) as made:
        token = SecretStr(made.deel.add_token(SCOPES))
        field = SessionFieldInMemory()
        deel = Deel(http, base_url=made.deel.url, token=token, budget=CountingBudget(), session_field=field)
        made.world = replace(made.world, deel=deel)
        yield made
    http.close()


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
