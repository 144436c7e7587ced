"""Tokens on demand from several processes, of which some are killed while they ask Deel."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from sqlalchemy import update

from onboarding.store.sql import from_now
from onboarding.store.tables import worker_tokens
from tests.onboarding.worlds import driver

PROCESSES, THREADS = 3, 34
ASK = f"""
import json, os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from onboarding import failpoints
from onboarding.access import Access
from onboarding.issuing import Waits
from onboarding.settings import load

settings = load()

def ask():
    failpoints.arm_from_environment()
    access = replace(Access.from_settings(settings), waits=Waits(held_s=2.0))
    token = lambda _: access.token("c-1", who="app", because="a test").token.get_secret_value()
    os.read(gate, 1)  # until it is closed: they begin together
    with ThreadPoolExecutor({THREADS}) as pool:
        print(json.dumps(list(pool.map(token, range({THREADS})))), flush=True)

gate, opens = os.pipe()
children = []
for _ in range({PROCESSES}):  # forked before any has a connection: each import of all this takes most of a second
    children.append(os.fork())
    if not children[-1]:
        os.close(opens)
        ask()
        os._exit(0)
os.close(opens)
print(json.dumps([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]))
"""


def test_a_hundred_callers_in_three_processes_two_of_them_killed(store_url: str, tmp_path: Path):
    """One dies when Deel has answered, one when it is about to write that down: still there is one new token."""
    with driver(store_url) as world:
        world.hire()
        world.carry()
        world.store.write(lambda db: db.execute(update(worker_tokens).values(expires_at=from_now(-1))))
        environ = {
            **os.environ,
            "ONBOARDING_DATABASE_URL": store_url,
            "ONBOARDING_DEEL_URL": world.deel.url,
            "ONBOARDING_DEEL_TOKEN": world.deel.org_token,
            "ONBOARDING_DEEL_RATE": "1000",
            "ONBOARDING_VAULT_KEYS": "k1:" + "A" * 43 + "=",
            "ONBOARDING_FAILPOINTS": "access.called=kill,access.keeping=kill",
            "ONBOARDING_FAILPOINTS_DIR": str(tmp_path),
        }
        run = subprocess.run([sys.executable, "-c", ASK], env=environ, stdout=subprocess.PIPE, timeout=60, check=True)
        answers, codes = [json.loads(line) for line in run.stdout.splitlines() if line.startswith(b"[")]
        assert sorted(codes) == [-9, -9, 0]
        assert set(answers) == {world.deel.live_token("c-1")}
        assert world.deel.tokens_issued_for("c-1") == 2
        asked = world.deel.ledger.count("POST /workers/session")
        assert 4 <= asked <= 5  # the run's, and one of each process; one more where a living one was slow, and replayed
