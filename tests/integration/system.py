"""The real processes on real servers, with a simulated Deel: started, watched and stopped by a test."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from kombu import Connection
from sqlalchemy import func, select

from onboarding.simulator import Simulator, Sink
from onboarding.store import runs
from onboarding.store.engine import Store
from onboarding.store.tables import runs as table
from tasks import topology

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent


class System:
    """Worker, intake and beat as a deployment starts them, with a simulated Deel and a notification sink."""

    def __init__(self, folder: Path, broker_url: str, store_url: str, *, rate: int | None = None, **settings: str):
        self.folder, self.broker_url = folder, broker_url
        self.secret = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
        self.deel = Simulator(rate=rate).start()
        self.sink = Sink(secret=self.secret).start()
        self.store = Store(store_url)
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._hris: Connection | None = None
        label, key = next(iter(self.deel.signing_keys.items()))
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("ONBOARDING_")},
            "ONBOARDING_DATABASE_URL": store_url,
            "ONBOARDING_BROKER_URL": broker_url,
            "ONBOARDING_DEEL_URL": self.deel.url,
            "ONBOARDING_DEEL_TOKEN": self.deel.org_token,
            "ONBOARDING_DEEL_RATE": str(rate or 1000),
            "ONBOARDING_VAULT_KEYS": "k1:" + base64.b64encode(secrets.token_bytes(32)).decode(),
            "ONBOARDING_NOTIFY_URLS": self.sink.url,
            "ONBOARDING_NOTIFY_SECRET": self.secret,
            "ONBOARDING_NOTIFY_ALLOW_PRIVATE": "on",
            "ONBOARDING_WEBHOOK_SECRETS": f"{label}={key}",
            "ONBOARDING_LOG_FORMAT": "json",
            **{f"ONBOARDING_{name.upper()}": value for name, value in settings.items()},
        }

    def start(self, name: str, *command: str, code: Path = ROOT, **environment: str) -> subprocess.Popen[bytes]:
        """Start a process, in the folder of the code that it is to run; its output goes to a file of its name."""
        log = (self.folder / f"{name}.log").open("ab")
        process = subprocess.Popen(
            command, env=self.environment | environment, cwd=code, stdout=log, stderr=log, start_new_session=True
        )
        log.close()
        self.processes[name] = process
        return process

    def worker(self, name: str = "worker", *, concurrency: int = 2, **environment: str) -> subprocess.Popen[bytes]:
        """`celery -A tasks worker`."""
        node = f"{name}-{secrets.token_hex(3)}@%h"
        command = (str(BIN / "celery"), "-A", "tasks", "worker", "-c", str(concurrency), "-n", node, "-l", "INFO")
        process = self.start(name, *command, **environment)
        self.until(lambda: "ready" in self.log(name) or process.poll() is not None, 30, f"{name} is ready")
        assert process.poll() is None, self.log(name)
        return process

    def beat(self) -> None:
        """`celery -A tasks beat`."""
        self.start("beat", str(BIN / "celery"), "-A", "tasks", "beat")

    def intake(self, name: str = "intake", **environment: str) -> subprocess.Popen[bytes]:
        """`onboarding intake`."""
        return self.start(name, str(BIN / "onboarding"), "intake", **environment)

    def all(self, **worker: Any) -> None:
        """All three."""
        self.intake()
        self.beat()
        self.worker(**worker)

    def cli(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """`onboarding ...`, to its end."""
        command = [str(BIN / "onboarding"), *arguments]
        return subprocess.run(command, env=self.environment, cwd=ROOT, capture_output=True, text=True, timeout=60)

    def publish(self, body: bytes, headers: dict[str, Any] | None = None, **properties: Any) -> None:
        """Put a message on `hris.events`, as a gateway would."""
        if self._hris is None:
            self._hris = Connection(self.broker_url, transport_options={"confirm_publish": True})
            topology.declare_all(self._hris.default_channel)
        self._hris.Producer().publish(
            body,
            exchange=topology.HRIS_EVENTS,
            routing_key=properties.pop("routing_key", "contract.created"),
            headers=headers or {},
            content_type=properties.pop("content_type", "application/json"),
            content_encoding="binary",
            retry=True,
            **properties,
        )

    def hire(self, contract: str, **facts: Any) -> None:
        """A contract at Deel and its signed webhook on the queue."""
        self.deel.has_contract(contract, email=facts.pop("email", f"{contract}@example.com"), **facts)
        webhook = self.deel.webhook("contract.created", contract)
        self.publish(webhook.body, dict(webhook.headers))

    def runs(self) -> dict[str, Any]:
        """Rows by contract."""
        return {row.contract_id: row for row in self.store.read(lambda db: runs.listing(db))}

    def timeline(self, contract: str) -> list[tuple[str, str | None, str | None]]:
        """Step, outcome and reason of each attempt."""
        return [(row.step, row.outcome, row.reason) for row in self.attempts(contract)]

    def attempts(self, contract: str) -> Sequence[Any]:
        """Rows, in the order in which they began."""
        run = self.store.read(lambda db: runs.find(db, contract))
        return self.store.read(lambda db: runs.timeline(db, run.id)) if run else ()

    def states(self) -> dict[str, int]:
        """How many runs are in which state."""
        counted = select(table.c.state, func.count()).group_by(table.c.state)
        return dict(map(tuple, self.store.read(lambda db: db.execute(counted).all())))

    def until(self, condition: Callable[[], Any], timeout_s: float, what: str) -> None:
        """Wait for something that must come true; fail with what is known if it does not."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {timeout_s:g} s: {what}; runs {self.states()}\n{self.logs()}")
            time.sleep(0.05)

    def log(self, name: str) -> str:
        """What a process wrote."""
        path = self.folder / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def logs(self) -> str:
        """What all of them wrote."""
        texts = ((path.name, path.read_text(errors="replace")) for path in sorted(self.folder.glob("*.log")))
        return "\n".join(f"--- {name}\n{text[-3000:]}" for name, text in texts)

    def entries(self, name: str) -> list[dict[str, Any]]:
        """A process's log as JSON."""
        return [json.loads(line) for line in self.log(name).splitlines() if line.startswith("{")]

    def kill(self, name: str) -> None:
        """`kill -9` of the process and all of its children."""
        process = self.processes.pop(name)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)

    def stop(self, *names: str, sent: signal.Signals = signal.SIGTERM, within_s: float = 20) -> list[int]:
        """The signal to all of them at once, and their exit codes."""
        processes = [self.processes.pop(name) for name in names]
        for process in processes:
            process.send_signal(sent)
        return [process.wait(within_s) for process in processes]

    def said(self, name: str, event: str) -> int:
        """How often a process logged an event."""
        return sum(entry["event"] == event for entry in self.entries(name))

    def close(self) -> None:
        """Leave nothing running."""
        for name in list(self.processes):
            with contextlib.suppress(ProcessLookupError):
                self.kill(name)
        if self._hris is not None:
            self._hris.release()
        self.deel.stop()
        self.sink.stop()
        self.store.close()
