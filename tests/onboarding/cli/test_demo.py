"""`demo`: what it does beside its story. (Its story is told whole by `.ci/run`, and judged by the demo itself.)"""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from onboarding.cli import demo, demo_report
from onboarding.settings import load
from onboarding.store import migrate
from onboarding.store.engine import Store
from tests.onboarding.cli.conftest import Desk, FakeShell

FOLDER = Path(".onboarding", "demo")


@pytest.fixture
def stage(onboarding: Desk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Desk:
    """An empty folder, and an environment that the demo may change."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "environ", dict(os.environ))
    return onboarding


class LazyWorker(FakeShell):
    """Makes the store and lets the play come to its end; no run begins."""

    def serve_all(self, beside: Callable[[], None] | None = None) -> None:
        store = Store(load().database_url.get_secret_value())
        migrate.upgrade(store)
        store.close()
        assert beside is not None
        beside()


def test_two_demos_do_not_destroy_each_other(stage: Desk):
    """The second is told in one line, exit 1; what the first has written stays."""
    FOLDER.mkdir(parents=True)
    (FOLDER / "onboarding.db").touch()
    with FOLDER.with_suffix(".lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        result = stage("demo")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("Error: a demo is running here")
    assert len(result.stderr.splitlines()) == 1
    assert (FOLDER / "onboarding.db").exists()


def test_an_interrupted_demo_judges_nothing(stage: Desk):
    """The worker stops before the play has ended: one line, exit 130."""
    result = stage("demo")
    assert result.exit_code == 130
    assert result.stderr == "interrupted\n"
    assert "Timeline" not in result.stdout


def test_ctrl_c_before_the_worker_listens(stage: Desk, monkeypatch: pytest.MonkeyPatch):
    """The same."""

    def interrupted(_beside: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(stage.shell, "serve_all", lambda beside: interrupted(beside))
    result = stage("demo")
    assert (result.exit_code, result.stderr) == (130, "interrupted\n")


def test_a_failure_names_the_log(stage: Desk, monkeypatch: pytest.MonkeyPatch):
    """Exit 1; the store to look at is named by a path that holds in any folder."""
    monkeypatch.setattr(demo, "PATIENCE_S", 0.0)
    stage.shell = LazyWorker()
    result = stage("demo")
    assert result.exit_code == 1
    assert "not as it should be: c-twice has no run" in result.stderr
    assert result.stderr.splitlines()[-1].endswith(str(FOLDER / "demo.log"))
    assert f"ONBOARDING_DATABASE_URL=sqlite:///{FOLDER.absolute()}/onboarding.db" in result.stdout


def test_a_folder_that_cannot_be_written(stage: Desk):
    """One line, exit 1."""
    FOLDER.parent.touch()
    result = stage("demo")
    assert (result.exit_code, result.stdout) == (1, "")
    assert len(result.stderr.splitlines()) == 1
    assert ".onboarding" in result.stderr


def test_the_program_is_named_as_it_can_be_typed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """By its whole path where the shell would not find it."""
    (tmp_path / "onboarding").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["./onboarding"])
    assert demo_report.program() == f"{tmp_path}/onboarding"
    monkeypatch.setattr(demo_report.shutil, "which", lambda _: f"{tmp_path}/onboarding")
    assert demo_report.program() == "onboarding"
