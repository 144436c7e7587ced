"""Rows for tests."""

from __future__ import annotations

from typing import Any

from pydantic import SecretStr
from sqlalchemy import insert, select

from onboarding.runs import Step
from onboarding.store.claims import Claim, Terms, begin
from onboarding.store.engine import Store
from onboarding.store.line import Line, organizations_due, take
from onboarding.store.tables import attempts, runs
from onboarding.vault import Keyring

KEYRING = Keyring.from_setting("k1:" + "A" * 43 + "=")
TERMS = Terms(lease_s=60, crash_limit=3)
ORG = "org-1"
LINE = Line(lease_s=60, places=6, behind=3)


def add_run(store: Store, run_id: str = "run-1", **columns: Any) -> str:
    """A run's row, pending at its first step unless told otherwise."""
    row = {
        "id": run_id,
        "organization_id": ORG,
        "contract_id": f"contract-of-{run_id}",
        "state": "pending",
        "step": "contract_created",
    }
    store.write(lambda db: db.execute(insert(runs).values(**{**row, **columns})))
    return run_id


def claim(store: Store, run_id: str = "run-1", step: Step = Step.CONTRACT_CREATED, terms: Terms = TERMS) -> Claim:
    """A claim that must succeed."""
    taken = store.write(lambda db: begin(db, run_id, step, terms))
    assert isinstance(taken, Claim), taken
    return taken


def take_due(store: Store, line: Line = LINE) -> list[Any]:
    """What the reconciler would send, of one organisation after the other."""
    organizations = store.read(organizations_due)
    return [row for each in organizations for row in store.write(lambda db, of=each: take(db, of, line))]  # type: ignore[misc]


def run_row(store: Store, run_id: str = "run-1") -> Any:
    """The run as it lies in the store."""
    return store.read(lambda db: db.execute(select(runs).where(runs.c.id == run_id)).one())


def timeline(store: Store, run_id: str = "run-1") -> list[tuple[str, str | None]]:
    """Step and outcome of each attempt."""
    query = select(attempts.c.step, attempts.c.outcome).where(attempts.c.run_id == run_id).order_by(attempts.c.id)
    return [tuple(row) for row in store.read(lambda db: db.execute(query).all())]


def secret(text: str) -> SecretStr:
    """Shorter."""
    return SecretStr(text)
