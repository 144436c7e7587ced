"""The token service's process: what it gives to apps, and that hostile ones leave nothing behind."""

from __future__ import annotations

import gzip
import http.client
import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.listening import free_port
from tests.integration.system import BIN, System
from tests.onboarding.worlds import Driver, driver

TOKEN = "/v1/workers/c-1/token"
DEEL = "/v1/workers/c-1/deel"


@pytest.fixture
def hired(sqlite_url: str) -> Iterator[Driver]:
    with driver(sqlite_url) as made:
        made.hire()
        made.carry()
        yield made


@pytest.fixture
def system(make_system: Callable[..., System], sqlite_url: str, hired: Driver) -> System:
    """Tokens alone, without a broker."""
    settings = {"deel_url": hired.deel.url, "deel_token": hired.deel.org_token, "vault_keys": "k1:" + "A" * 43 + "="}
    return make_system("memory://", sqlite_url, **settings)


def start(system: System) -> int:
    port = free_port()
    command = (str(BIN / "onboarding"), "gateway", "--only", "tokens", "--port", str(port))
    process = system.start("gateway", *command)
    system.until(lambda: system.said("gateway", "gateway_ready") or process.poll() is not None, 20, "it is ready")
    assert process.poll() is None, system.log("gateway")
    return port


def ask(port: int, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def made_key(system: System, *words: str) -> dict[str, str]:
    command = (str(BIN / "onboarding"), "service-key", "create", *words)
    key = subprocess.run(command, env=system.environment, capture_output=True, text=True, check=True).stdout.strip()
    return {"authorization": f"Bearer {key}"}


def rss_mb(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def test_hostile_requests_are_refused_and_leave_no_memory_behind(
    system: System, hired: Driver, capsys: pytest.CaptureFixture[str]
):
    """Some hundreds, after some that warm it up, each with its status and one line in the log; and then it works."""
    port = start(system)
    pid = system.processes["gateway"].pid
    app, other = made_key(system, "app", "--per-minute", "100000"), made_key(system, "other", "--organization", "org-9")
    bomb, long = gzip.compress(b" " * 10_000_000), b"x" * 10_000_000
    sign = f"{DEEL}/eor/workers/contracts/c-1/signatures"
    hostile: list[tuple[int, str, str, bytes, dict[str, str]]] = [
        (401, "POST", TOKEN, b"", {}),
        (401, "POST", TOKEN, b"", {"authorization": "Bearer " + "x" * 5000}),
        (404, "POST", TOKEN, b"", other),
        (404, "POST", "/v1/workers/nobody/token", b"", app),
        (405, "PUT", TOKEN, b"", app),
        (415, "POST", TOKEN, bomb, app | {"content-encoding": "gzip"}),
        (400, "POST", TOKEN, b"[" * 4000, app),
        (413, "POST", TOKEN, long, app),
        (413, "POST", sign, long, app),
        (415, "POST", sign, bomb, app | {"content-encoding": "gzip"}),
        (403, "POST", f"{DEEL}/magic-link", b"{}", app),
        (403, "GET", f"{DEEL}/eor/workers/contracts/c-2/offer-letter", b"", app),
        (400, "GET", f"{DEEL}/../people", b"", app),
        (400, "GET", f"{DEEL}/people%2Fme", b"", app),
        (400, "GET", f"{DEEL}/people/me", b"", app | {"host": "evil@example.com"}),
        (431, "GET", f"{DEEL}/people/me", b"", app | {f"x-{number}": "y" for number in range(200)}),
    ]

    def play(rounds: int) -> None:
        for status, method, path, body, headers in hostile * rounds:
            try:
                assert ask(port, method, path, body, headers)[0] == status, (method, path)
            except OSError:
                assert status in (413, 431)  # it was refused while it was still talking

    play(5)
    before, calls = rss_mb(pid), len(hired.deel.ledger)
    play(25)
    after = rss_mb(pid)
    with capsys.disabled():
        print(f"\n{25 * len(hostile)} hostile requests: {before:.1f} MB before, {after:.1f} MB after")
    assert after - before < 6
    assert len(hired.deel.ledger) == calls
    said = system.said("gateway", "token_refused") + system.said("gateway", "request_refused")
    assert said == 30 * len(hostile)
    answer = json.loads(ask(port, "POST", TOKEN, headers=app)[1])
    assert answer["token"] == hired.deel.live_token("c-1")
    secrets = [answer["token"], app["authorization"][30:], "c-1@example.com"]
    assert not [each for each in secrets if each in system.log("gateway")]
    assert ask(port, "GET", f"{DEEL}/people/me", headers=app)[0] == 200
    system.processes["gateway"].send_signal(signal.SIGTERM)
    assert system.processes["gateway"].wait(10) == 0
