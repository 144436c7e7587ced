"""A database and a virtual host of the bench's own, gone when it ends."""

from __future__ import annotations

import shutil
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from onboarding.store import migrate
from onboarding.store.engine import Store
from tests.bench import cpu
from tests.servers import POSTGRES, RABBITMQ, postgres_reachable, rabbitmq_reachable


def missing() -> str | None:
    """One line that names the servers which cannot be reached; None where both can."""
    reachable = (("RabbitMQ", RABBITMQ, rabbitmq_reachable()), ("PostgreSQL", POSTGRES, postgres_reachable()))
    away = [f"{name} at {url.rpartition('@')[2]}" for name, url, here in reachable if not here]
    return f"not reached: {', '.join(away)}" if away else None


@contextmanager
def database(*, migrated: bool = True) -> Iterator[str]:
    """The URL of an empty PostgreSQL database, with our tables or without any."""
    name = f"onboarding_bench_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(POSTGRES, autocommit=True) as admin:
        admin.execute(f'CREATE DATABASE "{name}"')
        try:
            url = f"{POSTGRES.rpartition('/')[0]}/{name}".replace("postgresql://", "postgresql+psycopg://")
            if migrated:
                store = Store(url)
                migrate.upgrade(store)
                store.close()
            yield url
        finally:
            admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def processes() -> dict[str, int]:
    """The process ids of the two servers, where they run on this machine and it can be asked for them."""
    found = {}
    with psycopg.connect(POSTGRES) as db:
        backend = Path(f"/proc/{db.info.backend_pid}")
        fields = cpu.stat(backend) if "postgres" in _name(backend) else None
        if fields is not None:
            found["PostgreSQL"] = int(fields[cpu.PARENT])
    told = shutil.which("rabbitmqctl") and _rabbitmqctl("eval", "os:getpid().").stdout.strip().strip('"')
    if told and told.isdigit() and "beam" in _name(Path(f"/proc/{told}")):
        found["RabbitMQ"] = int(told)
    return found


def _name(process: Path) -> str:
    try:
        return (process / "comm").read_text()
    except OSError:
        return ""


@contextmanager
def virtual_host() -> Iterator[str]:
    """The URL of a broker with nothing on it; the broker as it is where no virtual host can be made."""
    name = f"onboarding-bench-{uuid.uuid4().hex[:8]}"
    if shutil.which("rabbitmqctl") is None or _rabbitmqctl("add_vhost", name).returncode:
        yield RABBITMQ
        return
    try:
        _rabbitmqctl("set_permissions", "-p", name, "guest", ".*", ".*", ".*")
        yield RABBITMQ.rstrip("/") + f"/{name}"
    finally:
        _rabbitmqctl("delete_vhost", name)


def _rabbitmqctl(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["rabbitmqctl", "-q", *arguments], capture_output=True, text=True, check=False)
