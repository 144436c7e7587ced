"""The system on a broker of the tests' own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.system import System

MakeSystem = Callable[..., System]


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
