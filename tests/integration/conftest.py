"""A broker of the tests' own, and the system on it."""

from __future__ import annotations

import shutil
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kombu import Connection

from tasks import topology
from tests.integration.system import System

MakeSystem = Callable[..., System]


@pytest.fixture(scope="session")
def vhost(rabbitmq: str) -> Iterator[str]:
    """The broker's URL with a virtual host of this session's own, where rabbitmqctl can make one."""
    name = f"onboarding-tests-{uuid.uuid4().hex[:8]}"
    if shutil.which("rabbitmqctl") is None or _rabbitmqctl("add_vhost", name) != 0:
        yield rabbitmq
        return
    _rabbitmqctl("set_permissions", "-p", name, "guest", ".*", ".*", ".*")
    yield rabbitmq.rstrip("/") + f"/{name}"
    _rabbitmqctl("delete_vhost", name)


@pytest.fixture
def broker(vhost: str) -> str:
    """The broker with none of our queues on it."""
    with Connection(vhost) as connection:
        channel = connection.default_channel
        for queue in ("onboarding.intake", topology.DEAD, topology.STEPS, topology.UPKEEP):
            channel.queue_delete(queue)
    return vhost


@pytest.fixture
def make_system(tmp_path: Path) -> Iterator[MakeSystem]:
    """Systems that are stopped when the test ends."""
    made: list[System] = []

    def make(broker_url: str, store_url: str, **settings: str) -> System:
        system = System(tmp_path, broker_url, store_url, **settings)
        made.append(system)
        return system

    yield make
    for system in made:
        system.close()


@pytest.fixture
def system(make_system: MakeSystem, broker: str, postgres_url: str) -> System:
    """RabbitMQ and PostgreSQL, Deel without a rate limit."""
    return make_system(broker, postgres_url)


def _rabbitmqctl(*arguments: str) -> int:
    return subprocess.run(["rabbitmqctl", "-q", *arguments], capture_output=True, check=False).returncode
