"""A deploy: two releases on one queue while a migration runs."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.chaos.auditor import Expected
from tests.chaos.ending import Say
from tests.chaos.plant import Plant
from tests.chaos.scenarios import completed, hire, in_flight, scenario, until_some
from tests.integration.system import ROOT

COLUMN: Final = 'Column("note", WORD),'
MIGRATION: Final = '''"""A column more."""

import sqlalchemy as sa
from alembic import op

revision = "9999"
down_revision = "{before}"


def upgrade() -> None:
    op.add_column("runs", sa.Column("note", sa.String(40)))
'''


@scenario("two workers of the old release and two of the new one, while a migration runs", patience_s=180)
def rolling(made: Plant, _dice: random.Random, say: Say) -> Expected:
    """Expand first: the old release works on the new schema. Then SIGTERM to the old ones, in mid-flight."""
    release = next_release(made.system.folder / "next-release")
    names = in_flight(made, 30)
    command = [sys.executable, "-c", "from tasks.cli import main; main()", "db", "upgrade"]
    upgraded = subprocess.run(
        command, cwd=release, env=made.system.environment, capture_output=True, text=True, timeout=60
    )
    assert upgraded.returncode == 0, upgraded.stdout + upgraded.stderr
    say(f"migrated: {' '.join(upgraded.stdout.split())}")
    for old, new in (("worker-0", "worker-2"), ("worker-1", "worker-3")):
        made.add(new, release)
        names += hire(made, 10, new)
        until_some(made, names, completed(made, names) + 3)
        made.retire(old)
        say(f"{old} has gone, {new} goes on")
    return Expected(names)


def next_release(folder: Path) -> Path:
    """Our code with a column more in its tables, and the migration that adds it."""
    for package in ("onboarding", "tasks"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    tables = folder / "onboarding" / "store" / "tables.py"
    text = tables.read_text()
    marked = '    Column("contract_type", WORD),\n'
    assert marked in text
    tables.write_text(text.replace(marked, f"{marked}    {COLUMN}\n", 1))
    versions = folder / "onboarding" / "store" / "migrations" / "versions"
    newest = max(versions.glob("*.py")).read_text()
    before = next(line.split('"')[1] for line in newest.splitlines() if line.startswith("revision"))
    (versions / "9999_next.py").write_text(MIGRATION.replace("{before}", before))
    return folder
