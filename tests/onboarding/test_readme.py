"""The README's examples of acting as a worker, run as they stand."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner

import onboarding
from onboarding import acting
from onboarding.access import Access
from onboarding.cli.main import cli
from onboarding.settings import load
from onboarding.web.tokens import TokenService, app_of
from tests.onboarding.cli.conftest import quiet_again as quiet_again  # noqa: PLC0414 - a fixture
from tests.onboarding.web.conftest import serving
from tests.onboarding.worlds import Driver

README = Path(__file__).parents[2] / "README.md"
SECTION = README.read_text().partition("## Acting as a worker")[2].partition("\n## ")[0]
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", SECTION, re.DOTALL | re.MULTILINE)
PYTHON = [block for language, block in BLOCKS if language == "python"]
SHELL = [line for language, block in BLOCKS if not language and "curl" not in block for line in block.splitlines()]
HTTP = [block for _, block in BLOCKS if "curl" in block]


@pytest.fixture
def here(onboard: Driver, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Driver]:
    """A process whose settings lead to a simulated Deel, where the README's worker is onboarded."""
    onboard.hire("c-42")
    onboard.carry("c-42")
    settings = {
        "DATABASE_URL": str(onboard.store.engine.url),
        "DEEL_URL": onboard.deel.url,
        "DEEL_TOKEN": onboard.deel.org_token,
        "DEEL_RATE": "1000",
        "VAULT_KEYS": "k1:" + "A" * 43 + "=",
    }
    for name, value in settings.items():
        monkeypatch.setenv(f"ONBOARDING_{name}", value)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "passport.pdf").write_bytes(b"%PDF-1.7")
    yield onboard
    for access in acting._shared.values():
        access.close()
    acting._shared.clear()


def test_the_python_of_the_readme_runs(here: Driver, capsys: pytest.CaptureFixture[str]):
    """The first acts; the second, of a worker who is not known, says why not."""
    assert len(PYTHON) == 2
    seen: dict[str, object] = {}
    for example in PYTHON:
        exec(example, seen)
    assert seen["me"]["email"] == "c-42@example.com"
    assert [each["name"] for each in seen["documents"]] == ["Passport", "Proof of address"]
    assert "no token for contract c-43" in capsys.readouterr().out


def test_the_async_twin_of_the_readmes_client(here: Driver):
    """`async with` where the README has `with`."""

    async def act() -> str:
        async with onboarding.as_worker("c-42", because="fetch payslips") as deel:
            answer = await deel.get("/people/me")
            return str(answer.json()["email"])

    assert asyncio.run(act()) == "c-42@example.com"


def test_the_commands_of_the_readme_run(here: Driver):
    """Each as it is typed; after them the document is uploaded and the agreement signed."""
    assert len(SHELL) == 6
    for line in SHELL:
        program, *words = shlex.split(line, comments=True)
        result = CliRunner().invoke(cli, words)
        assert (program, result.exit_code) == ("onboarding", 0), result.output
    desk = here.deel.desk_of("c-42")
    assert (desk.papers[0].filename, desk.signature) == ("passport.pdf", "Ada Lovelace")


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_http_of_the_readme_runs(here: Driver, monkeypatch: pytest.MonkeyPatch):
    """As it is typed, but for the host: Deel's answer comes back, and the token that lives."""
    ((script),) = HTTP
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    with closing(Access.from_settings(load())) as access, serving(app_of(TokenService(access).routes())) as port:
        script = script.replace("https://onboarding.internal", f"http://127.0.0.1:{port}").replace("curl", "curl -sS")
        ran = subprocess.run(["bash", "-euc", script], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    documents, end = json.JSONDecoder().raw_decode(ran.stdout)
    assert [each["name"] for each in documents["data"]["documents"]] == ["Passport", "Proof of address"]
    assert json.loads(ran.stdout[end:])["token"] == here.deel.live_token("c-42")
