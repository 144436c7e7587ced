"""A command line to type on: click's runner, a shell that only remembers, a real store on SQLite."""

from __future__ import annotations

import json
import logging
import socket
import sys
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import structlog
from click.testing import CliRunner, Result
from pydantic import SecretStr
from sqlalchemy import select

from onboarding.cli.main import cli
from onboarding.cli.shell import BrokerUnavailable
from onboarding.runs import Facts, IssuedToken, Step
from onboarding.simulator import Simulator
from onboarding.store import facts, tokens
from onboarding.store.engine import Store
from onboarding.store.tables import audit
from tests.onboarding.store.rows import KEYRING, ORG, add_run

TOKEN = "eyJhbGciOiJub25lIn0.canary-worker-token-0a1b"
EMAIL = "canary.ada@example.com"
VAULT_KEY = "k1:" + "A" * 43 + "="  # of rows.KEYRING


@dataclass
class FakeShell:
    """Remembers what it was asked."""

    calls: list[tuple[Any, ...]] = field(default_factory=list)
    broker: bool = True

    def nudge(self, run_id: str, contract_id: str, step: Step) -> bool:
        self.calls.append(("nudge", run_id, contract_id, step))
        return self.broker

    def publish_event(self, body: bytes, headers: Mapping[str, str], routing_key: str) -> None:
        self._need_broker()
        self.calls.append(("publish", body, dict(headers), routing_key))

    def declare(self) -> None:
        self._need_broker()
        self.calls.append(("declare",))

    def serve_intake(self) -> None:
        self.calls.append(("intake",))

    def serve_gateway(self, listener: socket.socket, parts: Collection[str]) -> None:
        self.calls.append(("gateway", listener.getsockname()[0]))
        self.parts = set(parts)

    def serve_all(self, beside: Callable[[], None] | None = None) -> None:
        self.calls.append(("up",))

    def _need_broker(self) -> None:
        if not self.broker:
            raise BrokerUnavailable("ConnectionRefusedError")


@dataclass
class Desk:
    """Where an engineer sits: `onboarding(...)` types a command."""

    store: Store
    shell: FakeShell = field(default_factory=FakeShell)

    def __call__(self, *words: str) -> Result:
        result = CliRunner().invoke(cli, words, obj=self.shell)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    def json(self, *words: str, code: int = 0) -> Any:
        """The one document on standard output."""
        result = self(*words, "--json")
        assert result.exit_code == code, result.output
        return json.loads(result.stdout)

    def audit(self) -> list[tuple[str, str | None, str | None]]:
        query = select(audit.c.did, audit.c.contract_id, audit.c.because).order_by(audit.c.id)
        return [tuple(row) for row in self.store.read(lambda db: db.execute(query).all())]


@pytest.fixture(autouse=True)
def quiet_again(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Logging is as it was, after each test: every command sets it up for its process."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    yield
    root.handlers = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


@pytest.fixture
def onboarding(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    """The command line, on an empty store."""
    monkeypatch.setenv("ONBOARDING_DATABASE_URL", sqlite_url)
    monkeypatch.setenv("ONBOARDING_VAULT_KEYS", VAULT_KEY)
    store = Store(sqlite_url)
    yield Desk(store)
    store.close()


@pytest.fixture
def deel(monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulator]:
    """A Deel that the settings lead to; without a token for it."""
    with Simulator(rate=None) as simulator:
        monkeypatch.setenv("ONBOARDING_DEEL_URL", simulator.url)
        monkeypatch.setenv("ONBOARDING_DEEL_RATE", "1000")
        yield simulator


def add_completed(store: Store, run_id: str = "run-1", *, life_s: float = 86_400.0, **columns: Any) -> str:
    """A completed run with a token in the vault, and its worker's address known."""
    profile = f"profile-of-{run_id}"
    expires = datetime.now(UTC) + timedelta(seconds=life_s)
    known = Facts("eor", (SecretStr(EMAIL),), profile)
    told = store.write(lambda db: facts.columns(db, KEYRING, f"contract-of-{run_id}", known))
    row = {"state": "completed", "step": "notify", "hris_profile_id": profile, "token_expires_at": expires}
    add_run(store, run_id, **{**told, **row, **columns})
    store.write(lambda db: tokens.intend(db, run_id, 0, ORG, profile))
    issued = IssuedToken(1, SecretStr(TOKEN), expires)
    store.write(lambda db: tokens.keep(db, KEYRING, profile, issued))
    return run_id
