"""The budget's slot that was taken last, and how much slower it is since Deel refused a call."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name in ("begins_at", "slower_s", "slow_until"):
        op.add_column("budgets", sa.Column(name, sa.Float(), nullable=False, server_default="0"))
