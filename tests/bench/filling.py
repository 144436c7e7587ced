"""Stores with a past: as many finished runs as are asked for, and lines to wait in, made by PostgreSQL itself."""

from __future__ import annotations

from typing import Final

import psycopg

IN_LINE: Final = "org-in-line"
HELD_UP: Final = "org-held-up"
OLDEST_DAYS: Final = 390

# Numbers 1 to `count`, the oldest first, over 390 days: none is old enough to be deleted. Of a thousand runs, twenty
# were cancelled and one is parked and was told of. Tokens of the last day are live, the others were forgotten.
_PAST: Final = {
    "runs": """
        INSERT INTO runs (id, organization_id, contract_id, state, step, reason, fence, nudges, tries, not_found,
            starts, reissues, reissue_asked, parkings, told, hris_profile_id, contract_type, emails_sealed, facts_at,
            token_expires_at, created_at, updated_at)
        SELECT run_id(n), 'org-' || mod(n, 50), 'contract-' || md5('c' || n),
            CASE WHEN mod(n, 1000) = 1 THEN 'failed' WHEN mod(n, 50) = 2 THEN 'cancelled' ELSE 'completed' END,
            CASE WHEN mod(n, 1000) = 1 THEN 'ensure_profile' ELSE 'notify' END,
            CASE WHEN mod(n, 1000) = 1 THEN 'request_rejected' WHEN mod(n, 50) = 2 THEN 'notify_unavailable' END,
            5, 0, 0, 0, 0, 0, false, CAST(mod(n, 1000) = 1 AS int), CAST(mod(n, 1000) = 1 AS int),
            'profile-' || md5('p' || n), 'eor', decode(repeat(md5('s' || n), 3), 'hex'), at_time(n, %(count)s),
            at_time(n, %(count)s) + interval '1 day', at_time(n, %(count)s),
            at_time(n, %(count)s) + interval '2 seconds'
        FROM generate_series(1, %(count)s) AS n""",
    "attempts": """
        INSERT INTO attempts (run_id, step, fence, started_at, ended_at, outcome, http_status, request_id)
        SELECT run_id(n), (ARRAY['contract_created', 'ensure_profile', 'issue_token', 'verify_token', 'notify'])[fence],
            fence, at_time(n, %(count)s), at_time(n, %(count)s), 'done', 200, md5(n || '-' || fence)
        FROM generate_series(1, %(count)s) AS n, generate_series(1, 5) AS fence""",
    "events": """
        INSERT INTO events (dedup_key, received_at, source, type, organization_id, contract_id, run_id, disposition)
        SELECT md5('e' || n), at_time(n, %(count)s), 'deel', 'contract.created', 'org-' || mod(n, 50),
            'contract-' || md5('c' || n), run_id(n), 'accepted'
        FROM generate_series(1, %(count)s) AS n""",
    "notifications": """
        INSERT INTO notifications (message_id, target, run_id, created_at, tries, http_status, delivered_at)
        SELECT 'msg_' || run_id(n), target, run_id(n), at_time(n, %(count)s), 1, 200, at_time(n, %(count)s)
        FROM generate_series(1, %(count)s) AS n, unnest(ARRAY['exchange', 'example.com-1']) AS target
        WHERE target = 'exchange' OR mod(n, 2) = 0""",
    "worker_tokens": """
        INSERT INTO worker_tokens (hris_profile_id, organization_id, issue_number, intended_by, stored_issue, sealed,
            expires_at, dead)
        SELECT 'profile-' || md5('p' || n), 'org-' || mod(n, 50), 1, run_id(n), 1,
            CASE WHEN lives THEN decode(repeat(md5('t' || n), 8), 'hex') END, expires_at, NOT lives
        FROM generate_series(1, %(count)s) AS n,
            LATERAL (SELECT at_time(n, %(count)s) + interval '1 day' AS expires_at) AS token,
            LATERAL (SELECT expires_at > now() AS lives) AS life""",
    "data_keys": """
        INSERT INTO data_keys (subject, id, master_key_id, wrapped)
        SELECT subject, md5(subject), 'k0', decode(repeat(md5(subject), 4), 'hex')
        FROM generate_series(1, %(count)s) AS n, LATERAL (SELECT unnest(ARRAY[
            'contract:contract-' || md5('c' || n), 'worker:org-' || mod(n, 50) || ':profile-' || md5('p' || n)
        ]) AS subject) AS key""",
}
_FUNCTIONS: Final = """
    CREATE FUNCTION pg_temp.run_id(n int) RETURNS text LANGUAGE sql IMMUTABLE
        AS $$ SELECT substr(md5('r' || n), 1, 16) $$;
    CREATE FUNCTION pg_temp.at_time(n int, count int) RETURNS timestamptz LANGUAGE sql STABLE
        AS $$ SELECT now() - interval '1 hour' - (count - n) * interval '390 days' / count $$"""
_WAITING: Final = """
    INSERT INTO runs (id, organization_id, contract_id, state, step, reason, fence, nudge_at, nudges, tries, not_found,
        starts, reissues, reissue_asked, parkings, told, created_at, updated_at)
    SELECT 'waits-' || %(of)s || '-' || n, %(of)s, %(of)s || '-' || n, %(state)s, 'contract_created', %(reason)s, 0,
        now() + make_interval(secs => %(due_in)s) + n * interval '1 millisecond', 0, 0, 0, 0, 0, false, 0, 0,
        now() - (%(count)s - n) * interval '1 millisecond', now() - (%(count)s - n) * interval '1 millisecond'
    FROM generate_series(1, %(count)s) AS n"""


def fill(url: str, finished: int) -> None:
    """So many runs that ended or were parked, each with what five steps leave behind."""
    with _connected(url) as db:
        db.execute(_FUNCTIONS)
        for statement in _PAST.values():
            sql = statement.replace("run_id(n)", "pg_temp.run_id(n)").replace("at_time(", "pg_temp.at_time(")
            db.execute(sql, {"count": finished})
            db.commit()
    settle(url)


def wait_in_line(url: str, count: int, organization_id: str = IN_LINE) -> None:
    """So many runs that are due, and for which no message was sent."""
    due = {"of": organization_id, "count": count, "state": "pending", "reason": None, "due_in": -3600.0}
    with _connected(url) as db:
        db.execute(_WAITING, due)


def hold_up(url: str, count: int, organization_id: str = HELD_UP) -> None:
    """A paused organisation whose probe is due, and so many runs of it that wait for its end."""
    held = {"of": organization_id, "count": count, "state": "waiting", "reason": "scope_missing", "due_in": 900.0}
    with _connected(url) as db:
        db.execute(_WAITING, held)
        db.execute(
            "INSERT INTO organizations (id, paused_reason, paused_step, paused_at, probe_at)"
            " VALUES (%s, 'scope_missing', 'issue_token', now(), now())",
            [organization_id],
        )


def settle(url: str) -> None:
    """As autovacuum leaves a store: statistics, a map of what all may see, nothing left to be written out."""
    with psycopg.connect(_plain(url), autocommit=True) as db:
        db.execute("VACUUM (ANALYZE)")
        db.execute("CHECKPOINT")


def _connected(url: str) -> psycopg.Connection[tuple[object, ...]]:
    """A connection that checks no foreign keys: a look-up for each of millions of rows that are right anyway."""
    db = psycopg.connect(_plain(url), options="-c session_replication_role=replica -c synchronous_commit=off")
    db.prepare_threshold = None
    return db


def _plain(url: str) -> str:
    return url.replace("postgresql+psycopg://", "postgresql://")
