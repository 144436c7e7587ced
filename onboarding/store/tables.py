"""Every table, once. Nothing personal and no token lies in a plain column: what is sealed says so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
)

from onboarding.store.sql import UtcDateTime, from_now

metadata: Final = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

ID = String(64)
WORD = String(40)
SERIAL = BigInteger().with_variant(Integer, "sqlite")  # SQLite counts up only what is called INTEGER
DEEL_ID = String(128)  # whatever Deel calls an id: not always a UUID

organizations: Final = Table(
    "organizations",
    metadata,
    Column("id", DEEL_ID, primary_key=True),
    Column("paused_reason", WORD),
    Column("paused_step", WORD),  # the step that met the trouble: its success ends the pause
    Column("paused_at", UtcDateTime),
    Column("probe_at", UtcDateTime),  # when one waiting run may try again; NULL: only `resume` ends the pause
    Column("token_sealed", LargeBinary),  # its own token for Deel; NULL: that of the settings serves it
    Column("token_fingerprint", ID),
    Column("token_at", UtcDateTime),  # when it was put in
)

# What is known of a token for Deel, by its fingerprint.
deel_tokens: Final = Table(
    "deel_tokens",
    metadata,
    Column("fingerprint", ID, primary_key=True),
    Column("organization_id", DEEL_ID),  # learnt from Deel once
    Column("session_field", WORD),  # the field that POST /workers/session turned out to want
)

# The request budget of one Deel token: when each of its slots comes free. One row, so that its lock is the queue.
budgets: Final = Table(
    "budgets",
    metadata,
    Column("fingerprint", ID, primary_key=True),
    # All of it in seconds since 1970 by the database's clock. JSON: when each slot comes free, in the order of taking
    Column("free_at", Text, nullable=False),
    Column("begins_at", Float, nullable=False, default=0.0, server_default="0"),  # of the slot that was taken last
    Column("slower_s", Float, nullable=False, default=0.0, server_default="0"),  # added to each window, since Deel
    Column("slow_until", Float, nullable=False, default=0.0, server_default="0"),  # refused a call, until then
)

runs: Final = Table(
    "runs",
    metadata,
    Column("id", ID, primary_key=True),
    Column("organization_id", DEEL_ID, nullable=False),
    # Stricter than (organisation, contract): a contract that has a run keeps it, whatever organisation a later
    # event names, and two intakes that read two such events at once must not both make one.
    Column("contract_id", DEEL_ID, nullable=False, unique=True),
    Column("state", WORD, nullable=False),
    Column("step", WORD, nullable=False),
    Column("reason", WORD),
    Column("fence", Integer, nullable=False, default=0),
    Column("lease_until", UtcDateTime),
    Column("next_attempt_at", UtcDateTime),  # no try before this
    Column("nudge_at", UtcDateTime),  # when the reconciler sends a message; NULL: it need not
    Column("nudges", Integer, nullable=False, default=0),  # of the reconciler, since the last claim
    Column("behind", Boolean, nullable=False, default=False, server_default=false()),  # the runs of new events
    Column("tries", Integer, nullable=False, default=0),
    Column("not_found", Integer, nullable=False, default=0),  # tries among them that Deel answered with 404
    Column("starts", Integer, nullable=False, default=0),  # in a row, of this step, without an end
    Column("reissues", Integer, nullable=False, default=0),
    Column("reissue_asked", Boolean, nullable=False, default=False),
    Column("parkings", Integer, nullable=False, default=0),
    Column("told", Integer, nullable=False, default=0),  # the parking that onboarding.failed was last sent for
    Column("hris_profile_id", DEEL_ID),
    Column("contract_type", WORD),
    Column("emails_sealed", LargeBinary),  # the worker's addresses, under the contract's data key
    Column("facts_at", UtcDateTime),  # when the facts were told
    Column("token_expires_at", UtcDateTime),
    Column("keep_alive", Boolean, nullable=False, default=False, server_default=false()),  # renewed ahead of its end
    Column("created_at", UtcDateTime, nullable=False, default=from_now()),
    Column("updated_at", UtcDateTime, nullable=False, default=from_now()),
    # none of created_at alone: behind a long line, PostgreSQL would take it to look for the newest that ended
    Index("ix_runs_state_created_at", "state", "created_at"),
    Index("ix_runs_hris_profile_id", "hris_profile_id"),
    Index("ix_runs_updated_at", "updated_at"),  # retention, and a clock that jumped back
)


def _index_where(name: str, columns: Sequence[Column[Any]], condition: str, **options: Any) -> None:
    """Of some rows only: it stays small however many runs are completed. A query names the same condition."""
    Index(name, *columns, postgresql_where=text(condition), sqlite_where=text(condition), **options)


_OF = (runs.c.organization_id,)
_index_where("ix_runs_line", (*_OF, runs.c.behind, runs.c.nudge_at), "state IN ('pending', 'running', 'waiting')")
_index_where(  # between two looks: what counts against the places of its organisation, counted in the index alone
    "ix_runs_under_way",
    (*_OF, runs.c.nudge_at),
    "state IN ('pending', 'running') OR nudge_at > next_attempt_at",
    postgresql_include=("state", "nudges", "next_attempt_at"),
)
_index_where(  # until the organisation is resumed
    "ix_runs_held_up",
    (*_OF, runs.c.step, runs.c.created_at),
    "state IN ('waiting') AND reason IN ('org_token_rejected', 'org_token_missing', 'scope_missing', 'paused')",
)
_index_where("ix_runs_untold", (runs.c.updated_at,), "state IN ('failed') AND told < parkings")
_index_where("ix_runs_keep_alive", (*_OF, runs.c.hris_profile_id), "keep_alive")
_index_where("ix_runs_reason", (runs.c.reason, runs.c.created_at), "reason IS NOT NULL", postgresql_include=("state",))

attempts: Final = Table(
    "attempts",
    metadata,
    Column("id", SERIAL, primary_key=True, autoincrement=True),
    Column("run_id", ID, ForeignKey("runs.id", ondelete="CASCADE"), nullable=False),
    Column("step", WORD, nullable=False),
    Column("fence", Integer, nullable=False),
    Column("started_at", UtcDateTime, nullable=False, default=from_now()),
    Column("ended_at", UtcDateTime),
    Column("outcome", WORD),
    Column("reason", WORD),
    Column("http_status", Integer),
    Column("request_id", String(128)),
    UniqueConstraint("run_id", "fence"),
    Index("ix_attempts_started_at", "started_at"),  # retention
)

events: Final = Table(
    "events",
    metadata,
    Column("id", SERIAL, primary_key=True, autoincrement=True),
    Column("dedup_key", String(128), unique=True),  # NULL on a repeat
    Column("received_at", UtcDateTime, nullable=False, default=from_now()),
    Column("source", WORD, nullable=False),
    Column("type", DEEL_ID),
    Column("organization_id", DEEL_ID),
    Column("contract_id", DEEL_ID),
    Column("run_id", ID),
    Column("disposition", WORD, nullable=False),  # accepted, duplicate, ignored, dead
    Column("reason", WORD),
    Column("differs", String(64)),  # of a changed input: which facts, never what they are
    Column("signed", Boolean),  # by Deel, with a key that we know; NULL: filed before this was kept, or never asked
    Index("ix_events_received_at", "received_at"),
    Index("ix_events_disposition", "disposition"),
)
_index_where("ix_events_changed_input", (events.c.run_id, events.c.received_at), "reason IN ('changed_input')")

dead_letters: Final = Table(
    "dead_letters",
    metadata,
    Column("id", ID, primary_key=True),
    Column("received_at", UtcDateTime, nullable=False, default=from_now()),
    Column("source", WORD, nullable=False),  # hris, or the queue that it was dead-lettered from
    Column("routing_key", String(255), nullable=False),
    Column("reason", WORD, nullable=False),
    Column("size", Integer, nullable=False),  # bytes of the body as it came
    Column("sealed", LargeBinary, nullable=False),  # body and headers, under the dead letters' data key
    Index("ix_dead_letters_received_at", "received_at"),
)

# The vault's tables. A worker token belongs to a profile: a worker with two contracts still has only one.
data_keys: Final = Table(
    "data_keys",
    metadata,
    Column("subject", String(300), primary_key=True),
    Column("id", ID, nullable=False),
    Column("master_key_id", ID, nullable=False, index=True),
    Column("wrapped", LargeBinary, nullable=False),
)
worker_tokens: Final = Table(
    "worker_tokens",
    metadata,
    Column("hris_profile_id", DEEL_ID, primary_key=True),
    Column("organization_id", DEEL_ID, nullable=False),  # as the first event named it; bound into what is sealed
    Column("issue_number", Integer, nullable=False),  # the highest that was intended
    Column("intended_by", ID, nullable=False),  # the run whose id is in that Idempotency-Key
    Column("stored_issue", Integer),  # the issue that the sealed token answers
    Column("sealed", LargeBinary),
    Column("expires_at", UtcDateTime),
    Column("dead", Boolean, nullable=False, default=False),  # Deel was seen to refuse it
    Column("stored_at", UtcDateTime),
    # Of all who want a token at once, one asks Deel: until then, or until the pause after a failure is over
    Column("issuing_by", ID),
    Column("issuing_until", UtcDateTime),
    # How often somebody else's issue killed ours, each within hours of the one before
    Column("superseded", Integer, nullable=False, default=0, server_default="0"),
    Column("superseded_at", UtcDateTime),
    Column("renew_at", UtcDateTime),  # of one who is kept alive; NULL: when somebody asks
)

Index(
    "ix_worker_tokens_expires_at",
    worker_tokens.c.expires_at,
    postgresql_where=worker_tokens.c.sealed.is_not(None),
    sqlite_where=worker_tokens.c.sealed.is_not(None),
)

_index_where("ix_worker_tokens_renew_at", (worker_tokens.c.renew_at,), "renew_at IS NOT NULL")

notifications: Final = Table(
    "notifications",
    metadata,
    Column("message_id", ID, primary_key=True),
    Column("target", String(255), primary_key=True),  # a host and a digest: a URL can hold a secret
    Column("run_id", ID, ForeignKey("runs.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("created_at", UtcDateTime, nullable=False, default=from_now()),
    Column("tries", Integer, nullable=False, default=0),
    Column("next_try_at", UtcDateTime),
    Column("http_status", Integer),
    Column("delivered_at", UtcDateTime),
    Column("refused_at", UtcDateTime),  # 410 or another 4xx: not tried again by itself
)

# Append-only, by a trigger: who consented to what, when, how it is proven. A contract's latest decision counts.
consents: Final = Table(
    "consents",
    metadata,
    Column("id", SERIAL, primary_key=True, autoincrement=True),
    Column("at", UtcDateTime, nullable=False, default=from_now()),
    Column("contract_id", DEEL_ID, nullable=False, index=True),
    Column("given", Boolean, nullable=False),
    Column("evidence", String(500), nullable=False),  # a reference to the proof, not the proof
    Column("version", String(100), nullable=False),  # of the text that was consented to
    Column("who", String(128), nullable=False),  # recorded it
    Column("channel", WORD),
    Column("decided_at", UtcDateTime),  # by the worker, never later than `at`; NULL: then
)

# Tokens that must be dead at Deel, and why: the wish is committed with what caused it, upkeep carries it out.
revocations: Final = Table(
    "revocations",
    metadata,
    Column("contract_id", DEEL_ID, primary_key=True),
    Column("why", WORD, primary_key=True),  # terminated, withdrawn, erased
    Column("organization_id", DEEL_ID, nullable=False),
    Column("hris_profile_id", DEEL_ID),  # whose token; NULL: there is none, or it is not known yet
    Column("confirm", Boolean, nullable=False),  # an unsigned word that the contract has ended: Deel is asked first
    Column("wish", Integer, nullable=False),  # grows with each: what was done for an older one is not the newer one's
    Column("wanted_at", UtcDateTime, nullable=False),
    Column("due_at", UtcDateTime),  # no try before this; NULL: it is done
    Column("tries", Integer, nullable=False),
    Column("reason", WORD),  # of the last failed try
    Column("http_status", Integer),
    Column("request_id", String(128)),
    Column("done_at", UtcDateTime),
    Column("result", WORD),  # revoked, kept, nothing, lapsed, not_confirmed
)
_index_where("ix_revocations_due", (revocations.c.due_at,), "due_at IS NOT NULL")
_index_where("ix_revocations_open", (revocations.c.hris_profile_id,), "done_at IS NULL")

audit: Final = Table(
    "audit",
    metadata,
    Column("id", SERIAL, primary_key=True, autoincrement=True),
    Column("at", UtcDateTime, nullable=False, default=from_now()),
    Column("who", String(128), nullable=False),
    Column("did", WORD, nullable=False),
    Column("organization_id", DEEL_ID),
    Column("contract_id", DEEL_ID),
    Column("because", String(500)),
)

# The webhook subscriptions that ought to be at Deel, and what the last look at them found. No key lies here.
webhooks: Final = Table(
    "webhooks",
    metadata,
    Column("organization_id", DEEL_ID, primary_key=True),
    Column("label", DEEL_ID, primary_key=True),
    Column("url", Text, nullable=False),
    Column("events", Text, nullable=False),  # their names, sorted, a blank between two
    Column("deel_id", DEEL_ID, nullable=False),
    Column("looked_at", UtcDateTime),
    Column("trouble", WORD),  # what was wrong then; NULL: nothing
)

# How far the scheduled reading of each organisation's list of contracts has come.
backfills: Final = Table(
    "backfills",
    metadata,
    Column("organization_id", DEEL_ID, primary_key=True),
    Column("known_at", UtcDateTime, nullable=False, default=from_now()),  # what was made before is not looked for
    Column("due_at", UtcDateTime),  # the next page, or the next round
    Column("cursor", Text),  # where the next page begins; NULL: at the start
    Column("reads", Integer, nullable=False, default=0),  # of pages, ever: whose page it is
    Column("pages", Integer, nullable=False, default=0),  # read in this round
    Column("made", Integer, nullable=False, default=0),  # runs, ever
    Column("ended_at", UtcDateTime),  # when a list was last read to its end
    Column("reason", WORD),  # why the last page could not be read; NULL: it was
)

# What apps show the token service. Of the key itself only a digest is kept.
service_keys: Final = Table(
    "service_keys",
    metadata,
    Column("id", ID, primary_key=True),
    Column("name", ID, nullable=False, unique=True),  # for ever: audit lines go by it
    Column("digest", ID, nullable=False),
    Column("scope", WORD, nullable=False),
    Column("organization_id", DEEL_ID),  # whose contracts it opens; NULL: every one's
    Column("per_minute", Integer, nullable=False),
    Column("due_at", Float, nullable=False, default=0.0, server_default="0"),  # of the next request, since 1970
    Column("created_at", UtcDateTime, nullable=False, default=from_now()),
    Column("last_used_at", UtcDateTime),
    Column("revoked_at", UtcDateTime),
)

# Periodic work takes its turn here: two beats do no harm.
turns: Final = Table(
    "turns",
    metadata,
    Column("work", WORD, primary_key=True),
    Column("last_at", UtcDateTime, nullable=False, default=from_now()),
)
