"""On what the figures were measured."""

from __future__ import annotations

import os
import platform
import sqlite3
import subprocess
from importlib.metadata import version

import psycopg
from kombu import Connection

from tests.servers import POSTGRES, RABBITMQ, postgres_reachable, rabbitmq_reachable

PACKAGES = ("celery", "kombu", "httpx", "sqlalchemy", "psycopg")


def describe() -> dict[str, str]:
    """Cores, Python, versions, and how busy others kept the machine when the bench began."""
    facts = {
        "cores": str(os.cpu_count()),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **{package: version(package) for package in PACKAGES},
        "sqlite": sqlite3.sqlite_version,
        "load_before": " ".join(f"{load:.1f}" for load in os.getloadavg()[:2]),
        "commit": _commit(),
    }
    if postgres_reachable():
        with psycopg.connect(POSTGRES) as db:
            facts["postgresql"] = db.info.parameter_status("server_version") or ""
    if rabbitmq_reachable():
        with Connection(RABBITMQ) as broker:  # type: ignore[no-untyped-call]
            broker.connect()
            facts["rabbitmq"] = str(broker.connection.server_properties.get("version", ""))
    return {name: fact for name, fact in facts.items() if fact}


def _commit() -> str:
    asked = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return asked.stdout.strip() if asked.returncode == 0 else ""
