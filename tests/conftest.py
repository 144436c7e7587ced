"""Shared fixtures: real stores and brokers where they can be reached; in CI their absence is a failure."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import structlog

from onboarding import failpoints, outages
from onboarding.store import migrate
from onboarding.store.engine import Store
from tests.servers import (
    CI,
    POSTGRES,
    RABBITMQ,
    empty_broker,
    empty_store,
    postgres_reachable,
    rabbitmq_reachable,
    rabbitmqctl,
)

SHARING = ("test_leaks.py", "test_main_job.py")


@pytest.fixture(scope="session", autouse=True)
def no_settings_of_the_machine() -> None:
    """Tests see no setting that the developer's shell happens to have."""
    for name in [name for name in os.environ if name.startswith("ONBOARDING_")]:
        del os.environ[name]


@pytest.fixture(autouse=True)
def clean_process() -> Iterator[None]:
    """Nothing armed, nothing bound, nothing away, whatever a test did."""
    yield
    failpoints.disarm()
    outages._away.clear()
    structlog.contextvars.clear_contextvars()


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with the schema in it, to be copied."""
    path = tmp_path_factory.mktemp("schema") / "empty.db"
    store = Store(f"sqlite:///{path}")
    migrate.upgrade(store)
    store.close()  # the last connection to close folds the write-ahead log into the file
    return path


@pytest.fixture(scope="session")
def postgres_database() -> Iterator[str]:
    """The URL of a migrated PostgreSQL database of this session's own."""
    _need("PostgreSQL", POSTGRES, postgres_reachable())
    name = f"onboarding_test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(POSTGRES, autocommit=True) as admin:
        admin.execute(f'CREATE DATABASE "{name}"')
        # a server that crashes during the tests may forget: no test looks at that, and each waits for the disk else
        admin.execute(f'ALTER DATABASE "{name}" SET synchronous_commit = off')
    url = POSTGRES.rpartition("/")[0] + f"/{name}"
    store = Store(url.replace("postgresql://", "postgresql+psycopg://"))
    migrate.upgrade(store)
    store.close()
    yield url.replace("postgresql://", "postgresql+psycopg://")
    with psycopg.connect(POSTGRES, autocommit=True) as admin:
        admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def sqlite_url(migrated_sqlite: Path, tmp_path: Path) -> str:
    """The URL of a fresh store on SQLite."""
    path = tmp_path / "onboarding.db"
    shutil.copy(migrated_sqlite, path)
    return f"sqlite:///{path}"


@pytest.fixture
def postgres_url(postgres_database: str) -> str:
    """The URL of an emptied store on PostgreSQL."""
    empty_store(postgres_database)
    return postgres_database


@pytest.fixture(params=["sqlite", "postgres"])
def store_url(request: pytest.FixtureRequest) -> str:
    """Each test that asks for a store runs on both."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    """A migrated, empty store."""
    store = Store(store_url, patience_s=2.0)
    yield store
    store.close()


@pytest.fixture(scope="session")
def rabbitmq() -> str:
    """The URL of a broker."""
    _need("RabbitMQ", RABBITMQ, rabbitmq_reachable())
    return RABBITMQ


@pytest.fixture(scope="session")
def vhost(rabbitmq: str) -> Iterator[str]:
    """The broker's URL with a virtual host of this session's own, where rabbitmqctl can make one."""
    name = f"onboarding-tests-{uuid.uuid4().hex[:8]}"
    if not rabbitmqctl("add_vhost", name):
        yield rabbitmq
        return
    rabbitmqctl("set_permissions", "-p", name, "guest", ".*", ".*", ".*")
    yield rabbitmq.rstrip("/") + f"/{name}"
    rabbitmqctl("delete_vhost", name)


@pytest.fixture
def broker(vhost: str) -> str:
    """The broker with none of our queues on it."""
    empty_broker(vhost)
    return vhost


def _need(what: str, url: str, reachable: bool) -> None:
    if reachable:
        return
    if CI:
        pytest.fail(f"{what} must be there in CI, at {url.rpartition('@')[2]}")
    pytest.skip(f"no {what} at {url.rpartition('@')[2]}")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """One test at a time to each process; but those that share running processes, to the same one.

    Not by `xdist_group`: with pytest 9.2, xdist 3.8 does not see it, and each process lived through its own day.
    """
    from xdist.scheduler import LoadScopeScheduling  # noqa: PLC0415 - without xdist nobody calls this

    class ByTest(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            module, _, _ = nodeid.partition("::")
            return module if module.endswith(SHARING) else nodeid

    return ByTest(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first: with several processes, none is left alone with one at the end."""
    items.sort(key=lambda item: (item.get_closest_marker("slow") is None, "/integration/" not in str(item.path)))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line that says what was not run, and why."""
    reasons: dict[str, int] = {}
    for report in terminalreporter.stats.get("skipped", []):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        reasons[reason.removeprefix("Skipped: ")] = reasons.get(reason.removeprefix("Skipped: "), 0) + 1
    if reasons:
        line = "; ".join(f"{count} tests ({reason})" for reason, count in sorted(reasons.items()))
        terminalreporter.write_line(f"not run: {line}")
