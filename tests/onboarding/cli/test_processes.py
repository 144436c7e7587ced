"""`send`, `up`, `intake`, `db upgrade`, `keys rotate`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from alembic.util import CommandError
from pydantic import SecretStr
from sqlalchemy import func, select, update

from onboarding.cli import keys
from onboarding.events import Message
from onboarding.intake import Intake
from onboarding.settings import load
from onboarding.store import data_keys, migrate
from onboarding.store.engine import Store
from onboarding.store.line import Line
from onboarding.store.tables import data_keys as data_keys_table
from tests.onboarding.cli.conftest import VAULT_KEY, Desk, FakeShell
from tests.onboarding.store.rows import KEYRING

NEW_KEY = "k2:" + "B" * 43 + "="
AMQP = "amqp://guest:guest-canary-1@127.0.0.1:1//"


def add_data_keys(store: Store, count: int) -> None:
    for number in range(count):
        subject = f"contract:c-{number}"
        store.write(lambda db, subject=subject: data_keys.get_or_make(db, KEYRING, subject))


def wrapped_by(store: Store) -> dict[str, int]:
    query = select(data_keys_table.c.master_key_id, func.count()).group_by(data_keys_table.c.master_key_id)
    return {row[0]: row[1] for row in store.read(lambda db: db.execute(query).all())}


def test_send_publishes_the_plain_form(onboarding: Desk):
    """With the event's type as its routing key, and only the fields that were given."""
    answer = onboarding.json("send", "c-1", "--organization", "org-1", "--id", "e-1")
    ((_, body, headers, routing_key),) = onboarding.shell.calls
    form = {"type": "contract.created", "contract_id": "c-1", "organization_id": "org-1", "id": "e-1"}
    assert json.loads(body) == form
    assert (headers, routing_key) == ({}, "contract.created")
    expected = {"contract_id": "c-1", "id": "e-1", "organization_id": "org-1"}
    assert answer == {"routing_key": "contract.created", "size": len(body), **expected}


def test_each_send_is_an_event_of_its_own(onboarding: Desk):
    """Without --id the event gets a fresh one: the same line typed twice is no repeat."""
    first, second = (onboarding.json("send", "c-1")["id"] for _ in range(2))
    assert first != second
    assert json.loads(onboarding.shell.calls[0][1]) == {"type": "contract.created", "contract_id": "c-1", "id": first}


def test_send_takes_a_file_as_it_is(onboarding: Desk, tmp_path: Path):
    """Byte for byte, with the headers and the routing key that were given."""
    path = tmp_path / "body.json"
    path.write_bytes(b'{ "odd" :1}\n')
    words = ("--file", str(path), "--header", "x-deel-signature=a=b", "--header", "h=", "--type", "x.y")
    answer = onboarding.json("send", *words)
    assert onboarding.shell.calls == [("publish", path.read_bytes(), {"x-deel-signature": "a=b", "h": ""}, "x.y")]
    assert (answer["size"], answer["contract_id"], answer["id"]) == (12, None, None)


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("c-1", "--file", __file__),
        ("c-1", "--header", "a=b"),
        ("--file", __file__, "--id", "e-1"),
        ("--file", __file__, "--organization", "org-1"),
        ("--file", __file__, "--header", "novalue"),
        ("--file", __file__, "--header", "=x"),
        ("--file", "/nonexistent"),
        ("no id",),
        ("c-1", "--organization", "no id"),
    ],
)
def test_what_send_cannot_send(onboarding: Desk, words: tuple[str, ...]):
    """Exit 2, also for what intake would not understand; nothing is published."""
    assert onboarding("send", *words).exit_code == 2
    assert onboarding.shell.calls == []


class FilingShell(FakeShell):
    """Takes an event in at once, as the embedded broker does."""

    def publish_event(self, body: bytes, headers: Mapping[str, str], routing_key: str) -> None:
        store = Store(load().database_url.get_secret_value())
        intake = Intake(store, KEYRING, {"eu": SecretStr("key")}, Line(lease_s=0))
        intake.accept(Message(body, dict(headers), routing_key, "application/json"))
        store.close()


def test_send_says_what_became_of_it(onboarding: Desk, tmp_path: Path):
    """What starts no run does not go on: dead, ignored and duplicate are told, each with where to look."""
    onboarding.shell = FilingShell()
    path = tmp_path / "body.json"
    assert "goes on while" in onboarding("send", "c-1").stderr
    again = onboarding("send", "c-1").stderr
    assert "duplicate, contract c-1 has a run already" in again
    path.write_text("no json")
    dead = onboarding("send", "--file", str(path)).stderr
    path.write_text('{"type": "contract.archived", "contract_id": "c-2"}')
    ignored = onboarding("send", "--file", str(path), "--type", "contract.archived").stderr
    assert "dead, not_json" in dead
    assert "onboarding dead list" in dead
    assert "ignored, " in ignored
    assert "goes on" not in again + dead + ignored


def test_send_without_a_broker(onboarding: Desk):
    """Exit 1: what, why and the next command."""
    onboarding.shell.broker = False
    result = onboarding("send", "c-1", "--json")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "ConnectionRefusedError" in result.stderr
    assert "onboarding doctor" in result.stderr


def test_send_makes_no_store(onboarding: Desk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """On the embedded broker an event goes straight into the store: exit 1 where there is none."""
    monkeypatch.setenv("ONBOARDING_DATABASE_URL", f"sqlite:///{tmp_path}/none.db")
    assert onboarding("send", "c-1").exit_code == 1
    assert onboarding.shell.calls == []


def test_up_serves(onboarding: Desk, monkeypatch: pytest.MonkeyPatch):
    """With a token for Deel; a mistyped variable is told of."""
    monkeypatch.setenv("ONBOARDING_DEEL_TOKEN", "deel-token-canary-77")
    monkeypatch.setenv("ONBOARDING_DEEL_RATES", "5")
    result = onboarding("up")
    assert (result.exit_code, result.stdout) == (0, "")
    assert onboarding.shell.calls == [("up",)]
    assert "ONBOARDING_DEEL_RATES: no such setting" in result.stderr
    assert "canary" not in result.stderr


def test_up_without_a_token(onboarding: Desk):
    """Told at once, not by the first run: exit 2."""
    result = onboarding("up")
    assert result.exit_code == 2
    assert "ONBOARDING_DEEL_TOKEN" in result.stderr
    assert onboarding.shell.calls == []


def test_intake_serves(onboarding: Desk, monkeypatch: pytest.MonkeyPatch):
    """On a broker that other processes reach."""
    monkeypatch.setenv("ONBOARDING_BROKER_URL", AMQP)
    assert onboarding("intake").exit_code == 0
    assert onboarding.shell.calls == [("intake",)]


def test_intake_on_the_embedded_broker(onboarding: Desk):
    """Nobody could reach it: exit 2 and what to type instead."""
    result = onboarding("intake")
    assert result.exit_code == 2
    assert "onboarding up" in result.stderr
    assert onboarding.shell.calls == []


def test_intake_without_a_schema(onboarding: Desk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Exit 1 and `onboarding db upgrade`; a store that is away is waited for instead."""
    monkeypatch.setenv("ONBOARDING_BROKER_URL", AMQP)
    monkeypatch.setenv("ONBOARDING_DATABASE_URL", f"sqlite:///{tmp_path}/empty.db")
    result = onboarding("intake")
    assert result.exit_code == 1
    assert "onboarding db upgrade" in result.stderr
    monkeypatch.setattr("onboarding.cli.serve.PATIENCE_S", 0.0)
    monkeypatch.setenv("ONBOARDING_DATABASE_URL", "postgresql://x:guest-canary-1@127.0.0.1:1/x")
    assert onboarding("intake").exit_code == 0
    assert onboarding.shell.calls == [("intake",)]


def test_db_upgrade_makes_the_store(onboarding: Desk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Folder, file and schema; exchanges and queues; doing it again changes nothing."""
    monkeypatch.setenv("ONBOARDING_DATABASE_URL", f"sqlite:///{tmp_path}/new/onboarding.db")
    head = migrate.head()
    assert onboarding.json("db", "upgrade") == {"before": None, "after": head, "declared": True}
    assert onboarding.json("db", "upgrade") == {"before": head, "after": head, "declared": True}
    assert onboarding.json("runs") == []
    assert "nothing to do" in onboarding("db", "upgrade").stdout
    assert onboarding.shell.calls == [("declare",)] * 3


def test_db_upgrade_without_a_broker(onboarding: Desk):
    """One line says so; exit 0: every process declares what it needs."""
    onboarding.shell.broker = False
    result = onboarding("db", "upgrade")
    assert result.exit_code == 0
    assert len(result.stderr.splitlines()) == 1
    assert onboarding.json("db", "upgrade")["declared"] is False


def test_db_upgrade_where_nothing_can_be_written(onboarding: Desk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Exit 1, naming the file."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("ONBOARDING_DATABASE_URL", f"sqlite:///{tmp_path}/file/onboarding.db")
    result = onboarding("db", "upgrade")
    assert result.exit_code == 1
    assert "file/onboarding.db" in result.stderr


def test_db_upgrade_of_a_newer_schema(onboarding: Desk, monkeypatch: pytest.MonkeyPatch):
    """This release does not know it: exit 1, in words."""

    def unknown_revision(_store: Store) -> None:
        raise CommandError("Can't locate revision identified by '9999'")

    monkeypatch.setattr("onboarding.cli.db.migrate.upgrade", unknown_revision)
    result = onboarding("db", "upgrade")
    assert result.exit_code == 1
    assert "newer" in result.stderr


def test_keys_rotate(onboarding: Desk, monkeypatch: pytest.MonkeyPatch):
    """Every data key under the first key, in small transactions; then the old one may go."""
    monkeypatch.setattr(keys, "BATCH", 2)
    add_data_keys(onboarding.store, 5)
    monkeypatch.setenv("ONBOARDING_VAULT_KEYS", f"{NEW_KEY},{VAULT_KEY}")
    assert onboarding.json("keys", "rotate") == {"first": "k2", "rewrapped": 5, "left": 0, "removable": ["k1"]}
    assert wrapped_by(onboarding.store) == {"k2": 5}
    assert onboarding.json("keys", "rotate") == {"first": "k2", "rewrapped": 0, "left": 0, "removable": ["k1"]}
    said = onboarding("keys", "rotate")
    assert "0 data keys" in said.stdout
    assert "k1" in said.stderr


def test_a_rotation_that_was_cut_off_goes_on(onboarding: Desk, monkeypatch: pytest.MonkeyPatch):
    """What is done stays done; the next call does the rest."""
    monkeypatch.setattr(keys, "BATCH", 2)
    add_data_keys(onboarding.store, 5)
    monkeypatch.setenv("ONBOARDING_VAULT_KEYS", f"{NEW_KEY},{VAULT_KEY}")
    whole, batches = data_keys.rewrap, iter([True, False])

    def cut_off(*args: Any, **kwargs: Any) -> data_keys.Batch:
        if not next(batches):
            raise KeyboardInterrupt
        return whole(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr("onboarding.cli.keys.data_keys.rewrap", cut_off)
        assert onboarding("keys", "rotate").exit_code == 1
    assert wrapped_by(onboarding.store) == {"k1": 3, "k2": 2}
    assert onboarding.json("keys", "rotate")["rewrapped"] == 3


def test_a_rotation_without_the_old_key(onboarding: Desk, monkeypatch: pytest.MonkeyPatch):
    """Exit 1, naming the key that is missing."""
    add_data_keys(onboarding.store, 1)
    monkeypatch.setenv("ONBOARDING_VAULT_KEYS", NEW_KEY)
    result = onboarding("keys", "rotate", "--json")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "lacks key id k1" in result.stderr
    assert wrapped_by(onboarding.store) == {"k1": 1}


def test_a_key_that_is_still_needed_stays(onboarding: Desk, monkeypatch: pytest.MonkeyPatch):
    """A worker with the old order wraps by the old key behind our back: it is not called removable, and exit 1."""
    add_data_keys(onboarding.store, 1)
    monkeypatch.setenv("ONBOARDING_VAULT_KEYS", f"{NEW_KEY},{VAULT_KEY}")

    def rotate_and_then(store: Store, _keyring: object) -> tuple[int, tuple[str, ...]]:
        store.write(lambda db: db.execute(update(data_keys_table).values(master_key_id="k1")))
        return 1, ()

    monkeypatch.setattr("onboarding.cli.keys._rotate", rotate_and_then)
    said = onboarding.json("keys", "rotate", code=1)
    assert (said["left"], said["removable"]) == (1, [])


def test_up_does_not_go_on_with_the_demos_store(onboarding: Desk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Its made-up contracts must not reach a real Deel, and the next demo deletes what `up` would work on."""
    path = tmp_path / ".onboarding" / "demo" / "onboarding.db"
    monkeypatch.setenv("ONBOARDING_DATABASE_URL", f"sqlite:///{path}")
    monkeypatch.setenv("ONBOARDING_DEEL_TOKEN", "token")
    result = onboarding("up")
    assert result.exit_code == 2
    assert "next  unset ONBOARDING_DATABASE_URL" in result.output
    assert onboarding.shell.calls == []


def test_who_looks_after_the_demo_is_told_where_its_store_lies(onboarding: Desk, monkeypatch, tmp_path: Path):
    """It is not the laptop's own, which is not there yet."""
    monkeypatch.chdir(tmp_path)
    store = tmp_path / ".onboarding" / "demo" / "onboarding.db"
    store.parent.mkdir(parents=True)
    store.touch()
    monkeypatch.delenv("ONBOARDING_DATABASE_URL")
    result = onboarding("runs")
    assert result.exit_code == 1
    assert f"next  export ONBOARDING_DATABASE_URL=sqlite:///{store}" in result.output
