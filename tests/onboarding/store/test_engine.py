"""The store when it is busy, gone, full or slow."""

from __future__ import annotations

import sqlite3
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import insert, select, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import IntegrityError

from onboarding.store.engine import Store, StoreRefuses, StoreUnavailable
from onboarding.store.sql import clock, from_now
from onboarding.store.tables import turns
from tests.onboarding.store.rows import add_run, run_row


def test_a_connection_that_was_cut_is_replaced(postgres_url: str):
    """The statement runs again on another connection; the caller notices nothing."""
    store = Store(postgres_url)
    killed: list[int] = []

    def work(db):
        if not killed:
            killed.append(db.execute(text("SELECT pg_backend_pid()")).scalar_one())
            killer = Store(postgres_url)
            killer.write(lambda other: other.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": killed[0]}))
            killer.close()
        return db.execute(text("SELECT 7")).scalar_one()

    assert store.write(work) == 7
    store.close()


def test_a_deadlock_is_tried_again(postgres_url: str):
    """Two transactions that lock two rows in opposite order both commit."""
    store = Store(postgres_url)
    for run_id in ("run-1", "run-2"):
        add_run(store, run_id)
    both_hold_one = threading.Barrier(2, timeout=10)
    tries: list[str] = []

    def update(first: str, second: str) -> None:
        def work(db):
            tries.append(first)
            db.execute(text("UPDATE runs SET tries = tries + 1 WHERE id = :id"), {"id": first})
            if len(tries) <= 2:
                both_hold_one.wait()
            db.execute(text("UPDATE runs SET tries = tries + 1 WHERE id = :id"), {"id": second})

        store.write(work)

    threads = [threading.Thread(target=update, args=pair) for pair in (("run-1", "run-2"), ("run-2", "run-1"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert (run_row(store, "run-1").tries, run_row(store, "run-2").tries) == (2, 2)
    assert len(tries) == 3
    store.close()


def test_a_store_that_stays_away_is_said_to_be(tmp_path):
    """Within the patience, and without the address or the password."""
    away = Store("postgresql+psycopg://user:hunter22hunter22@127.0.0.1:9/nowhere", patience_s=0.3)
    started = time.monotonic()
    with pytest.raises(StoreUnavailable) as refused:
        away.read(lambda db: db.execute(text("SELECT 1")))
    assert time.monotonic() - started < 3
    assert "hunter" not in str(refused.value)
    assert refused.value.__cause__ is None
    nowhere = Store(f"sqlite:///{tmp_path / 'no' / 'such' / 'folder.db'}", patience_s=0.3)
    with pytest.raises(StoreUnavailable):
        nowhere.read(lambda db: db.execute(text("SELECT 1")))


def test_a_busy_sqlite_is_waited_for(sqlite_url: str):
    """Another process writes: we take our turn."""
    store = Store(sqlite_url)
    other = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    release = threading.Timer(0.3, other.execute, ("COMMIT",))
    release.start()
    add_run(store)
    release.join()
    other.close()
    assert run_row(store).id == "run-1"
    store.close()


def test_a_process_that_stood_still_in_a_transaction_does_it_again(postgres_url: str):
    """PostgreSQL ended its session meanwhile: no defect, for which the intake would bury a good event."""
    store, slow = Store(postgres_url), [True]

    def work(db):
        db.execute(text("SET LOCAL idle_in_transaction_session_timeout = 50"))
        if slow:
            slow.clear()
            time.sleep(0.3)
        return db.execute(text("SELECT 7")).scalar_one()

    assert store.write(work) == 7
    store.close()


@pytest.mark.parametrize("wrong", ["role", "database"])
def test_a_server_that_lets_nobody_in_is_told_from_one_that_is_away(postgres_url: str, wrong: str):
    """Waiting for it mends nothing. Its words name no password; those of a server that starts up are no refusal."""
    url = make_url(postgres_url).set(password="canary")
    url = url.set(username="no-such-role") if wrong == "role" else url.set(database="no-such-database")
    store = Store(url.render_as_string(hide_password=False), patience_s=0.1)
    with pytest.raises(StoreRefuses, match=f"no-such-{wrong}") as refused:
        store.read(lambda db: db.execute(text("SELECT 1")))
    assert "canary" not in str(refused.value)
    store.close()


def test_a_standby_is_unavailability_and_not_a_defect(postgres_url: str):
    """After a failover, until it is the primary."""
    store = Store(postgres_url, patience_s=0.3)

    def work(db):
        db.execute(text("SET TRANSACTION READ ONLY"))
        db.execute(insert(turns).values(work="w", last_at=from_now()))

    with pytest.raises(StoreUnavailable):
        store.write(work)
    store.close()


def test_a_full_disk_is_unavailability_and_not_a_defect(sqlite_url: str):
    """Nothing was written; it can be tried later."""
    store = Store(sqlite_url, patience_s=0.3)

    def work(db):
        db.execute(text("PRAGMA max_page_count = 1"))
        for number in range(2000):
            db.execute(insert(turns).values(work=f"w-{number}", last_at=from_now()))

    with pytest.raises(StoreUnavailable):
        store.write(work)
    assert store.read(lambda db: db.execute(select(turns)).all()) == []
    store.close()


def test_a_broken_rule_is_told_and_quotes_no_value(store: Store):
    """A defect is not hidden behind a retry, and its text holds no parameter."""
    add_run(store)
    with pytest.raises(IntegrityError) as broken:
        add_run(store, "run-1", contract_id="secret-contract")
    assert "secret-contract" not in str(broken.value)


def test_times_come_back_as_they_went_in(store: Store):
    """Aware, in UTC, to the microsecond; a time without a zone is refused."""
    moment = datetime(2026, 1, 5, 23, 59, 59, 123456, tzinfo=UTC)
    east = moment.astimezone(tz=None)
    store.write(lambda db: db.execute(insert(turns).values(work="w", last_at=east)))
    assert store.read(lambda db: db.execute(select(turns.c.last_at)).scalar_one()) == moment
    with pytest.raises(Exception, match="without a zone"):
        store.write(lambda db: db.execute(insert(turns).values(work="x", last_at=moment.replace(tzinfo=None))))


def test_the_databases_clock_adds_up(store: Store):
    """`from_now` is the clock plus seconds, on both databases, and compares with what is stored."""
    now, later = store.read(lambda db: db.execute(select(clock(), from_now(90.5))).one())
    assert abs(later - now - timedelta(seconds=90.5)) < timedelta(seconds=1)
    assert abs(now - datetime.now(UTC)) < timedelta(seconds=5)
    store.write(lambda db: db.execute(insert(turns).values(work="w", last_at=from_now(-0.5))))
    due = select(turns.c.work).where(turns.c.last_at <= from_now())
    assert store.read(lambda db: db.execute(due).scalars().all()) == ["w"]
    early = select(turns.c.work).where(turns.c.last_at <= from_now(-60))
    assert store.read(lambda db: db.execute(early).scalars().all()) == []


def test_reading_takes_no_write_lock(sqlite_url: str):
    """A listing does not stop a step."""
    store = Store(sqlite_url)
    add_run(store)

    def read(db):
        rows = db.execute(text("SELECT id FROM runs")).all()
        add_run(store, "run-2")
        return rows

    assert len(store.read(read)) == 1
    assert run_row(store, "run-2").id == "run-2"
    store.close()
