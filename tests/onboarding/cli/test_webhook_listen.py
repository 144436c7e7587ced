"""`webhook listen`: what arrives, live."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner
from pydantic import SecretStr
from sqlalchemy import insert

from onboarding.cli import webhook_listen
from onboarding.cli.main import cli
from onboarding.cli.webhook_listen import Seen
from onboarding.events import Message
from onboarding.intake import Intake
from onboarding.simulator import Simulator
from onboarding.store import arrivals
from onboarding.store.tables import events
from tests.onboarding.cli.conftest import Desk
from tests.onboarding.store.rows import KEYRING, LINE


def arrive(onboarding: Desk, deel: Simulator, contract: str, *, simulated: bool = False, signed: bool = True) -> None:
    deel.has_contract(contract)
    webhook = deel.webhook("contract.created", contract, is_simulation=simulated)
    keys = {label: SecretStr(key) for label, key in deel.signing_keys.items()}
    headers = webhook.headers if signed else {}
    Intake(onboarding.store, KEYRING, keys, LINE).accept(Message(webhook.body, headers, "contract.created"))


def test_what_arrives_is_shown_as_it_does(onboarding: Desk, deel: Simulator, monkeypatch: pytest.MonkeyPatch):
    """What was there before is not, unless it is asked for; aligned, and plain in a pipe."""
    arrive(onboarding, deel, "c-before")
    looks = iter([lambda: arrive(onboarding, deel, "c-1"), lambda: arrive(onboarding, deel, "c-2", simulated=True)])
    monkeypatch.setattr(webhook_listen.time, "sleep", lambda _: next(looks, lambda: None)())
    result = onboarding("webhook", "listen", "--for", "0.5")
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["received", "type", "contract", "became", "signed", "age"]
    assert "c-before" not in result.stdout
    first, second = (line for line in lines if "c-" in line)
    assert first.split()[1:5] == ["contract.created", "c-1", "accepted", "yes"]
    assert second.split()[1:6] == ["contract.created", "c-2", "ignored,", "simulation", "yes"]
    assert first.index("c-1") == second.index("c-2") == lines[0].index("contract")
    assert "\x1b" not in result.stdout
    assert "c-before" in onboarding("webhook", "listen", "--for", "0", "--last", "3").stdout


def test_on_a_terminal_there_are_colours(onboarding: Desk, deel: Simulator, monkeypatch: pytest.MonkeyPatch):
    """By what became of it."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    arrive(onboarding, deel, "c-1")
    result = CliRunner().invoke(
        cli, ["webhook", "listen", "--for", "0", "--last", "1"], obj=onboarding.shell, color=True
    )
    assert "\x1b[32m" in result.stdout
    assert "Ctrl-C" in result.stderr


def test_json_is_a_line_for_each(onboarding: Desk, deel: Simulator):
    """For `jq`; nothing personal, and whether Deel's signature proved it."""
    arrive(onboarding, deel, "c-1")
    arrive(onboarding, deel, "c-2", signed=False)
    result = onboarding("webhook", "listen", "--for", "0", "--last", "9", "--json")
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(each["contract_id"], each["disposition"], each["signed"]) for each in found] == [
        ("c-1", "accepted", True),
        ("c-2", "accepted", False),
    ]
    assert "@" not in result.stdout


def test_one_that_was_committed_late_is_not_missed(onboarding: Desk):
    """A number that was given earlier is seen later: each is shown, and once."""

    def add(number: int) -> None:
        row: dict[str, Any] = {"id": number, "source": "deel", "disposition": "ignored", "contract_id": f"c-{number}"}
        onboarding.store.write(lambda db: db.execute(insert(events).values(**row)))

    def look() -> list[int]:
        return [row.id for row in seen.new(onboarding.store.read(lambda db: arrivals.since(db, seen.look_from)))]

    add(1)
    seen = Seen(onboarding.store.read(arrivals.last_id))
    add(3)
    assert look() == [3]
    add(2)
    assert (look(), look()) == ([2], [])
