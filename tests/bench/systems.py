"""The two systems that are measured: real processes on real servers, and all in one on the embedded default."""

from __future__ import annotations

import base64
import contextlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kombu import Connection

from onboarding.settings import load
from onboarding.simulator import Simulator
from onboarding.simulator.webhooks import Webhook
from onboarding.store import migrate
from tasks import topology
from tests.bench.servers import database, virtual_host
from tests.integration.system import BIN, ROOT, System

READY_S = 60.0
RATE = "200"
"""Above what any sequential run can spend, so that nobody waits for a slot; with 5 that is all one would see."""


def signed(deel: Simulator, contract: str, **facts: Any) -> Webhook:
    """A new contract at Deel, and the webhook that tells of it."""
    deel.has_contract(contract, email=f"{contract}@example.com", **facts)
    return deel.webhook("contract.created", contract)


class Distributed(System):
    """`onboarding intake`, `celery -A tasks worker -c 2` and beat; publishes over a connection that stays open."""

    title = "RabbitMQ + PostgreSQL"

    def serve(self, *, workers: int = 1, concurrency: int = 2) -> None:
        """Start intake, beat and so many worker processes, and wait until they consume."""
        from tasks.application import make_app  # noqa: PLC0415 - it loads the settings of this process

        self.app = make_app(load(self.environment))
        options = topology.transport_options(embedded=False)
        self._connection = Connection(self.broker_url, transport_options=options)  # type: ignore[no-untyped-call]
        topology.declare_all(self._connection)
        self._producer = self._connection.Producer()  # type: ignore[no-untyped-call]
        self.intake()
        self.beat()
        names = [f"worker-{number}" for number in range(workers)]
        for name in names:  # they start beside each other: most of a start is imports
            self._spawn_worker(name, concurrency)
        for name in names:
            self.until(lambda name=name: self._ready(name), READY_S, f"{name} is ready")  # type: ignore[misc]

    def _spawn_worker(self, name: str, concurrency: int) -> None:
        """`celery -A tasks worker`, with the tasks of the floor; does not wait until it is ready."""
        options = ("-c", str(concurrency), "-n", f"{name}@%h", "-l", "INFO", "-I", "tests.bench.bare")
        self.start(name, str(BIN / "celery"), "-A", "tasks", "worker", *options)

    def _ready(self, name: str) -> bool:
        assert self.processes[name].poll() is None, self.log(name)
        return "ready" in self.log(name)

    def deliver(self, webhook: Webhook) -> None:
        """Put a webhook on `hris.events`, confirmed."""
        self._producer.publish(
            webhook.body,
            exchange=topology.HRIS_EVENTS,
            routing_key="contract.created",
            headers=dict(webhook.headers),
            content_type="application/json",
            content_encoding="binary",
        )

    def send_chain(self, port: int) -> None:
        """Start a chain of tasks that do nothing."""
        from tests.bench import bare  # noqa: PLC0415

        bare.send(self.app, port)

    def close(self) -> None:
        """Leave nothing running."""
        with contextlib.suppress(AttributeError, OSError):
            self._connection.close()  # type: ignore[no-untyped-call]
        super().close()


class Embedded(System):
    """What `onboarding up` is: SQLite, memory, one process."""

    title = "embedded (SQLite, one process)"

    def serve(self) -> None:
        """Start it, and wait until it consumes."""
        with (self.folder / "embedded.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.bench.embedded"],
                env=self.environment,
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
                text=True,
            )
        self.processes["embedded"] = process  # type: ignore[assignment]
        self._process = process
        self.until(lambda: "ready" in self.log("embedded") or process.poll() is not None, READY_S, "embedded")
        assert process.poll() is None, self.log("embedded")

    def deliver(self, webhook: Webhook) -> None:
        """Let the process publish a webhook."""
        self._order({"body": base64.b64encode(webhook.body).decode(), "headers": dict(webhook.headers)})

    def send_chain(self, port: int) -> None:
        """Let the process start a chain of tasks that do nothing."""
        self._order({"chain": port})

    def _order(self, order: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()


@contextlib.contextmanager
def distributed(**settings: Any) -> Iterator[Distributed]:
    """A system on servers, of which nothing remains."""
    with tempfile.TemporaryDirectory() as folder, database() as store_url, virtual_host() as broker_url:
        system = Distributed(Path(folder), broker_url, store_url, **settings)
        try:
            yield system
        finally:
            system.close()


@contextlib.contextmanager
def embedded(**settings: Any) -> Iterator[Embedded]:
    """A system in one process, of which nothing remains."""
    with tempfile.TemporaryDirectory() as folder:
        system = Embedded(Path(folder), "memory://", f"sqlite:///{folder}/onboarding.db", **settings)
        migrate.upgrade(system.store)
        try:
            yield system
        finally:
            system.close()
