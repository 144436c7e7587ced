"""A gateway on a port of this machine, with a publisher that only remembers."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from sqlalchemy import select
from starlette.applications import Starlette
from structlog.testing import capture_logs

from onboarding import service_keys as keys
from onboarding.access import Access
from onboarding.events import Message
from onboarding.issuing import Waits
from onboarding.service_keys import Scope
from onboarding.settings import load
from onboarding.store import service_keys
from onboarding.store.tables import audit
from onboarding.transport import Http
from onboarding.web import protocol, tokens
from onboarding.web.gateway import Gateway, NotConfirmed
from onboarding.web.holders import Keys
from onboarding.web.tokens import TokenService, app_of
from onboarding.webhook_sources import all_of
from tests.onboarding.hris_messages import KEYS, VECTOR_BODY, VECTOR_SIGNATURE
from tests.onboarding.worlds import Driver

TOKEN = "/v1/workers/c-1/token"
SIGNED = {"x-deel-signature": VECTOR_SIGNATURE, "x-deel-hmac-label": "New Webhook"}
SOURCES = """
[people]
profile = "greenhouse"
keys = { a = "greenhouse-key" }
contract_id = "payload.deel"
types = ["hire_candidate"]
"""


@dataclass
class Remembering:
    """`away`: it confirms nothing; `hold`: it says nothing either way."""

    messages: list[Message] = field(default_factory=list)
    away: bool = False
    hold: bool = False
    held: list[Future[None]] = field(default_factory=list)

    @property
    def ready(self) -> bool:
        return not self.away

    def publish(self, messages: Sequence[Message]) -> Future[None]:
        answer: Future[None] = Future()
        if self.away:
            answer.set_exception(NotConfirmed())
        elif self.hold:
            self.held.append(answer)
        else:
            self.messages += messages
            answer.set_result(None)
        return answer


@dataclass
class Door:
    """Where to post to. `lines`: what it logged."""

    port: int
    publisher: Remembering
    lines: list[Any]

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, Any, dict[str, str]]:
        """Status, document, headers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read() or b"null"), dict(answer.getheaders())
        finally:
            connection.close()

    def post(self, body: bytes = VECTOR_BODY, path: str = "/webhooks/deel", **headers: str) -> int:
        """A signed webhook, with other headers where named."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.ask("POST", path, body, SIGNED | named)[0]

    def raw(self, *pieces: bytes, pause_s: float = 0.0) -> bytes:
        """Bytes as they are, and all that comes back until the other side closes, or says no more for a while."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as wire:
            try:
                for piece in pieces:
                    wire.sendall(piece)
                    time.sleep(pause_s)
            except OSError:
                pass  # it was refused while it was still talking
            return received(wire)

    def refused(self) -> list[tuple[int, str]]:
        """Status and reason of each line that tells of a refusal."""
        refusals = ("webhook_refused", "request_refused", "token_refused")
        return [(line["status"], line["reason"]) for line in self.lines if line["event"] in refusals]


def received(wire: socket.socket) -> bytes:
    answer = b""
    try:
        while piece := wire.recv(65536):
            answer += piece
    except OSError:
        pass
    return answer


@contextmanager
def serving(app: Starlette) -> Iterator[int]:
    """Its port, while it is served in a thread."""
    with protocol.listen("127.0.0.1", 0) as listener:
        server = protocol.server_for(app)
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.005)
        yield listener.getsockname()[1]
        server.should_exit = server.force_exit = True
        thread.join(10)


@pytest.fixture(scope="session")
def served() -> Iterator[tuple[Gateway, int]]:
    """One server for all: to stop one takes as long as ten tests."""
    settings = load({"ONBOARDING_GATEWAY_SOURCES": SOURCES})
    gateway = Gateway(all_of(KEYS, settings.gateway_sources), Remembering())
    with serving(gateway.app()) as port:
        yield gateway, port


@pytest.fixture
def door(served: tuple[Gateway, int], monkeypatch: pytest.MonkeyPatch) -> Iterator[Door]:
    """With a publisher of this test's own, and its log."""
    gateway, port = served
    publisher = Remembering()
    monkeypatch.setattr(protocol, "LINGER_S", 0.3)
    monkeypatch.setattr(gateway, "_publisher", publisher)
    with capture_logs() as lines:
        yield Door(port, publisher, lines)


@dataclass
class Desk:
    """A served token service, its world, and keys for it."""

    world: Driver
    service: TokenService
    door: Door

    def key(self, name: str = "app", scope: Scope = Scope.TOKEN, of: str | None = None, per_minute: int = 6000) -> str:
        new = keys.make()
        self.world.store.write(
            lambda db: service_keys.add(db, new, name=name, scope=scope, organization_id=of, per_minute=per_minute)
        )
        return new.key.get_secret_value()

    def ask(
        self,
        key: str = "",
        path: str = "/v1/workers/c-1/token",
        body: bytes | None = None,
        method: str = "POST",
        **headers: str,
    ) -> tuple[int, Any, dict[str, str]]:
        named = {"authorization": f"Bearer {key}"} | {name.replace("_", "-"): each for name, each in headers.items()}
        return self.door.ask(method, path, body, named)

    def audited(self) -> list[tuple[str, str, str, str]]:
        query = select(audit.c.who, audit.c.did, audit.c.contract_id, audit.c.because).order_by(audit.c.id)
        return [tuple(row) for row in self.world.store.read(lambda db: db.execute(query).all())]


@pytest.fixture(scope="session")
def served_tokens() -> Iterator[tuple[TokenService, int]]:
    """As above; whose tokens, each test says."""
    service = TokenService(Access(None, None, None, None))  # type: ignore[arg-type]
    with serving(app_of(service.routes())) as port:
        yield service, port


@pytest.fixture
def desk(onboard: Driver, served_tokens: tuple[TokenService, int], monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    """With a completed run."""
    onboard.hire()
    onboard.carry()
    service, port = served_tokens
    monkeypatch.setattr(protocol, "LINGER_S", 0.3)
    with closing(Access.of(onboard.world)) as made, closing(Http(max_bytes=tokens.MAX_ANSWER)) as http:
        access = replace(made, http=http, waits=Waits(patience_s=5.0, settle_s=0.02))
        monkeypatch.setattr(service, "_access", access)
        monkeypatch.setattr(service, "_keys", Keys(access.store))
        with capture_logs() as lines:
            yield Desk(onboard, service, Door(port, Remembering(), lines))
