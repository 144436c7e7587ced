"""RabbitMQ and PostgreSQL: wiped, purged, locked, full."""

from __future__ import annotations

import random
import time

import psycopg

from tests.chaos.auditor import Expected
from tests.chaos.ending import Say
from tests.chaos.plant import Plant, wait_for
from tests.chaos.scenarios import hire, in_flight, scenario

LOCK_S = 30.0
FULL_S = 8.0
FULL = """
CREATE FUNCTION disk_full() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100'; END $$;
"""
TABLES = ("runs", "attempts", "events", "worker_tokens", "notifications", "data_keys", "budgets")


@scenario("RabbitMQ's data folder wiped in mid-flight")
def broker_wiped(made: Plant, _dice: random.Random, say: Say) -> Expected:
    """The events are filed by then; what the HRIS's messages were is in the store, and the store goes on."""
    made.begin()
    names = hire(made, 40)
    made.system.until(lambda: len(made.system.runs()) == len(names), 60, "every event is filed")
    say("wiped")
    made.broker.wipe()
    return Expected(names)


@scenario("the steps' queue purged again and again")
def purged(made: Plant, dice: random.Random, _say: Say) -> Expected:
    """A purge takes messages, and no run."""
    made.begin()
    names = hire(made, 40)
    for _ in range(8):
        time.sleep(dice.uniform(0.1, 0.8))
        made.purge_steps()
    return Expected(names)


@scenario("rows locked for 30 s")
def rows_locked(made: Plant, _dice: random.Random, say: Say) -> Expected:
    """A migration, or somebody's forgotten transaction: steps give up after 5 s and come again."""
    names = in_flight(made, 20)
    with psycopg.connect(made.dsn) as db:
        db.execute("SELECT id FROM runs FOR UPDATE").fetchall()
        say("locked")
        time.sleep(LOCK_S)
    return Expected(names)


@scenario("PostgreSQL answers that its disk is full")
def disk_full(made: Plant, _dice: random.Random, say: Say) -> Expected:
    """SQLSTATE 53100 for each write, to steps, intake and upkeep alike; reading works."""
    names = in_flight(made, 20)
    with psycopg.connect(made.dsn, autocommit=True) as db:
        db.execute(FULL)
        for table in TABLES:
            db.execute(f"CREATE TRIGGER full_disk BEFORE INSERT OR UPDATE ON {table} EXECUTE FUNCTION disk_full()")
        say("full")
        names += hire(made, 10, "later")
        time.sleep(FULL_S)
        for table in TABLES:
            db.execute(f"DROP TRIGGER full_disk ON {table}")
    say("room again")
    return Expected(names)


@scenario("PostgreSQL and RabbitMQ killed at once")
def both_killed(made: Plant, _dice: random.Random, _say: Say) -> Expected:
    """A machine that held both loses its power."""
    names = in_flight(made, 30)
    made.database.kill()
    made.broker.kill()
    made.database.start()
    made.broker.start()
    wait_for(lambda: made.depth("onboarding.intake") >= 0, 60)
    return Expected(names)
