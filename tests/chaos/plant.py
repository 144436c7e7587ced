"""The product as a deployment runs it, on servers of its own, with an orchestrator that starts again what died."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import psycopg
from kombu import Connection

from onboarding.store import migrate, organizations
from onboarding.store.engine import Store
from tasks import topology
from tests.chaos.servers import Postgres, RabbitMQ
from tests.integration.proxy import Proxy
from tests.integration.system import BIN, System

LEASE_S: Final = 5.0


class Plant:
    """Servers, processes, and who watches over them."""

    def __init__(self, system: System, database: Postgres, broker: RabbitMQ, broker_proxy: Proxy, workers: int) -> None:
        self.system, self.database, self.broker, self.broker_proxy = system, database, broker, broker_proxy
        self.lease_s = LEASE_S
        self._names = [*(f"worker-{number}" for number in range(workers)), "intake", "beat"]
        self._watching = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._lock = threading.Lock()
        self.starts = 0

    def begin(self) -> None:
        """Start everything, and start again whatever ends."""
        for name in self._names:
            self._start(name)
        self._thread.start()

    def end(self) -> None:
        """Watch no more. The processes live on until the system is closed."""
        self._watching.set()
        self._thread.join(30)

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
        with contextlib.suppress(OSError), Connection(self.broker.url, connect_timeout=5) as connection:
            topology.celery_queue(topology.STEPS)(connection.default_channel).purge()

    def depth(self, queue: str) -> int:
        """How many messages wait in a queue. Raises OSError while the broker is away."""
        with Connection(self.broker.url, connect_timeout=5) as connection:
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
            for name in self._names:
                process = self.system.processes.get(name)
                if process is None or process.poll() is not None:
                    self._start(name)

    def _start(self, name: str) -> None:
        self.starts += 1
        with self._lock:
            if name.startswith("worker"):
                node = f"{name}-{self.starts}@%h"
                command = ("-A", "tasks", "worker", "-c", "2", "-n", node, "-l", "WARNING")
                self.system.start(name, str(BIN / "celery"), *command)
            elif name == "beat":
                self.system.start(name, str(BIN / "celery"), "-A", "tasks", "beat", "-l", "WARNING")
            else:
                self.system.start(name, str(BIN / "onboarding"), "intake")


@contextmanager
def plant(folder: Path, *, rate: int | None, workers: int = 2, **settings: str) -> Iterator[Plant]:
    """Everything that a scenario needs, of which nothing remains."""
    with ExitStack() as stack:
        database = stack.enter_context(Postgres(folder))
        broker = stack.enter_context(RabbitMQ(folder))
        proxy = stack.enter_context(Proxy("127.0.0.1", broker.port))
        store_url = database.dsn.replace("postgresql://", "postgresql+psycopg://")
        store = Store(store_url)
        migrate.upgrade(store)
        store.close()
        logs = folder / "logs"
        logs.mkdir()
        broker_url = broker.url.replace(str(broker.port), str(proxy.port))
        system = System(logs, broker_url, store_url, rate=rate, lease_seconds=f"{LEASE_S:g}", **settings)
        stack.callback(system.close)
        made = Plant(system, database, broker, proxy, workers)
        try:
            yield made
        finally:
            made.end()


def wait_for(condition, timeout_s: float) -> bool:  # type: ignore[no-untyped-def]
    """False where it did not come true. A store that is away is not an answer."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        with contextlib.suppress(psycopg.Error, Exception):
            if condition():
                return True
        time.sleep(0.2)
    return False
