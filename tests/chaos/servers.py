"""PostgreSQL and RabbitMQ of the suite's own: started, killed, wiped and thrown away without harm to anybody."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Self

import psycopg
from kombu import Connection

START_S = 90.0


class Missing(Exception):  # noqa: N818 - a fact about the machine
    """A server is not installed here; the text names it and the Debian package that has it."""


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def clock_ahead(folder: Path, seconds: int) -> dict[str, str]:
    """The environment of a process whose clock is that far ahead, or behind. Raises Missing."""
    library = folder / "skew.so"
    if not library.exists():
        if shutil.which("cc") is None:
            raise Missing("a C compiler is not installed (Debian: gcc, libc6-dev)")
        source = Path(__file__).with_name("skew.c")
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", str(library), str(source)], check=True)
    return {"LD_PRELOAD": str(library), "SKEW_S": str(seconds)}


class Postgres:
    """A cluster in a folder. `kill` is `-m immediate`: no checkpoint, as after a power cut."""

    def __init__(self, folder: Path) -> None:
        versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
        if not versions:
            raise Missing("PostgreSQL's initdb is not installed (Debian: postgresql)")
        self._bin = versions[-1].parent
        self._data = folder / "postgres"
        self.port = free_port()
        self.server = f"postgresql://postgres@127.0.0.1:{self.port}"
        self.dsn = f"{self.server}/postgres"

    def __enter__(self) -> Self:
        self._data.mkdir(parents=True)
        if os.getuid() == 0:  # the server refuses to run as root
            shutil.chown(self._data, "postgres")
            for parent in self._data.parents[:-1]:
                parent.chmod(parent.stat().st_mode | 0o711)
        self._run("initdb", "-D", str(self._data), "-A", "trust", "-U", "postgres", "--no-sync")
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(subprocess.CalledProcessError):
            self.kill()

    def start(self, environment: Mapping[str, str] | None = None) -> None:
        """Returns once it answers. `environment`: of this start alone."""
        self.skewed = bool(environment)
        options = f"-p {self.port} -k {self._data} -c listen_addresses=127.0.0.1 -c max_connections=200"
        log = str(self._data / "log")
        self._run(
            "pg_ctl",
            "-D",
            str(self._data),
            "-o",
            options,
            "-l",
            log,
            "-w",
            "-t",
            f"{START_S:.0f}",
            "start",
            **environment or {},
        )

    def true_clock(self) -> None:
        """For the next scenario."""
        if self.skewed:
            self.kill()
            self.start()

    def kill(self) -> None:
        """All at once, in the middle of whatever it does."""
        self._run("pg_ctl", "-D", str(self._data), "-m", "immediate", "-w", "stop")

    def cut_connections(self) -> None:
        """Every session but our own ends."""
        with psycopg.connect(self.dsn, autocommit=True) as db:
            db.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")

    def create(self, name: str) -> str:
        """A database of its own for a scenario; returns its URL."""
        with psycopg.connect(self.dsn, autocommit=True) as db:
            db.execute(f'CREATE DATABASE "{name}"')
        return f"{self.server}/{name}"

    def dump(self, dsn: str) -> bytes:
        """Every row of every table of a database, as plain SQL."""
        command = [str(self._bin / "pg_dump"), "--inserts", dsn]
        return subprocess.run(command, check=True, capture_output=True, timeout=120).stdout

    def _run(self, program: str, *arguments: str, **environment: str) -> None:
        command = [str(self._bin / program), *arguments]
        if os.getuid() == 0:
            command = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", *command]
        silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        subprocess.run(command, check=True, cwd=self._data, env={**os.environ, **environment}, **silent)


class RabbitMQ:
    """A node in a folder."""

    def __init__(self, folder: Path) -> None:
        servers = sorted(Path("/usr/lib/rabbitmq/lib").glob("rabbitmq_server-*/sbin"))
        if not servers:
            raise Missing("RabbitMQ is not installed (Debian: rabbitmq-server)")
        self._bin = servers[-1]
        self.folder = folder / "rabbitmq"
        self.port = free_port()
        self.server = f"amqp://guest:guest@127.0.0.1:{self.port}"
        self.url = f"{self.server}//"
        self._hosts: list[str] = []
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def data(self) -> Path:
        """Its queues' and messages' folder."""
        return self.folder / "data"

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True)
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Returns once it lets us in."""
        environment = self._environment | {
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_MNESIA_BASE": str(self.data),
            "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "plugins"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "none"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1",  # two cores have more to do than wait for a broker
        }
        self._process = subprocess.Popen(
            [str(self._bin / "rabbitmq-server")],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        wait_until(self._answers, START_S, "RabbitMQ answers")

    @property
    def _environment(self) -> dict[str, str]:
        home = str(self.folder)  # Erlang's cookie lies there
        return {**os.environ, "HOME": home, "RABBITMQ_NODENAME": f"chaos-{self.port}@localhost"}

    def create(self, host: str) -> str:
        """A virtual host of its own for a scenario, which is there again after a wipe; returns its URL."""
        self._hosts.append(host)
        self._ctl("add_vhost", host)
        self._ctl("set_permissions", "-p", host, "guest", ".*", ".*", ".*")
        return f"{self.server}/{host}"

    def drop(self, host: str) -> None:
        """With all its queues."""
        self._hosts.remove(host)
        self._ctl("delete_vhost", host)

    def _ctl(self, *words: str) -> None:
        command = [str(self._bin / "rabbitmqctl"), *words]
        subprocess.run(command, env=self._environment, check=True, capture_output=True, timeout=60)

    def kill(self) -> None:
        """`kill -9` of the node."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(20)
            self._process = None

    def wipe(self) -> None:
        """Killed, its data folder gone, and up again as if it had never held a message."""
        self.kill()
        shutil.rmtree(self.data)
        self.start()
        hosts, self._hosts = self._hosts, []
        for host in hosts:
            self.create(host)

    def _answers(self) -> bool:
        try:
            with Connection(self.url, connect_timeout=2) as connection:
                connection.connect()
        except OSError:
            return False
        return True


def wait_until(condition: Callable[[], object], timeout_s: float, what: str) -> None:
    """Raises TimeoutError where it does not come true."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {timeout_s:g} s: {what}")
        time.sleep(0.1)
