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

THREADS = 34
ASK = f"""
import json, sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from onboarding import failpoints
from onboarding.access import Access
from onboarding.issuing import Waits
from onboarding.settings import load

access = replace(Access.from_settings(load()), waits=Waits(held_s=1.0))
failpoints.arm_from_environment()
print("ready", flush=True)
sys.stdin.readline()
ask = lambda _: access.token("c-1", who="app", because="a test").token.get_secret_value()
with ThreadPoolExecutor({THREADS}) as pool:
    print(json.dumps(list(pool.map(ask, range({THREADS})))))
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
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        processes = [subprocess.Popen([sys.executable, "-c", ASK], env=environ, **pipes) for _ in range(3)]
        for process in processes:
            assert process.stdout.readline() == b"ready\n"
        for process in processes:
            process.stdin.write(b"go\n")
            process.stdin.flush()
        answers = [process.communicate(timeout=60)[0] for process in processes]
        survivors = [
            json.loads(answer.splitlines()[-1])
            for answer, each in zip(answers, processes, strict=True)
            if not each.returncode
        ]
        assert sorted(process.returncode for process in processes) == [-9, -9, 0]
        assert [set(each) for each in survivors] == [{world.deel.live_token("c-1")}]
        assert world.deel.tokens_issued_for("c-1") == 2
        assert world.deel.ledger.count("POST /workers/session") == 4  # the run's, and one of each process
