"""Consents that nobody can change; tokens to be revoked at Deel; which facts of an event differed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from onboarding.store.sql import UtcDateTime

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

DUE = sa.text("due_at IS NOT NULL")
OPEN = sa.text("done_at IS NULL")
CHANGED = sa.text("reason IN ('changed_input')")

# What an erasure may do, and nobody anything else: the reference to the proof may hold what is personal.
COLUMNS = ("id", "at", "contract_id", "given", "version", "who", "channel", "decided_at")
REFUSAL = "consents are append-only"
SQLITE = (
    "CREATE TRIGGER consents_kept BEFORE UPDATE ON consents WHEN NOT (NEW.evidence = '(erased)' AND "
    + " AND ".join(f"NEW.{name} IS OLD.{name}" for name in COLUMNS)
    + f") BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END",
    f"CREATE TRIGGER consents_stay BEFORE DELETE ON consents BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END",
)
POSTGRESQL = (
    "CREATE FUNCTION consents_kept() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
    "IF TG_OP = 'UPDATE' THEN IF NEW.evidence = '(erased)' AND "
    + " AND ".join(f"NEW.{name} IS NOT DISTINCT FROM OLD.{name}" for name in COLUMNS)
    + f" THEN RETURN NEW; END IF; END IF; RAISE EXCEPTION '{REFUSAL}'; END $$",
    "CREATE TRIGGER consents_kept BEFORE UPDATE OR DELETE ON consents FOR EACH ROW EXECUTE FUNCTION consents_kept()",
    "CREATE TRIGGER consents_stay BEFORE TRUNCATE ON consents EXECUTE FUNCTION consents_kept()",
)


def upgrade() -> None:
    op.add_column("events", sa.Column("differs", sa.String(64)))
    op.create_index(
        "ix_events_changed_input",
        "events",
        ["run_id", "received_at"],
        postgresql_where=CHANGED,
        sqlite_where=CHANGED,
    )
    op.add_column("consents", sa.Column("channel", sa.String(40)))
    op.add_column("consents", sa.Column("decided_at", UtcDateTime()))
    op.create_table(
        "revocations",
        sa.Column("contract_id", sa.String(128), nullable=False),
        sa.Column("why", sa.String(40), nullable=False),
        sa.Column("organization_id", sa.String(128), nullable=False),
        sa.Column("hris_profile_id", sa.String(128)),
        sa.Column("confirm", sa.Boolean(), nullable=False),
        sa.Column("wish", sa.Integer(), nullable=False),
        sa.Column("wanted_at", UtcDateTime(), nullable=False),
        sa.Column("due_at", UtcDateTime()),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("reason", sa.String(40)),
        sa.Column("http_status", sa.Integer()),
        sa.Column("request_id", sa.String(128)),
        sa.Column("done_at", UtcDateTime()),
        sa.Column("result", sa.String(40)),
        sa.PrimaryKeyConstraint("contract_id", "why", name=op.f("pk_revocations")),
    )
    op.create_index("ix_revocations_due", "revocations", ["due_at"], postgresql_where=DUE, sqlite_where=DUE)
    op.create_index("ix_revocations_open", "revocations", ["hris_profile_id"], postgresql_where=OPEN, sqlite_where=OPEN)
    for statement in POSTGRESQL if op.get_bind().dialect.name == "postgresql" else SQLITE:
        op.execute(statement)


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP TRIGGER consents_stay ON consents")
        op.execute("DROP TRIGGER consents_kept ON consents")
        op.execute("DROP FUNCTION consents_kept()")
    else:
        op.execute("DROP TRIGGER consents_stay")
        op.execute("DROP TRIGGER consents_kept")
    op.drop_table("revocations")
    op.drop_column("consents", "decided_at")
    op.drop_column("consents", "channel")
    op.drop_index("ix_events_changed_input", "events")
    op.drop_column("events", "differs")
