"""Indexes for what is asked of a store with a million finished runs, or a hundred thousand in line."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

ACTIVE = "state IN ('pending', 'running', 'waiting')"
UNDER_WAY = "state IN ('pending', 'running') OR nudge_at > next_attempt_at"
HELD_UP = "state IN ('waiting') AND reason IN ('org_token_rejected', 'org_token_missing', 'scope_missing', 'paused')"
UNTOLD = "state IN ('failed') AND told < parkings"
WITH_REASON = "reason IS NOT NULL"


def upgrade() -> None:
    op.drop_index("ix_runs_unfinished", "runs")
    op.drop_index("ix_runs_created_at", "runs")
    op.drop_index("ix_runs_line", "runs")
    _create("ix_runs_line", "organization_id", "behind", "nudge_at", where=ACTIVE)
    counted = ["state", "nudges", "next_attempt_at"]
    _create("ix_runs_under_way", "organization_id", "nudge_at", where=UNDER_WAY, postgresql_include=counted)
    _create("ix_runs_held_up", "organization_id", "step", "created_at", where=HELD_UP)
    _create("ix_runs_untold", "updated_at", where=UNTOLD)
    _create("ix_runs_reason", "reason", "created_at", where=WITH_REASON, postgresql_include=["state"])
    op.create_index("ix_runs_state_created_at", "runs", ["state", "created_at"])


def downgrade() -> None:
    for name in ("state_created_at", "reason", "untold", "held_up", "under_way", "line"):
        op.drop_index(f"ix_runs_{name}", "runs")
    _create("ix_runs_line", "organization_id", "behind", "nudge_at", where="nudge_at IS NOT NULL")
    _create("ix_runs_unfinished", "state", "organization_id", where="state != 'completed'")
    op.create_index("ix_runs_created_at", "runs", ["created_at"])


def _create(name: str, *columns: str, where: str, **options: Any) -> None:
    condition = sa.text(where)
    op.create_index(name, "runs", list(columns), postgresql_where=condition, sqlite_where=condition, **options)
