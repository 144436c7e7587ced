"""Whatever goes wrong below, the engineer reads what, why and the next command: no traceback, no SQL, no secret."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError, ProgrammingError

from onboarding.cli.lazy import LazyGroup
from onboarding.cli.main import ENTRIES
from onboarding.cli.refusal import Refusal
from onboarding.cli.shell import BrokerUnavailable
from onboarding.cli.translation import refusal_for
from onboarding.store import data_keys
from onboarding.store.engine import StoreUnavailable
from tests.onboarding.cli.conftest import EMAIL, TOKEN, Desk, add_completed
from tests.onboarding.store.rows import KEYRING, ORG

LOOKING = [("runs",), ("show", "c-1"), ("stats",), ("dead", "list"), ("dead", "show", "x"), ("keys", "rotate")]
ACTING = [
    *(("replay", "c-1", "--yes"), ("cancel", "c-1"), ("pause", ORG), ("resume", ORG)),
    *(
        ("token", "c-1", "--because", "OPS-1"),
        ("act", "c-1", "payslips"),
        ("consent", "c-1", "--evidence", "DOC-1", "--version", "1"),
    ),
]
PASSWORD = "guest-canary-1"


def said(onboarding: Desk, *words: str, code: int = 1) -> str:
    result = onboarding(*words)
    assert (result.exit_code, result.stdout) == (code, "")
    assert result.stderr.startswith("Error: ")
    assert "\n  why   " in result.stderr
    assert "\n  next  onboarding " in result.stderr
    for never in ("Traceback", "SELECT", "sqlalche.me", PASSWORD):
        assert never not in result.stderr
    return result.stderr


@pytest.mark.parametrize("words", [*LOOKING, *ACTING])
def test_no_store_yet(onboarding: Desk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: tuple[str, ...]):
    """Exit 1; and looking, or acting, makes no file."""
    folder = tmp_path / "new"
    monkeypatch.setenv("ONBOARDING_DATABASE_URL", f"sqlite:///{folder}/onboarding.db")
    monkeypatch.delenv("ONBOARDING_VAULT_KEYS")
    assert "onboarding up" in said(onboarding, *words)
    assert not folder.exists()


@pytest.mark.parametrize("words", [*LOOKING, *ACTING])
def test_a_store_without_tables(
    onboarding: Desk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: tuple[str, ...]
):
    """Exit 1 and `onboarding db upgrade`."""
    (tmp_path / "empty.db").touch()
    monkeypatch.setenv("ONBOARDING_DATABASE_URL", f"sqlite:///{tmp_path}/empty.db")
    assert "onboarding db upgrade" in said(onboarding, *words)


@pytest.mark.parametrize("words", [("runs",), ("db", "upgrade"), ("cancel", "c-1")])
def test_a_store_that_is_away(onboarding: Desk, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]):
    """Exit 1; the password in its URL is not shown."""
    monkeypatch.setattr("onboarding.store.engine.stop_after_delay", lambda _seconds: lambda _state: True)
    monkeypatch.setenv("ONBOARDING_DATABASE_URL", f"postgresql://x:{PASSWORD}@127.0.0.1:1/x")
    assert "the store does not answer" in said(onboarding, *words)


def test_a_file_that_is_no_store(onboarding: Desk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Exit 1, in SQLite's own words."""
    (tmp_path / "junk.db").write_text("hello " * 1000)
    monkeypatch.setenv("ONBOARDING_DATABASE_URL", f"sqlite:///{tmp_path}/junk.db")
    assert "file is not a database" in said(onboarding, "runs")


@pytest.mark.parametrize("words", [*LOOKING, *ACTING, ("up",), ("intake",), ("send", "c-1"), ("db", "upgrade")])
def test_wrong_settings(onboarding: Desk, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]):
    """Every fault has its line, exit 2."""
    monkeypatch.setenv("ONBOARDING_DEEL_RATE", PASSWORD)
    monkeypatch.setenv("ONBOARDING_CONSENT", PASSWORD)
    text = said(onboarding, *words, code=2)
    assert "ONBOARDING_DEEL_RATE" in text
    assert "ONBOARDING_CONSENT" in text


def test_a_vault_that_does_not_open(onboarding: Desk, monkeypatch: pytest.MonkeyPatch):
    """Exit 1, naming the key id that is missing; no audit line for a token that nobody got."""
    add_completed(onboarding.store)
    onboarding.store.write(lambda db: data_keys.get_or_make(db, KEYRING, "contract:c-2"))
    monkeypatch.setenv("ONBOARDING_VAULT_KEYS", "k2:" + "B" * 43 + "=")
    assert "key id k1" in said(onboarding, "token", "run-1", "--because", "OPS-1")
    assert onboarding.audit() == []


class _UndefinedError(Exception):
    sqlstate = "42P01"


class _DeniedError(Exception):
    sqlstate = "42501"


def test_what_postgresql_says_is_told_by_its_state():
    """Its words can quote values, and SQLAlchemy's quote the statement."""
    missing = refusal_for(ProgrammingError("SELECT canary", {}, _UndefinedError("canary")))
    denied = refusal_for(ProgrammingError("SELECT canary", {}, _DeniedError("canary")))
    assert missing is not None
    assert denied is not None
    assert missing.then == ("onboarding db upgrade",)
    assert "42501" in denied.message
    assert "canary" not in missing.message + denied.message


def test_what_nobody_foresaw_is_no_refusal():
    """A defect stays one."""
    assert refusal_for(ZeroDivisionError()) is None
    assert LazyGroup("g", entries=ENTRIES).get_command(None, "nix") is None  # type: ignore[arg-type]


def test_only_token_prints_a_secret(onboarding: Desk, monkeypatch: pytest.MonkeyPatch):
    """No command shows the worker's token or address, or a secret of the settings, but `token` the token."""
    secrets = {"DEEL_TOKEN": "deel-token-canary-77", "NOTIFY_URLS": "https://hooks.example.com/canary-5"}
    for name, value in {**secrets, "NOTIFY_SECRET": "whsec_" + "Y2FuYXJ5" * 4}.items():
        monkeypatch.setenv(f"ONBOARDING_{name}", value)
    monkeypatch.setenv("ONBOARDING_DEEL_URL", "http://127.0.0.1:1/rest/v2")
    add_completed(onboarding.store)
    printed = ""
    acting = [tuple(word.replace("c-1", "run-1") for word in words) for words in ACTING if words[0] != "token"]
    others = [("send", "c-1"), ("up",), ("doctor",), ("db", "upgrade"), ("show", "run-1")]
    for words in (*LOOKING, *acting, *others):
        for as_json in ((), ("--json",)):
            printed += onboarding(*words, *as_json).output
    for secret in (TOKEN, EMAIL, "canary", "whsec_"):
        assert secret not in printed
    add_completed(onboarding.store, "run-2")
    assert TOKEN in onboarding("token", "run-2", "--because", "OPS-1").stdout


def _away(error: Exception, cause: Exception) -> Refusal:
    """As the layers below raise it: the driver's error is its context."""
    error.__context__ = OperationalError("SELECT canary", {}, cause) if isinstance(error, StoreUnavailable) else cause
    refusal = refusal_for(error)
    assert refusal is not None
    return refusal


class _StateError(Exception):
    def __init__(self, words: str, sqlstate: str | None) -> None:
        super().__init__(words)
        self.sqlstate = sqlstate


@pytest.mark.parametrize(
    ("words", "state", "expected"),
    [
        ("canary", "28P01", "wrong password"),
        ("canary", "3D000", "no such database"),
        ("canary", "53999", "SQLSTATE 53999"),
        ('connection to "db.example.com" failed: Connection refused\n\tIs the server', None, "Connection refused."),
    ],
)
def test_why_the_store_is_away(words: str, state: str | None, expected: str):
    """By its state, or in the driver's first line where nothing reached the server; and the variable to check."""
    refusal = _away(StoreUnavailable("OperationalError"), _StateError(words, state))
    assert expected in refusal.message
    assert "ONBOARDING_DATABASE_URL" in refusal.message
    assert "canary" not in refusal.message


def test_why_the_broker_is_away():
    """In its own first line, without the password in its URL."""
    cause = OSError(f"cannot reach amqp://guest:{PASSWORD}@rabbit:5672: Name does not resolve")
    refusal = _away(BrokerUnavailable("OSError"), cause)
    assert "Name does not resolve" in refusal.message
    assert "ONBOARDING_BROKER_URL" in refusal.message
    assert PASSWORD not in refusal.message


def test_a_file_that_may_not_be_used():
    """One line names it; a broken connection, or what has no file, is a defect as before."""
    refusal = refusal_for(PermissionError(13, "Permission denied", "/srv/onboarding.db"))
    assert refusal is not None
    assert refusal.what == "/srv/onboarding.db: Permission denied"
    assert refusal_for(BrokenPipeError(32, "Broken pipe")) is None
    assert refusal_for(OSError(22, "Invalid argument")) is None


def test_an_answer_that_cannot_be_written(onboarding: Desk):
    """A full disk behind standard output: one line, exit 1, no traceback, none at the end either."""
    add_completed(onboarding.store)
    code = "from tasks.cli import main; main()"
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([sys.executable, "-c", code, "runs"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert done.stderr == "Error: the answer could not be written: No space left on device\n"
