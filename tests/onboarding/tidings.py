"""What comes in about a contract or a worker whom we know, and what upkeep makes of it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy import select, update

from onboarding import revoking
from onboarding.events import Message
from onboarding.store import revocations
from onboarding.store.sql import from_now
from onboarding.store.tables import events as events_table
from onboarding.store.tables import revocations as wishes
from onboarding.store.tables import turns
from tests.onboarding.worlds import Driver

GIVEN = {"type": "worker.consent.given", "evidence": "DOC-1", "version": "terms-3", "channel": "portal"}
WITHDRAWN = GIVEN | {"type": "worker.consent.withdrawn"}
LEASE_S = 60.0


on_both = pytest.mark.parametrize("onboard", ["sqlite", "postgres"], indirect=True)
"""Where a statement is of more than the usual kind."""


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
