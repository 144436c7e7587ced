"""The model of tests/onboarding/test_model.py, longer than a test may take and from the seed."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

from onboarding.store import migrate
from onboarding.store.engine import Store
from tests.chaos.auditor import Expected
from tests.chaos.ending import Say
from tests.chaos.plant import Plant
from tests.chaos.scenarios import scenario
from tests.onboarding.test_model import explore

INTERLEAVINGS = 100


@scenario("model: a hundred interleavings on SQLite")
def on_sqlite(made: Plant, dice: random.Random, say: Say) -> Expected:
    """The promises are the model's own."""
    with tempfile.TemporaryDirectory(prefix="chaos-model-") as folder:
        return _explored(made, f"sqlite:///{Path(folder) / 'model.db'}", dice, say)


@scenario("model: a hundred interleavings on PostgreSQL")
def on_postgresql(made: Plant, dice: random.Random, say: Say) -> Expected:
    """The same on the other dialect, on a database of its own."""
    url = made.database.create(f"model-{dice.randrange(1_000_000)}")
    return _explored(made, url.replace("postgresql://", "postgresql+psycopg://"), dice, say)


def _explored(made: Plant, store_url: str, dice: random.Random, say: Say) -> Expected:
    made.begin("intake")  # it makes the queues that the end of every scenario looks at
    store = Store(store_url)
    migrate.upgrade(store)
    store.close()
    seed = dice.randrange(1_000_000)
    say(f"hypothesis begins from {seed}")
    explore(store_url, INTERLEAVINGS, seed)
    return Expected([])
