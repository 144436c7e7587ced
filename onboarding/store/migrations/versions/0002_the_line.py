"""A line and a token for each organisation, replays behind the living; a budget that slows when Deel refuses."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from onboarding.store.sql import UtcDateTime

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name in ("begins_at", "slower_s", "slow_until"):
        op.add_column("budgets", sa.Column(name, sa.Float(), nullable=False, server_default="0"))
    op.add_column("runs", sa.Column("behind", sa.Boolean(), nullable=False, server_default=sa.false()))
    _create_index("ix_runs_line", "organization_id", "behind", "nudge_at")
    op.drop_index("ix_runs_nudge_at", "runs")
    op.add_column("organizations", sa.Column("token_sealed", sa.LargeBinary()))
    op.add_column("organizations", sa.Column("token_fingerprint", sa.String(64)))
    op.add_column("organizations", sa.Column("token_at", UtcDateTime()))


def downgrade() -> None:
    for name in ("token_sealed", "token_fingerprint", "token_at"):
        op.drop_column("organizations", name)
    _create_index("ix_runs_nudge_at", "nudge_at")
    op.drop_index("ix_runs_line", "runs")
    op.drop_column("runs", "behind")
    for name in ("begins_at", "slower_s", "slow_until"):
        op.drop_column("budgets", name)


def _create_index(name: str, *columns: str) -> None:
    where = sa.text("nudge_at IS NOT NULL")
    op.create_index(name, "runs", list(columns), postgresql_where=where, sqlite_where=where)
