"""Tokens on demand: who issues at this moment, how often a stranger superseded ours, and who is kept alive."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from onboarding.store.sql import UtcDateTime

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

KEPT_ALIVE = "keep_alive"


def upgrade() -> None:
    op.add_column("worker_tokens", sa.Column("issuing_by", sa.String(64)))
    op.add_column("worker_tokens", sa.Column("issuing_until", UtcDateTime()))
    op.add_column("worker_tokens", sa.Column("stored_at", UtcDateTime()))
    op.add_column("worker_tokens", sa.Column("superseded", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("worker_tokens", sa.Column("superseded_at", UtcDateTime()))
    op.add_column("runs", sa.Column("keep_alive", sa.Boolean(), nullable=False, server_default=sa.false()))
    where = sa.text(KEPT_ALIVE)
    op.create_index("ix_runs_keep_alive", "runs", ["hris_profile_id"], postgresql_where=where, sqlite_where=where)


def downgrade() -> None:
    op.drop_index("ix_runs_keep_alive", "runs")
    op.drop_column("runs", "keep_alive")
    for name in ("superseded_at", "superseded", "stored_at", "issuing_until", "issuing_by"):
        op.drop_column("worker_tokens", name)
