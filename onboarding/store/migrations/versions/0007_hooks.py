"""Webhook subscriptions that ought to be at Deel, the scheduled backfill's place, and whether an event was signed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from onboarding.store.sql import UtcDateTime

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("events", sa.Column("signed", sa.Boolean()))
    op.create_table(
        "webhooks",
        sa.Column("organization_id", sa.String(128), nullable=False),
        sa.Column("label", sa.String(128), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("events", sa.Text(), nullable=False),
        sa.Column("deel_id", sa.String(128), nullable=False),
        sa.Column("looked_at", UtcDateTime()),
        sa.Column("trouble", sa.String(40)),
        sa.PrimaryKeyConstraint("organization_id", "label", name="pk_webhooks"),
    )
    op.create_table(
        "backfills",
        sa.Column("organization_id", sa.String(128), nullable=False),
        sa.Column("known_at", UtcDateTime(), nullable=False),
        sa.Column("due_at", UtcDateTime()),
        sa.Column("cursor", sa.Text()),
        sa.Column("reads", sa.Integer(), nullable=False),
        sa.Column("pages", sa.Integer(), nullable=False),
        sa.Column("made", sa.Integer(), nullable=False),
        sa.Column("ended_at", UtcDateTime()),
        sa.Column("reason", sa.String(40)),
        sa.PrimaryKeyConstraint("organization_id", name="pk_backfills"),
    )


def downgrade() -> None:
    op.drop_table("backfills")
    op.drop_table("webhooks")
    op.drop_column("events", "signed")
