"""What we install: each pin by its hash, looked up for known vulnerabilities, listed in a bill of materials."""

from __future__ import annotations

import importlib.util
import re
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
FOUND = {"name": "a", "version": "1", "vulns": [{"id": "PYSEC-1", "fix_versions": ["2"]}]}
CLEAN = {"name": "b", "version": "1", "vulns": []}
UNKNOWN = {"name": "c", "skip_reason": "not found"}


@pytest.fixture(scope="module")
def audit() -> ModuleType:
    spec = importlib.util.spec_from_file_location("audit", ROOT / ".ci" / "audit.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("pins", "code", "said"),
    [
        ([CLEAN, FOUND], 1, "a 1: PYSEC-1, mended in 2"),
        ([UNKNOWN, FOUND], 1, "PYSEC-1"),
        ([CLEAN, UNKNOWN], 1, "could not be looked up: c"),
        ([UNKNOWN], 0, "not run: the database knows none of the 1 pins"),
        ([CLEAN], 0, "1 pins, no known vulnerability"),
    ],
)
def test_a_finding_fails_and_what_was_not_looked_up_is_not_clean(
    audit: ModuleType, capsys: pytest.CaptureFixture[str], pins: list[dict[str, Any]], code: int, said: str
):
    """Only a database that is wholly away is a line without a failure."""
    assert audit.judge(pins) == code
    assert said in "".join(capsys.readouterr())


@pytest.mark.parametrize(
    ("stderr", "code"),
    [("requests.exceptions.ConnectionError: Max retries exceeded", 0), ("ERROR: lock is malformed", 1), ("", 1)],
)
def test_only_an_absent_database_is_forgiven(
    audit: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], stderr: str, code: int
):
    """pip-audit that fails for another reason has audited nothing, and that is a failure."""
    failed = subprocess.CompletedProcess([], 1, stdout="", stderr=stderr)
    monkeypatch.setattr(audit.subprocess, "run", lambda *_a, **_k: failed)
    assert audit.main("requirements.lock") == code
    assert len("".join(capsys.readouterr()).splitlines()) == 1


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock"])
def test_each_pin_has_a_hash_and_no_address(lock: str):
    """An index that was broken into serves other bytes, and they are not installed."""
    text = (ROOT / lock).read_text()
    pins = re.split(r"\n(?=\S)", text.strip())
    assert len(pins) > 20
    for pin in pins:
        assert re.match(r"[a-z0-9-]+==\S+", pin), pin
        assert "--hash=sha256:" in pin
    assert "://" not in text
    assert "--index" not in text
