"""A database and a virtual host of the bench's own, gone when it ends."""

from __future__ import annotations

import shutil
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from onboarding.store import migrate
from onboarding.store.engine import Store
from tests.servers import POSTGRES, RABBITMQ, postgres_reachable, rabbitmq_reachable


def missing() -> str | None:
    """One line that names the servers which cannot be reached; None where both can."""
    reachable = (("RabbitMQ", RABBITMQ, rabbitmq_reachable()), ("PostgreSQL", POSTGRES, postgres_reachable()))
    away = [f"{name} at {url.rpartition('@')[2]}" for name, url, here in reachable if not here]
    return f"not reached: {', '.join(away)}" if away else None


@contextmanager
def database() -> Iterator[str]:
    """The URL of a migrated, empty PostgreSQL database."""
    name = f"onboarding_bench_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(POSTGRES, autocommit=True) as admin:
        admin.execute(f'CREATE DATABASE "{name}"')
        try:
            url = f"{POSTGRES.rpartition('/')[0]}/{name}".replace("postgresql://", "postgresql+psycopg://")
            store = Store(url)
            migrate.upgrade(store)
            store.close()
            yield url
        finally:
            admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@contextmanager
def virtual_host() -> Iterator[str]:
    """The URL of a broker with nothing on it; the broker as it is where no virtual host can be made."""
    name = f"onboarding-bench-{uuid.uuid4().hex[:8]}"
    if shutil.which("rabbitmqctl") is None or not _rabbitmqctl("add_vhost", name):
        yield RABBITMQ
        return
    try:
        _rabbitmqctl("set_permissions", "-p", name, "guest", ".*", ".*", ".*")
        yield RABBITMQ.rstrip("/") + f"/{name}"
    finally:
        _rabbitmqctl("delete_vhost", name)


def _rabbitmqctl(*arguments: str) -> bool:
    return subprocess.run(["rabbitmqctl", "-q", *arguments], capture_output=True, check=False).returncode == 0
