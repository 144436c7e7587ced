"""Replacing a key of the vault while the work goes on: nothing stops, nothing is lost, the old key can go."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import select, update

from onboarding.cli import keys as keys_command
from onboarding.cli.main import cli
from onboarding.events import Message
from onboarding.store import data_keys
from onboarding.store import events as statements
from onboarding.store.engine import Store
from onboarding.store.facts import emails_of
from onboarding.store.tables import data_keys as rows
from onboarding.vault import KeyMissing, Keyring
from tests.onboarding.cli.conftest import quiet_again
from tests.onboarding.store.rows import KEYRING
from tests.onboarding.worlds import Driver, driver

__all__ = ["quiet_again"]

OLD, NEW = "k1:" + "A" * 43 + "=", "k2:" + "B" * 42 + "A="
LOST = "k0:" + "C" * 42 + "A="

# The command as it is typed, in batches of two; killed at the third time that a batch is at the point.
COMMAND = """
import os, signal, sys
from onboarding import failpoints
from onboarding.cli import keys
from tasks.cli import main

keys.BATCH = 2
point, times = os.environ.get("STRIKE"), 0

def strike():
    global times
    times += 1
    if times == 3:
        os.kill(os.getpid(), signal.SIGKILL)

if point:
    failpoints.arm(point, strike)
sys.argv = ["onboarding", "keys", "rotate", "--json"]
main()
"""


@pytest.fixture
def onboard(store_url: str) -> Iterator[Driver]:
    with driver(store_url) as made:
        yield made


def rotate(store_url: str, keys: str = f"{NEW},{OLD}", **environment: str) -> subprocess.CompletedProcess[str]:
    settings = {"ONBOARDING_DATABASE_URL": store_url, "ONBOARDING_VAULT_KEYS": keys}
    return subprocess.run(
        [sys.executable, "-c", COMMAND],
        env={**os.environ, **settings, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def here(store_url: str, monkeypatch: pytest.MonkeyPatch, keys: str = f"{NEW},{OLD}") -> Result:
    """The command in this process: where nothing has to die, and nobody comes between."""
    monkeypatch.setattr(keys_command, "BATCH", 2)
    monkeypatch.setenv("ONBOARDING_DATABASE_URL", store_url)
    monkeypatch.setenv("ONBOARDING_VAULT_KEYS", keys)
    return CliRunner().invoke(cli, ["keys", "rotate", "--json"])


def with_keys(onboard: Driver, keys: str) -> None:
    """The same processes, restarted with other keys."""
    keyring = Keyring.from_setting(keys)
    onboard.world = replace(onboard.world, keyring=keyring)
    onboard.intake = replace(onboard.intake, keyring=keyring)


def add_data_keys(store: Store, count: int) -> None:
    for number in range(count):
        store.write(lambda db, number=number: data_keys.get_or_make(db, KEYRING, f"contract:x-{number}"))


def wrapped_by(store: Store) -> dict[str, int]:
    return store.read(data_keys.by_master_key)


def test_workers_go_on_while_a_key_is_replaced(onboard: Driver, store_url: str, monkeypatch: pytest.MonkeyPatch):
    """All onboardings complete; what a worker with the old order wrapped meanwhile, the next rotation finds; then
    the new key alone opens every token, address and dead letter."""
    add_data_keys(onboard.store, 30)
    with_keys(onboard, f"{OLD},{NEW}")
    onboard.intake.accept(Message(b"no json", {}, "x"))
    contracts: list[str] = []
    over = threading.Event()
    faults: list[BaseException] = []

    def work() -> None:
        try:
            while not over.is_set() and len(contracts) < 12:
                contracts.append(f"c-{len(contracts)}")
                onboard.hire(contracts[-1])
                assert onboard.carry(contracts[-1]) == "completed"
        except BaseException as fault:  # noqa: BLE001 - the test tells of it
            faults.append(fault)

    worker = threading.Thread(target=work)
    worker.start()
    first = rotate(store_url)
    over.set()
    worker.join(30)

    assert faults == []
    assert len(contracts) > 1
    assert json.loads(first.stdout)["rewrapped"] >= 30
    onboard.hire("c-late")
    onboard.carry("c-late")  # by a worker that nobody has restarted
    assert wrapped_by(onboard.store)["k1"] >= 2

    with_keys(onboard, f"{NEW},{OLD}")
    second = here(store_url, monkeypatch)
    assert second.exit_code == 0, second.output
    said = json.loads(second.stdout)
    assert (said["left"], said["removable"]) == (0, ["k1"])
    assert said["rewrapped"] >= 2
    assert here(store_url, monkeypatch).exit_code == 0

    with_keys(onboard, NEW)
    for contract in (*contracts, "c-late"):
        onboard.as_promised(contract)
        profile = onboard.run(contract).hris_profile_id
        emails = onboard.store.read(lambda db, who=profile: emails_of(db, onboard.world.keyring, who))
        assert [email.get_secret_value() for email in emails] == [f"{contract}@example.com"]
    (letter,) = onboard.store.read(statements.letters)
    assert onboard.store.read(lambda db: statements.open_letter(db, onboard.world.keyring, letter.id))


@pytest.mark.parametrize(
    ("store_url", "point", "done"),
    [("postgres", "store.committing", 4), ("sqlite", "store.committed", 6)],
    indirect=["store_url"],
)
def test_a_rotation_that_was_killed_is_resumed(
    onboard: Driver, store_url: str, point: str, done: int, monkeypatch: pytest.MonkeyPatch
):
    """kill -9 before or after a commit in the middle of it: each data key is whole, under one key or the other, and
    the next call does the rest; then the old key is needed by nobody."""
    onboard.hire("c-1")
    onboard.carry("c-1")
    add_data_keys(onboard.store, 8)
    before = opened(onboard.store, f"{NEW},{OLD}")

    killed = rotate(store_url, STRIKE=point)
    assert killed.returncode == -signal.SIGKILL
    assert wrapped_by(onboard.store) == {"k1": len(before) - done, "k2": done}
    assert opened(onboard.store, f"{NEW},{OLD}") == opened(onboard.store, f"{OLD},{NEW}") == before

    resumed = here(store_url, monkeypatch)
    assert resumed.exit_code == 0, resumed.output
    assert json.loads(resumed.stdout)["rewrapped"] == len(before) - done
    assert opened(onboard.store, NEW) == before
    with_keys(onboard, NEW)
    onboard.as_promised("c-1")
    with pytest.raises(KeyMissing):
        opened(onboard.store, OLD)


@pytest.mark.parametrize("store_url", ["postgres"], indirect=True)
def test_two_rotations_at_once_do_no_harm(onboard: Driver, store_url: str):
    """Two engineers, one night: both end well, and every data key is wrapped once more, as it was."""
    add_data_keys(onboard.store, 40)
    before = opened(onboard.store, OLD)
    ended: list[Any] = []
    both = [threading.Thread(target=lambda: ended.append(rotate(store_url))) for _ in range(2)]
    for each in both:
        each.start()
    for each in both:
        each.join(60)

    assert [each.returncode for each in ended] == [0, 0], [each.stderr for each in ended]
    assert sum(json.loads(each.stdout)["rewrapped"] for each in ended) == 40
    assert opened(onboard.store, NEW) == before


def test_a_data_key_that_does_not_open_holds_up_no_other(
    onboard: Driver, store_url: str, monkeypatch: pytest.MonkeyPatch
):
    """One was altered, one needs a key that is lost: exit 1, a line for each, and all others are done."""
    add_data_keys(onboard.store, 6)
    lost = Keyring.from_setting(LOST)
    odd = onboard.store.write(lambda db: data_keys.get_or_make(db, lost, "contract:a"))
    change = update(rows).where(rows.c.subject == "contract:x-0").values(wrapped=b"\x01" + bytes(60))
    onboard.store.write(lambda db: db.execute(change))

    ended = here(store_url, monkeypatch)
    assert (ended.exit_code, ended.stdout) == (1, "")
    assert "2 data keys do not open and stay as they are; 5 were wrapped anew" in ended.stderr
    assert f"data key {odd.id}: ONBOARDING_VAULT_KEYS lacks key id k0" in ended.stderr
    assert ended.stderr.count("why") == 2
    assert wrapped_by(onboard.store) == {"k0": 1, "k1": 1, "k2": 5}


def test_progress_says_what_is_left(onboard: Driver, store_url: str, monkeypatch: pytest.MonkeyPatch):
    """A line per batch, on standard error."""
    add_data_keys(onboard.store, 5)
    lines = [line for line in here(store_url, monkeypatch).stderr.splitlines() if "left" in line]
    assert lines == ["2 wrapped anew, 3 left", "4 wrapped anew, 1 left", "5 wrapped anew, 0 left"]


def opened(store: Store, keys: str) -> dict[str, bytes]:
    """Every data key, as these keys open it."""
    keyring = Keyring.from_setting(keys)
    subjects = store.read(lambda db: db.execute(select(rows.c.subject)).scalars().all())
    return {
        subject: store.read(lambda db, who=subject: data_keys.get(db, keyring, who)).key.get_secret_value()
        for subject in subjects
    }
