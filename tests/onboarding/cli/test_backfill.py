"""`backfill`: what an engineer sees of it."""

from __future__ import annotations

import pytest

from onboarding.cli import backfill
from onboarding.simulator import Simulator
from onboarding.store import runs
from tests.onboarding.cli.conftest import Desk


@pytest.fixture
def deel(deel: Simulator, monkeypatch: pytest.MonkeyPatch) -> Simulator:
    """With a token in the settings."""
    monkeypatch.setenv("ONBOARDING_DEEL_TOKEN", deel.org_token)
    return deel


def hire(deel: Simulator, count: int) -> None:
    for number in range(count):
        deel.has_contract(f"c-{number}", invited=True)


def test_runs_are_made_and_sent_as_there_is_room(onboarding: Desk, deel: Simulator, monkeypatch: pytest.MonkeyPatch):
    """Progress beside the answer; the second time nothing is made."""
    monkeypatch.setattr(backfill.backfill, "MOST_WAITING", 1000)
    hire(deel, 120)
    result = onboarding("backfill", "--because", "webhooks were off")
    assert result.exit_code == 0, result.output
    name = deel.organization_id
    assert result.stdout == f"{name}: 120 runs made; 120 contracts listed in 2 calls, 0 passed over\n"
    assert f"{name}: page 2, 21 contracts, 21 runs made" in result.stderr
    assert {call[0] for call in onboarding.shell.calls} == {"nudge"}
    assert len(onboarding.store.read(lambda db: runs.listing(db))) == 120
    (again,) = onboarding.json("backfill")
    assert (again["runs_made"], again["calls"], again["failure"]) == (0, 2, None)
    assert [did for did, *_ in onboarding.audit()] == ["backfill"] * 2


def test_the_next_page_waits_until_most_have_had_their_turn(
    onboarding: Desk, deel: Simulator, monkeypatch: pytest.MonkeyPatch
):
    """So that what the list told is still fresh when it is used."""
    waiting = iter([300, 250, 10, 0])
    monkeypatch.setattr(backfill.lines, "waiting_behind", lambda *_: next(waiting))
    monkeypatch.setattr(backfill, "LOOK_S", 0.0)
    hire(deel, 120)
    result = onboarding("backfill")
    assert result.exit_code == 0
    assert "300 runs wait for their turn" in result.stderr
    assert list(waiting) == []


def test_only_contracts_from_a_day_on(onboarding: Desk, deel: Simulator):
    """The company's old ones stay as they are."""
    hire(deel, 3)
    (filled,) = onboarding.json("backfill", "--since", "2200-01-01")
    assert (filled["listed"], filled["passed_over"], filled["runs_made"]) == (3, 3, 0)


def test_a_list_that_cannot_be_read_is_told(onboarding: Desk, deel: Simulator, monkeypatch: pytest.MonkeyPatch):
    """Exit 1, the reason, and what to type."""
    monkeypatch.setenv("ONBOARDING_DEEL_TOKEN", "no-token-of-deels")
    result = onboarding("backfill")
    assert result.exit_code == 1
    assert "home: org_token_rejected (HTTP 401" in result.stderr
    assert "onboarding doctor" in result.stderr
    assert "no-token-of-deels" not in result.output


@pytest.mark.parametrize("words", [("backfill",), ("backfill", "--org", "org-9")])
def test_without_a_token_nothing_can_be_listed(onboarding: Desk, words: tuple[str, ...]):
    """Exit 3, and how to put one in."""
    result = onboarding(*words)
    assert result.exit_code == 3
    assert "onboarding org token set" in result.stderr
