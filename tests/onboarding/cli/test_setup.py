"""`.ci/setup`: makes the virtual environment, says in one line why it cannot. Here with a Python that only pretends."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

SETUP = Path(__file__).parents[3] / ".ci" / "setup"
PRETENDS = f"""#!/bin/sh
case $1 in -c) exec "{sys.executable}" "$@";; esac
for last; do :; done
mkdir -p "$last/bin"
printf 'version = {platform.python_version()}\\n' >"$last/pyvenv.cfg"
printf '#!/bin/sh\\n' >"$last/bin/pip"
chmod +x "$last/bin/pip"
echo made >>"$last/made"
"""


@pytest.fixture
def python(tmp_path: Path) -> Path:
    program = tmp_path / "python"
    program.write_text(PRETENDS)
    program.chmod(0o755)
    return program


def set_up(python: Path | str, venv: Path) -> subprocess.CompletedProcess[str]:
    words = ["sh", str(SETUP), str(python), str(venv), "no.lock"]
    return subprocess.run(words, capture_output=True, text=True, env={"PATH": os.environ["PATH"]})


def times_made(venv: Path) -> int:
    return len((venv / "made").read_text().split())


@pytest.mark.parametrize("line", ["version = 3.10.1", f"version_info = {platform.python_version()}.final.0"])
def test_another_python_makes_the_environment_anew(python: Path, tmp_path: Path, line: str):
    """Once for one version, whoever wrote it down; anew for another."""
    venv = tmp_path / "venv"
    assert [set_up(python, venv).returncode for _ in range(2)] == [0, 0]
    assert times_made(venv) == 1
    (venv / "pyvenv.cfg").write_text(f"home = /usr\n{line}\n")
    assert set_up(python, venv).returncode == 0
    assert times_made(venv) == (2 if "3.10.1" in line else 1)


def test_a_program_that_does_not_exist(tmp_path: Path):
    """Told so, in one line: it is not called an old Python."""
    done = set_up("python3.99", tmp_path / "venv")
    assert done.returncode == 1
    assert done.stderr.startswith("set-up: there is no program python3.99")
    assert len(done.stderr.splitlines()) == 1


def test_a_log_that_cannot_be_written(python: Path, tmp_path: Path):
    """One line, naming it."""
    venv = tmp_path / "venv"
    set_up(python, venv)
    (venv / "setup.log").unlink()
    (venv / "setup.log").mkdir()
    done = set_up(python, venv)
    assert done.returncode == 1
    assert done.stderr.startswith(f"set-up: {venv}/setup.log cannot be written")
    assert len(done.stderr.splitlines()) == 1


def test_without_a_network_it_says_so_in_one_line(python: Path, tmp_path: Path):
    """Below the line that says what it is about; the packager's own words are in the log."""
    venv = tmp_path / "venv"
    set_up(python, venv)
    refused = "WARNING: Retrying after connection broken by NewConnectionError: Connection refused"
    (venv / "bin" / "pip").write_text(f"#!/bin/sh\necho '{refused}'\nexit 1\n")
    done = set_up(python, venv)
    assert done.returncode == 1
    begun, why = done.stderr.splitlines()
    assert begun.startswith("set-up: installing no.lock")
    assert why.startswith("set-up: no package index could be reached: connect to a network")
    assert refused in (venv / "setup.log").read_text()
