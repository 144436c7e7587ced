"""Fail points."""

from __future__ import annotations

import ast
import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from onboarding import failpoints
from onboarding.failpoints import POINTS, STEP_POINTS, Injected, arm, arm_from_environment, fail_point
from onboarding.runs import STEPS

ROOT = Path(__file__).parents[2]


def test_an_unarmed_point_does_nothing():
    """Free when off."""
    fail_point("publish.before")


def test_each_kind_does_what_it_says():
    """An exception, a cut connection, a full disk, a pause."""
    arm("publish.before", "raise")
    with pytest.raises(Injected):
        fail_point("publish.before")
    arm("publish.before", "cut")
    with pytest.raises(ConnectionResetError):
        fail_point("publish.before")
    arm("publish.before", "disk_full")
    with pytest.raises(OSError) as full:
        fail_point("publish.before")
    assert full.value.errno == errno.ENOSPC
    arm("publish.before", "pause:0.05")
    started = time.monotonic()
    fail_point("publish.before")
    assert time.monotonic() - started >= 0.05


def test_a_point_or_kind_that_does_not_exist_is_refused():
    """A test that arms a typo would prove nothing."""
    with pytest.raises(ValueError, match="no such fail point"):
        arm("publish.befor", "kill")
    with pytest.raises(ValueError, match="no such kind"):
        arm("publish.before", "explode")


def test_a_kill_armed_by_the_environment_kills_once_for_all_processes(tmp_path):
    """The second process finds the marker and lives."""
    code = "from onboarding.failpoints import *\narm_from_environment()\nfail_point('publish.before')\nprint('alive')"
    environment = {
        **os.environ,
        "ONBOARDING_FAILPOINTS": "publish.before=kill",
        "ONBOARDING_FAILPOINTS_DIR": str(tmp_path),
    }
    first, second = (
        subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, cwd=ROOT)
        for _ in range(2)
    )
    assert first.returncode == -signal.SIGKILL
    assert second.stdout == "alive\n"


def test_the_environment_may_name_several(monkeypatch):
    """Comma-separated, spaces allowed."""
    monkeypatch.setenv("ONBOARDING_FAILPOINTS", "publish.before=raise, intake.recorded=cut")
    arm_from_environment()
    with pytest.raises(Injected):
        fail_point("publish.before")
    with pytest.raises(ConnectionResetError):
        fail_point("intake.recorded")


def test_every_point_stands_in_the_code_and_every_call_names_a_point():
    """A point that nothing reaches, and a call with a misspelt name, are both tests of nothing."""
    named: set[str] = set()
    for folder in ("onboarding", "tasks"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                called = getattr(node.func, "id", "") if isinstance(node, ast.Call) else ""
                if called == "fail_point":
                    named.add(ast.unparse(node.args[0]))
                if (
                    called == "call" and node.args and isinstance(node.args[0], ast.Constant)
                ):  # the points on both of its sides
                    named |= {repr(f"{node.args[0].value}.{side}") for side in ("calling", "called")}
    plain = {ast.literal_eval(name) for name in named if not name.startswith("f")}
    patterns = {name.rpartition(".")[2].rstrip("'") for name in named if name.startswith("f")}
    assert plain <= POINTS
    assert patterns == set(STEP_POINTS)
    assert plain | {f"{step}.{point}" for step in STEPS for point in patterns} == POINTS


def test_disarming_frees_all():
    """Nothing is left armed between tests."""
    arm("publish.before", "raise")
    failpoints.disarm()
    fail_point("publish.before")
