"""Tokens on demand: who issues at this moment, how often a stranger superseded ours, and who is kept alive."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from onboarding.store.sql import UtcDateTime

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("worker_tokens", sa.Column("issuing_by", sa.String(64)))
    op.add_column("worker_tokens", sa.Column("issuing_until", UtcDateTime()))
    op.add_column("worker_tokens", sa.Column("stored_at", UtcDateTime()))
    op.add_column("worker_tokens", sa.Column("superseded", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("worker_tokens", sa.Column("superseded_at", UtcDateTime()))
    op.add_column("runs", sa.Column("keep_alive", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("worker_tokens", sa.Column("renew_at", UtcDateTime()))
    _create("ix_runs_keep_alive", "runs", "organization_id", "hris_profile_id", where="keep_alive")
    _create("ix_worker_tokens_renew_at", "worker_tokens", "renew_at", where="renew_at IS NOT NULL")


def downgrade() -> None:
    op.drop_index("ix_worker_tokens_renew_at", "worker_tokens")
    op.drop_index("ix_runs_keep_alive", "runs")
    op.drop_column("runs", "keep_alive")
    for name in ("renew_at", "superseded_at", "superseded", "stored_at", "issuing_until", "issuing_by"):
        op.drop_column("worker_tokens", name)


def _create(name: str, table: str, *columns: str, where: str) -> None:
    condition = sa.text(where)
    op.create_index(name, table, list(columns), postgresql_where=condition, sqlite_where=condition)
