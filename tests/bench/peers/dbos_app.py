"""A peer: the five steps as a workflow of DBOS, which keeps each step's result in PostgreSQL.

Runs in an environment of its own: DBOS is no dependency of ours.
`python -m tests.bench.peers.dbos_app work` takes from the queue; `... send` reads lists of contracts as lines of its
input, puts each on the queue, and answers with the moment at which it began.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any, Final

from dbos import DBOS, DBOSClient  # type: ignore[import-not-found]

from tests.bench.peers import steps

QUEUE: Final = "onboarding"
VERSION: Final = "1"
POLL_S: Final = 0.02
"""Its default is a second, and each look takes no more than what is free: that would be all one measures."""

_contract_created, _ensure_profile, _issue_token, _verify_token, _notify = (
    DBOS.step(retries_allowed=True, max_attempts=5)(step)
    for step in (steps.contract_created, steps.ensure_profile, steps.issue_token, steps.verify_token, steps.notify)
)


@DBOS.workflow(name="onboard")  # type: ignore[untyped-decorator]
def onboard(contract: str) -> None:
    """The five steps."""
    _notify(_verify_token(_issue_token(_ensure_profile(_contract_created(contract)))))


def work() -> None:
    """Until it is killed."""
    DBOS(
        config={
            "name": "peer",
            "system_database_url": os.environ["PEER_DATABASE_URL"],
            "application_version": VERSION,
            "executor_id": os.environ["PEER_EXECUTOR"],
            "log_level": "WARNING",
        }
    )
    DBOS.launch()
    DBOS.register_queue(QUEUE, worker_concurrency=int(os.environ["PEER_CONCURRENCY"]), polling_interval_sec=POLL_S)
    print("ready", flush=True)
    while True:
        time.sleep(60)


def send() -> None:
    """Until its input ends."""
    client = DBOSClient(system_database_url=os.environ["PEER_DATABASE_URL"])
    options: Any = {"workflow_name": "onboard", "queue_name": QUEUE, "app_version": VERSION}
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        began = time.monotonic()
        for contract in json.loads(line):
            client.enqueue(options, contract)
        print(json.dumps(began), flush=True)


if __name__ == "__main__":
    {"work": work, "send": send}[sys.argv[1]]()
