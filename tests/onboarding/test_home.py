"""Events that name no organisation, and a token that may not tell its own."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from pydantic import SecretStr
from sqlalchemy import Connection, insert, select

from onboarding.cli.probes import NEEDED
from onboarding.events import Message
from onboarding.runs import State
from onboarding.store import organizations, tables
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


@pytest.mark.parametrize("known_already", [False, True])
def test_what_was_kept_under_the_placeholder_goes_with_the_name(onboard: Driver, known_already: bool):
    """How far its list was read, its subscriptions, keys and revocations; what it has under its own name counts."""
    subscription = {"label": "l", "url": "u", "events": "e", "deel_id": "d"}
    key = {"id": "k", "name": "app", "digest": "x", "scope": "token", "per_minute": 1}
    wish = {"contract_id": "c-1", "why": "withdrawn", "confirm": False, "wish": 1, "wanted_at": datetime.now(UTC)}

    def fill(db: Connection) -> None:
        for organization_id, cursor in ((HOME, "page-7"), *([("org-1", "page-1")] if known_already else [])):
            db.execute(insert(tables.backfills).values(organization_id=organization_id, cursor=cursor))
            db.execute(insert(tables.webhooks).values(organization_id=organization_id, **subscription))
        db.execute(insert(tables.service_keys).values(organization_id=HOME, **key))
        db.execute(insert(tables.revocations).values(organization_id=HOME, tries=0, **wish))

    onboard.store.write(fill)
    for _ in range(2):
        onboard.store.write(lambda db: organizations.learn_home(db, "f", HOME, "org-1"))
    for table in (tables.backfills, tables.webhooks, tables.service_keys, tables.revocations):
        of = onboard.store.read(lambda db, table=table: db.execute(select(table.c.organization_id)).scalars().all())
        assert of == ["org-1"]
    cursor = onboard.store.read(lambda db: db.execute(select(tables.backfills.c.cursor)).scalar_one())
    assert cursor == ("page-1" if known_already else "page-7")
