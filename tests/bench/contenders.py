"""Who is measured by turns: ours, and peers that do the same five steps. Each is started once and told what to do."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psycopg

from onboarding.simulator.webhooks import Webhook
from tests.bench.outside import ROOT, Outside
from tests.bench.servers import database, virtual_host
from tests.bench.systems import distributed

BIN: Final = Path(sys.executable).parent
READY_S: Final = 60.0
NO_LIMIT: Final = "2000"
"""Requests a second: three times what two cores can spend."""
OURS: Final = "ours"
PLAIN_CONFIRMED: Final = "plain Celery, confirms on"
PLAIN_UNCONFIRMED: Final = "plain Celery, confirms off"
PLAIN_WRITTEN_DOWN: Final = "plain Celery, confirms on, a commit before and behind each step"
DBOS: Final = "DBOS"
TIMELINE: Final = "CREATE TABLE timeline (step text, at timestamptz NOT NULL DEFAULT clock_timestamp())"
CHILDREN: Final = 4
"""Of a Celery worker, ours and the peer's: of 2, 4 and 8 the best for both on two cores."""
DBOS_PROCESSES, DBOS_WORKFLOWS = 2, 8
"""Of 1 and 2 processes, of 8, 16 and 32 workflows in each, the best on two cores."""
DBOS_LOCK: Final = ROOT / "tests" / "bench" / "peers" / "dbos.lock"
DBOS_VENV: Final = ROOT / "build" / "peers" / "dbos"


Send = Callable[[Sequence[str], Sequence[Webhook]], float]
"""Start an onboarding for each contract; returns when the first was published, on the monotonic clock."""


@dataclass(frozen=True)
class Contender:
    """Its processes are those whose CPU time counts."""

    name: str
    pids: Sequence[int]
    send: Send


@contextmanager
def ours(outside: Outside) -> Iterator[Contender]:
    """`onboarding intake`, `celery -A tasks worker` and beat: all three count."""
    settings = {
        "deel_url": outside.deel_url,
        "deel_token": outside.deel_token,
        "deel_rate": NO_LIMIT,
        "notify_urls": outside.sink_url,
        "notify_secret": outside.secret,
        "webhook_secrets": outside.signing_key,
    }
    with distributed(**settings) as system:
        system.deel.stop()
        system.sink.stop()
        system.serve(concurrency=CHILDREN)

        def send(_: Sequence[str], webhooks: Sequence[Webhook]) -> float:
            began = time.monotonic()
            for webhook in webhooks:
                system.deliver(webhook)
            return began

        yield Contender(OURS, [process.pid for process in system.processes.values()], send)


@contextmanager
def plain(outside: Outside, *, confirms: bool, commits: bool = False) -> Iterator[Contender]:
    """A chain of plain Celery tasks; with `commits`, each writes down that it began and ended."""
    word = "on" if confirms else "off"
    options = (
        "-c",
        str(CHILDREN),
        "-n",
        f"plain-{word}-{commits}@%h",
        "-l",
        "INFO",
        "--without-mingle",
        "--without-gossip",
    )
    with virtual_host() as broker_url, ExitStack() as stack:
        environment = {**_environment(outside), "PEER_BROKER_URL": broker_url, "PEER_CONFIRMS": word}
        if commits:
            url = stack.enter_context(database(migrated=False)).replace("postgresql+psycopg:", "postgresql:")
            with psycopg.connect(url) as db:
                db.execute(TIMELINE)
            environment["PEER_DATABASE_URL"] = url
        command = [str(BIN / "celery"), "-A", "tests.bench.peers.plain", "worker", *options]
        worker = stack.enter_context(_worker(command, environment))
        send = stack.enter_context(_sender([sys.executable, "-m", "tests.bench.peers.plain"], environment))
        name = PLAIN_WRITTEN_DOWN if commits else PLAIN_CONFIRMED if confirms else PLAIN_UNCONFIRMED
        yield Contender(name, [worker], send)


@contextmanager
def dbos(outside: Outside) -> Iterator[Contender]:
    """A workflow of DBOS, in the environment that `install_dbos` made."""
    command = [str(DBOS_VENV / "bin" / "python"), "-m", "tests.bench.peers.dbos_app"]
    with database(migrated=False) as url, ExitStack() as stack:
        environment = {**_environment(outside), "PEER_DATABASE_URL": url, "PEER_CONCURRENCY": str(DBOS_WORKFLOWS)}
        workers = [  # one after the other: the first makes the tables
            stack.enter_context(_worker([*command, "work"], {**environment, "PEER_EXECUTOR": str(number)}))
            for number in range(DBOS_PROCESSES)
        ]
        send = stack.enter_context(_sender([*command, "send"], environment))
        yield Contender(DBOS, workers, send)


def install_dbos() -> str | None:
    """DBOS in an environment of its own, by its lock; a line where that cannot be made."""
    done = DBOS_VENV / ".installed"
    lock = DBOS_LOCK.read_text()
    if done.exists() and done.read_text() == lock:
        return None
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(DBOS_VENV)], check=True)
    options = ("--no-deps", "--require-hashes", "--retries", "1", "--timeout", "15", "--disable-pip-version-check")
    install = [str(DBOS_VENV / "bin" / "pip"), "install", "-q", *options, "-r", str(DBOS_LOCK)]
    made = subprocess.run(install, capture_output=True, text=True, check=False)
    if made.returncode:
        return "not measured: no package index could be reached, or it does not have what the lock names"
    done.write_text(lock)
    return None


def _environment(outside: Outside) -> dict[str, str]:
    told = {"DEEL_URL": outside.deel_url, "DEEL_TOKEN": outside.deel_token, "SINK_URL": outside.sink_url}
    return {**os.environ, **{f"PEER_{name}": value for name, value in told.items()}}


@contextmanager
def _worker(command: Sequence[str], environment: Mapping[str, str]) -> Iterator[int]:
    """Its process id, once it says that it is ready."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        with (
            log.open("wb") as out,
            subprocess.Popen(
                command, env=environment, cwd=ROOT, stdout=out, stderr=out, start_new_session=True
            ) as process,
        ):
            try:
                deadline = time.monotonic() + READY_S
                while "ready" not in log.read_text(errors="replace"):
                    alive = process.poll() is None and time.monotonic() < deadline
                    assert alive, log.read_text(errors="replace")
                    time.sleep(0.1)
                yield process.pid
            finally:
                os.killpg(process.pid, signal.SIGKILL)


@contextmanager
def _sender(command: Sequence[str], environment: Mapping[str, str]) -> Iterator[Send]:
    """A process that takes lists of contracts; what it spends does not count."""
    with subprocess.Popen(
        command, env=environment, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        inward, outward = process.stdin, process.stdout

        def send(contracts: Sequence[str], _: Sequence[Webhook]) -> float:
            inward.write(json.dumps(list(contracts)) + "\n")
            inward.flush()
            return float(outward.readline())

        try:
            assert json.loads(outward.readline()) == "ready"
            yield send
        finally:
            process.kill()
