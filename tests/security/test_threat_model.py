"""SECURITY.md says which test shows what: each of them exists."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "SECURITY.md").read_text()


def test_every_test_named_on_the_page_exists():
    """A test that was renamed or deleted proves nothing any more."""
    named = re.findall(r"(tests/[\w/]+\.py)::(\w+)", PAGE)
    assert len(named) > 15
    missing = [
        f"{path}::{name}"
        for path, name in named
        if not (ROOT / path).is_file() or not re.search(rf"^def {name}\(", (ROOT / path).read_text(), re.MULTILINE)
    ]
    assert missing == []


def test_every_module_named_on_the_page_exists():
    """Nor does a module that is gone protect anything."""
    named = re.findall(r"`((?:onboarding|tasks)/[\w/]+\.py)`", PAGE)
    assert len(named) > 8
    assert [path for path in named if not (ROOT / path).is_file()] == []


def test_the_page_is_one_screen():
    """It is read before an incident, or not at all."""
    assert len(PAGE.splitlines()) <= 60
