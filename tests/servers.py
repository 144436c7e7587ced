"""Where the real servers are, whether they answer, and how they are emptied."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from functools import cache
from urllib.parse import urlsplit

import psycopg
from kombu import Connection
from sqlalchemy import text

from onboarding.store.engine import Store
from onboarding.store.tables import metadata
from tasks import topology

CI = os.environ.get("CI") == "true"
POSTGRES = os.environ.get("TEST_POSTGRES_URL", "postgresql://postgres@127.0.0.1:5432/postgres")
RABBITMQ = os.environ.get("TEST_RABBITMQ_URL", "amqp://guest:guest@127.0.0.1:5672//")


@cache
def postgres_reachable() -> bool:
    """Whether PostgreSQL lets us in."""
    try:
        psycopg.connect(POSTGRES, connect_timeout=3).close()
    except psycopg.Error:
        return False
    return True


@cache
def rabbitmq_reachable() -> bool:
    """Whether RabbitMQ listens."""
    parts = urlsplit(RABBITMQ)
    try:
        socket.create_connection((parts.hostname or "127.0.0.1", parts.port or 5672), timeout=3).close()
    except OSError:
        return False
    return True


def rabbitmqctl(*arguments: str) -> bool:
    """Whether it did what was asked; without the tool, or the right to use it, it did not."""
    tool = shutil.which("rabbitmqctl")
    return tool is not None and subprocess.run([tool, "-q", *arguments], capture_output=True).returncode == 0


def empty_store(url: str) -> None:
    """No row in any table. TRUNCATE makes new files: ten times as slow."""
    store = Store(url)
    with store.engine.begin() as db:
        db.execute(text("SET LOCAL session_replication_role = replica"))  # no trigger that keeps consents
        for table in reversed(metadata.sorted_tables):
            db.execute(table.delete())
    store.close()


def empty_broker(url: str) -> None:
    """None of our queues."""
    with Connection(url) as connection:
        for queue in (topology.INTAKE, topology.DEAD, topology.STEPS, topology.UPKEEP):
            connection.default_channel.queue_delete(queue)
