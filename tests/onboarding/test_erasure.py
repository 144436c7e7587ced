"""A worker is erased while the run goes on: whatever a step in flight still learns is not written."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from onboarding import failpoints
from onboarding.store import endings
from onboarding.store.tables import data_keys, metadata
from tests.onboarding.worlds import Driver

CANARY = "canary.ada@example.com"
POINTS = (
    *("contract_created.called", "contract_created.recording", "ensure_profile.recording", "issue_token.intending"),
    *("issue_token.called", "issue_token.recording", "verify_token.recording", "notify.called"),
)


@pytest.mark.parametrize("point", POINTS)
def test_nothing_is_left_wherever_a_step_stands(onboard: Driver, point: str):
    """No key, no ciphertext; the run is not brought back."""
    onboard.deel.has_contract("c-1", email=CANARY)
    onboard.plain("c-1")

    def erase() -> None:
        failpoints.disarm()
        onboard.store.write(lambda db: endings.erase(db, ["c-1"], 60.0))

    failpoints.arm(point, erase)
    onboard.carry()
    onboard.recover()
    row = onboard.run()
    assert (row.state, row.reason, row.emails_sealed) == ("cancelled", "erased", None)
    assert onboard.store.read(lambda db: db.execute(select(data_keys.c.subject)).all()) == []
    cells = [
        repr(cell)
        for table in metadata.sorted_tables
        for line in onboard.store.read(lambda db, table=table: db.execute(table.select()).all())
        for cell in line
    ]
    assert not [cell for cell in cells if CANARY in cell]
