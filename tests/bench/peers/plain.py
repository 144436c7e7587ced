"""A peer: the five steps as a chain of plain Celery tasks, without a store.

What Celery's documentation advises: late acks, tries again with backoff, no results kept; data travels in the
messages, the token too. The queue is a quorum queue, as ours is. `celery -A tests.bench.peers.plain worker`.

With PEER_DATABASE_URL each step writes a line before its work and another behind it, by one bare statement each, which
nobody reads: the least that whoever keeps a timeline has to pay.
"""

from __future__ import annotations

import functools
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any, Final

import httpx
import psycopg
from celery import Celery, chain

from tests.bench.peers import steps

app: Final = Celery("plain", broker=os.environ.get("PEER_BROKER_URL"))
app.conf.update(
    broker_transport_options={"confirm_publish": os.environ.get("PEER_CONFIRMS") == "on"},
    broker_connection_retry_on_startup=True,
    task_default_queue="plain",
    task_default_queue_type="quorum",
    task_default_exchange_type="topic",
    task_acks_late=True,
    task_ignore_result=True,
)
LINE: Final = "INSERT INTO timeline (step) VALUES (%s)"
DATABASE: Final = os.environ.get("PEER_DATABASE_URL")


@functools.cache
def database() -> psycopg.Connection[Any]:
    """One for each worker process."""
    return psycopg.connect(str(DATABASE), autocommit=True)


def written_down(step: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The step between two commits."""

    @functools.wraps(step)
    def between(told: Any) -> Any:
        database().execute(LINE, (step.__name__,))
        answer = step(told)
        database().execute(LINE, (step.__name__,))
        return answer

    return between if DATABASE else step


AGAIN: Final[dict[str, Any]] = {"autoretry_for": (httpx.HTTPError,), "retry_backoff": True, "max_retries": 5}

TASKS: Final = [
    app.task(name=f"plain.{step.__name__}", **AGAIN)(written_down(step))
    for step in (steps.contract_created, steps.ensure_profile, steps.issue_token, steps.verify_token, steps.notify)
]


def main() -> None:
    """Publish a chain for each contract of each list that is a line of the input; answer when that began."""
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        began = time.monotonic()
        for contract in json.loads(line):
            first, *others = TASKS
            chain(first.s(contract), *[task.s() for task in others]).apply_async()
        print(json.dumps(began), flush=True)


if __name__ == "__main__":
    main()
