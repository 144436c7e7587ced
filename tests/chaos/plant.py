"""The product as a deployment runs it, on servers of its own, with an orchestrator that starts again what died.

No Redis: nothing here has one, and nothing is lost without.
"""

from __future__ import annotations

import contextlib
import secrets
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from kombu import Connection
from sqlalchemy.exc import SQLAlchemyError

from onboarding.store import migrate, organizations
from onboarding.store.engine import Store, StoreUnavailable
from tasks import topology
from tasks.connect import BROKER_ERRORS
from tests.chaos.servers import Postgres, RabbitMQ
from tests.integration.proxy import Proxy, proxied, proxy_to
from tests.integration.system import ROOT, System

LEASE_S: Final = 5.0


@dataclass(frozen=True)
class Servers:
    """A PostgreSQL and a RabbitMQ for many scenarios, one after the other."""

    database: Postgres
    broker: RabbitMQ


@dataclass(frozen=True)
class Proxies:
    """What stands between the processes and the world."""

    broker: Proxy
    store: Proxy
    deel: Proxy


@dataclass
class Machine:
    """Where a process runs: the code it has, and what its environment adds."""

    code: Path = ROOT
    environment: dict[str, str] = field(default_factory=dict)
    options: tuple[str, ...] = ()  # of a worker's command


class Plant:
    """Servers, processes, and who watches over them."""

    def __init__(self, system: System, servers: Servers, broker_url: str, proxies: Proxies, workers: int) -> None:
        self.system, self.database, self.broker, self.proxies = system, servers.database, servers.broker, proxies
        self.dsn = str(system.store.engine.url.set(drivername="postgresql").render_as_string(hide_password=False))
        self.lease_s = LEASE_S
        self._broker_url = broker_url
        self._names = [*(f"worker-{number}" for number in range(workers)), "intake", "beat"]
        self.machines = {name: Machine() for name in self._names}
        self._watching = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._lock = threading.Lock()
        self.starts = 0

    def begin(self, *names: str) -> None:
        """Start these, or all, and start again whatever of them ends. May be called once more for the others."""
        for name in names or self._names:
            self._start(name)
        if not self._thread.is_alive():
            self._thread.start()

    def end(self) -> None:
        """Watch no more. The processes live on until the system is closed."""
        self._watching.set()
        self._thread.join(30)

    def add(self, name: str, code: Path) -> None:
        """One worker more, of this release."""
        self.machines[name] = Machine(code)
        self._start(name)

    def retire(self, name: str) -> None:
        """SIGTERM, and no other comes in its place. Raises TimeoutExpired after the orchestrator's grace of 45 s."""
        with self._lock:
            process = self.system.processes.pop(name)
        process.terminate()
        process.wait(45)

    def children(self) -> list[int]:
        """The processes that carry out steps."""
        parents = [each.pid for name, each in self._processes() if name.startswith("worker")]
        return [child for parent in parents for child in self.children_of(parent)]

    @staticmethod
    def children_of(pid: int) -> list[int]:
        """Of a process, as Linux has them."""
        with contextlib.suppress(OSError, ValueError):
            return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        return []

    def purge_steps(self) -> None:
        """Every message of ours that waits in a queue is gone."""
        with contextlib.suppress(OSError), Connection(self._broker_url, connect_timeout=5) as connection:
            topology.celery_queue(topology.STEPS)(connection.default_channel).purge()

    def depth(self, queue: str) -> int:
        """How many messages wait in a queue. Raises OSError while the broker is away."""
        with Connection(self._broker_url, connect_timeout=5) as connection:
            return int(connection.default_channel.queue_declare(queue, passive=True).message_count)

    def resume(self) -> None:
        """What the engineer types once the token was mended."""
        with contextlib.suppress(Exception):
            for row in self.system.store.read(organizations.paused):
                self.system.store.write(lambda db, row=row: organizations.resume(db, row.id))  # type: ignore[misc]

    def _processes(self) -> list[tuple[str, object]]:
        with self._lock:
            return [(name, each) for name, each in self.system.processes.items() if each.poll() is None]

    def _watch(self) -> None:
        while not self._watching.wait(0.3):
            for name, process in list(self.system.processes.items()):
                if process.poll() is not None:
                    self._start(name)

    def _start(self, name: str) -> None:
        self.starts += 1
        machine, python = self.machines[name], (sys.executable, "-m")
        if name.startswith("worker"):
            node = f"{name}-{self.starts}@%h"
            command = (*python, "celery", "-A", "tasks", "worker", "-c", "2", "-n", node, "-l", "WARNING")
            command += machine.options
        elif name == "beat":
            command = (*python, "celery", "-A", "tasks", "beat", "-l", "WARNING")
        else:
            command = (sys.executable, "-c", "from tasks.cli import main; main()", "intake")
        with self._lock:
            self.system.start(name, *command, code=machine.code, **machine.environment)


@contextmanager
def servers(folder: Path) -> Iterator[Servers]:
    """Two servers of our own, of which nothing remains. Raises Missing where one is not installed."""
    with Postgres(folder) as database, RabbitMQ(folder) as broker:
        yield Servers(database, broker)


@contextmanager
def plant(servers: Servers, logs: Path, *, rate: int | None, workers: int = 2, **settings: str) -> Iterator[Plant]:
    """A database, a virtual host, proxies and processes of a scenario's own, of which nothing remains but the logs."""
    name = f"scenario-{secrets.token_hex(4)}"
    store_url = servers.database.create(name).replace("postgresql://", "postgresql+psycopg://")
    broker_url = servers.broker.create(name)
    store = Store(store_url)
    migrate.upgrade(store)
    store.close()
    logs.mkdir(parents=True)
    with ExitStack() as stack:
        stack.callback(servers.database.true_clock)
        stack.callback(servers.broker.drop, name)
        system = System(logs, broker_url, store_url, rate=rate, lease_seconds=f"{LEASE_S:g}", **settings)
        stack.callback(system.close)
        urls = {"broker": broker_url, "store": store_url, "deel": system.deel.url}
        proxies = Proxies(**{word: stack.enter_context(proxy_to(url)) for word, url in urls.items()})
        system.environment["ONBOARDING_BROKER_URL"] = proxied(broker_url, proxies.broker)
        system.environment["ONBOARDING_DATABASE_URL"] = proxied(store_url, proxies.store)
        system.environment["ONBOARDING_DEEL_URL"] = proxied(system.deel.url, proxies.deel)
        made = Plant(system, servers, broker_url, proxies, workers)
        stack.callback(made.end)
        yield made


def wait_for(condition, timeout_s: float) -> bool:  # type: ignore[no-untyped-def]
    """False where it did not come true. A store or a broker that is away is not an answer."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        with contextlib.suppress(SQLAlchemyError, StoreUnavailable, *BROKER_ERRORS):
            if condition():
                return True
        time.sleep(0.2)
    return False
