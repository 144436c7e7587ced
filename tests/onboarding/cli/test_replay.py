"""`replay` and `cancel`."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import insert, select

from onboarding.cli.main import cli
from onboarding.runs import Reason, Step
from onboarding.store import organizations, tokens
from onboarding.store import runs as run_statements
from onboarding.store.engine import Store
from onboarding.store.line import Line
from onboarding.store.sql import from_now
from onboarding.store.tables import notifications
from tests.onboarding.cli.conftest import Desk, add_completed
from tests.onboarding.store.rows import KEYRING, ORG, add_run, claim, run_row

AT = datetime(2026, 11, 24, tzinfo=UTC)


def states(store: Store, *run_ids: str) -> list[tuple[str, str]]:
    return [(run_row(store, run_id).state, run_row(store, run_id).step) for run_id in run_ids]


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch, onboarding: Desk) -> Any:
    """Types a command on a terminal and answers its question."""
    monkeypatch.setattr("onboarding.cli.replay.sys", SimpleNamespace(stdin=SimpleNamespace(isatty=lambda: True)))

    def typed(word: str, *words: str) -> Result:
        return CliRunner().invoke(cli, words, obj=onboarding.shell, input=f"{word}\n")

    return typed


def test_runs_go_on_where_they_stopped(onboarding: Desk):
    """By run id or contract id, each once; nudged after the commit; who, what and why are on record."""
    add_run(onboarding.store, "a", state="failed", step="ensure_profile", reason="deel_unavailable", tries=12)
    add_completed(onboarding.store, "b")
    replayed = onboarding.json("replay", "a", "contract-of-b", "b", "--because", "OPS-1", "--yes")
    assert replayed == {
        "replayed": [
            {"run_id": "a", "contract_id": "contract-of-a", "step": "ensure_profile", "nudged": True},
            {"run_id": "b", "contract_id": "contract-of-b", "step": "verify_token", "nudged": True},
        ],
        "held": [],
        "moved": [],
        "paused_organizations": [],
        "tokens_killed": 0,
    }
    assert states(onboarding.store, "a", "b") == [("pending", "ensure_profile"), ("pending", "verify_token")]
    assert onboarding.shell.calls == [
        ("nudge", "a", "contract-of-a", Step.ENSURE_PROFILE),
        ("nudge", "b", "contract-of-b", Step.VERIFY_TOKEN),
    ]
    assert onboarding.audit() == [("replay", "contract-of-a", "OPS-1"), ("replay", "contract-of-b", "OPS-1")]


def test_one_unknown_stops_all(onboarding: Desk):
    """Exit 3 with the unknown ones named, nothing done."""
    add_run(onboarding.store, state="failed")
    result = onboarding("replay", "run-1", "nix", "nada", "--yes")
    assert (result.exit_code, result.stdout) == (3, "")
    assert "nix, nada" in result.stderr
    assert states(onboarding.store, "run-1") == [("failed", "contract_created")]
    assert onboarding.audit() == onboarding.shell.calls == []


def test_a_question_nobody_can_answer(onboarding: Desk):
    """No terminal and no --yes: exit 2 after the plan, nothing done."""
    add_run(onboarding.store, state="failed")
    result = onboarding("replay", "run-1")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Runs to replay: 1" in result.stderr
    assert "--yes" in result.stderr
    assert states(onboarding.store, "run-1") == [("failed", "contract_created")]


def test_the_plan_is_shown_and_asked_about(onboarding: Desk, answer):
    """Yes does it; no does nothing and is exit 1."""
    add_run(onboarding.store, state="failed", reason="crash_loop")
    refused = answer("n", "replay", "run-1")
    assert refused.exit_code == 1
    assert "crash_loop  from contract_created" in refused.stderr
    assert states(onboarding.store, "run-1") == [("failed", "contract_created")]
    assert answer("y", "replay", "run-1").exit_code == 0
    assert states(onboarding.store, "run-1") == [("pending", "contract_created")]


def test_a_long_plan_is_cut(onboarding: Desk, monkeypatch: pytest.MonkeyPatch):
    """The runs beyond the list are counted."""
    monkeypatch.setattr("onboarding.cli.replay.LISTED", 1)
    for run_id in ("a", "b", "c"):
        add_run(onboarding.store, run_id, state="failed")
    said = onboarding("replay", "a", "b", "c").stderr
    assert "and 2 more" in said
    assert "Runs to replay: 3" in said


def test_an_earlier_step(onboarding: Desk):
    """--from repeats steps."""
    add_completed(onboarding.store)
    assert onboarding("replay", "run-1", "--from", "ensure_profile", "--yes").exit_code == 0
    assert states(onboarding.store, "run-1") == [("pending", "ensure_profile")]


@pytest.mark.parametrize("step", ["issue_token", "verify_token", "notify"])
def test_no_step_is_skipped(onboarding: Desk, step: str):
    """A later step than where it stands lacks what the ones between bring: exit 1, no run is replayed."""
    add_completed(onboarding.store, "done")
    add_run(onboarding.store, state="failed", step="ensure_profile")
    result = onboarding("replay", "done", "run-1", "--from", step, "--yes")
    assert result.exit_code == 1
    assert "stands at ensure_profile" in result.stderr
    assert states(onboarding.store, "done", "run-1") == [("completed", "notify"), ("failed", "ensure_profile")]


def test_a_token_dies_only_on_purpose(onboarding: Desk):
    """The plan counts live tokens that --reissue kills, expired ones not; without it none."""
    add_completed(onboarding.store, "a")
    add_completed(onboarding.store, "b", life_s=-60.0)
    add_run(onboarding.store, "c", state="failed")
    assert "this kills: 0" in onboarding("replay", "a", "b", "c").stderr
    assert "this kills: 1" in onboarding("replay", "a", "b", "c", "--reissue").stderr
    assert onboarding.json("replay", "a", "--reissue", "--yes")["tokens_killed"] == 1
    assert states(onboarding.store, "a") == [("pending", "issue_token")]
    assert run_row(onboarding.store, "a").reissue_asked
    profile = "profile-of-a"  # nothing is killed yet: that is the step's business
    assert onboarding.store.read(lambda db: tokens.live(db, KEYRING, profile)) is not None


def test_two_contracts_of_one_worker_have_one_token(onboarding: Desk):
    """It dies once."""
    add_completed(onboarding.store, "a")
    add_run(onboarding.store, "b", state="completed", step="notify", hris_profile_id="profile-of-a")
    assert "this kills: 1" in onboarding("replay", "a", "b", "--reissue").stderr


def test_a_reissue_has_to_begin_at_the_issue(onboarding: Desk):
    """--reissue with a later --from would leave the wish for some other day: exit 2."""
    add_completed(onboarding.store)
    assert onboarding("replay", "run-1", "--reissue", "--from", "verify_token", "--yes").exit_code == 2
    assert onboarding("replay", "run-1", "--reissue", "--from", "issue_token", "--yes").exit_code == 0


def test_a_run_at_work_is_left_alone(onboarding: Desk):
    """The others are replayed; exit 1 names it and what to type."""
    add_run(onboarding.store, "held")
    claim(onboarding.store, "held")
    add_run(onboarding.store, "free", state="failed")
    result = onboarding("replay", "held", "free", "--yes")
    assert result.exit_code == 1
    assert "not replayed: run held" in result.stderr
    assert "onboarding replay contract-of-held" in result.stderr
    assert "replayed 1 of 2" in result.stdout
    assert onboarding.audit() == [("replay", "contract-of-free", "")]
    document = onboarding.json("replay", "held", "--yes", code=1)
    assert document["held"] == [{"run_id": "held", "contract_id": "contract-of-held", "step": "contract_created"}]


def test_without_a_broker_the_reconciler_is_told_of(onboarding: Desk):
    """The row is written; no message went out; exit 0."""
    onboarding.shell.broker = False
    add_run(onboarding.store, state="failed")
    result = onboarding("replay", "run-1", "--yes")
    assert result.exit_code == 0
    assert "reconciler" in result.stderr


def test_targets_that_refused_are_asked_again(onboarding: Desk):
    """In the same transaction as the replay."""
    add_run(onboarding.store, state="failed", step="notify", reason="notify_rejected")
    row = {"message_id": "m", "target": "t", "run_id": "run-1", "refused_at": AT, "http_status": 410}
    onboarding.store.write(lambda db: db.execute(insert(notifications).values(**row)))
    assert onboarding("replay", "run-1", "--yes").exit_code == 0
    refused = select(notifications.c.refused_at)
    assert onboarding.store.read(lambda db: db.execute(refused).scalar_one()) is None


def test_a_run_that_moved_since_the_plan_is_left_alone(onboarding: Desk, monkeypatch: pytest.MonkeyPatch):
    """The plan is frozen: what a worker did between the question and the answer is not undone."""
    add_run(onboarding.store, state="failed")

    def meanwhile(*_: object, yes: bool) -> None:
        row = onboarding.store.read(lambda db: run_statements.find(db, "run-1"))
        onboarding.store.write(lambda db: run_statements.replay(db, row, run_statements.Replay()))

    monkeypatch.setattr("onboarding.cli.replay._ask", meanwhile)
    document = onboarding.json("replay", "run-1", "--yes", code=1)
    assert (document["held"], [each["run_id"] for each in document["moved"]]) == ([], ["run-1"])
    assert run_row(onboarding.store).fence == 1


def test_a_replay_in_a_paused_organisation_waits(onboarding: Desk):
    """It is done, and it says what it waits for and how to end that."""
    add_run(onboarding.store, state="failed", reason="deel_unavailable")
    onboarding.store.write(lambda db: organizations.pause(db, ORG, Reason.PAUSED, None, probe=False))
    result = onboarding("replay", "run-1", "--yes")
    assert result.exit_code == 0
    assert f"onboarding resume {ORG}" in result.stderr
    assert onboarding.json("replay", "run-1", "--yes")["paused_organizations"] == [ORG]


@pytest.mark.parametrize("state", ["pending", "waiting", "failed"])
def test_cancel_stops_what_has_not_ended(onboarding: Desk, state: str):
    """And leaves an audit line with the reason."""
    add_run(onboarding.store, state=state)
    assert onboarding.json("cancel", "contract-of-run-1", "--because", "left, OPS-3") == {
        "cancelled": [{"run_id": "run-1", "contract_id": "contract-of-run-1"}],
        "cancelled_before": [],
    }
    assert states(onboarding.store, "run-1") == [("cancelled", "contract_created")]
    assert onboarding.audit() == [("cancel", "contract-of-run-1", "left, OPS-3")]


def test_cancel_twice_is_cancel_once(onboarding: Desk):
    """It stays cancelled, exit 0, one audit line; the second does not claim to have done it."""
    add_run(onboarding.store, reason="not_eor")
    first, second = (onboarding("cancel", "run-1") for _ in range(2))
    assert (first.exit_code, second.exit_code) == (0, 0)
    assert "was cancelled before" in second.stdout
    assert "was cancelled before" not in first.stdout
    assert onboarding.json("cancel", "run-1")["cancelled"] == []
    assert Reason.NOT_EOR.advice not in onboarding("show", "run-1").stdout
    assert len(onboarding.audit()) == 1


def test_a_completed_run_cannot_be_cancelled(onboarding: Desk):
    """Exit 1 with the reason; the others of the command are not cancelled either."""
    add_run(onboarding.store, "free")
    add_completed(onboarding.store, "done")
    result = onboarding("cancel", "free", "done")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "completed" in result.stderr
    assert states(onboarding.store, "free", "done") == [("pending", "contract_created"), ("completed", "notify")]
    assert onboarding.audit() == []


def test_one_unknown_cancels_none(onboarding: Desk):
    """Exit 3, naming it."""
    add_run(onboarding.store)
    result = onboarding("cancel", "run-1", "nix")
    assert result.exit_code == 3
    assert "nix" in result.stderr
    assert states(onboarding.store, "run-1") == [("pending", "contract_created")]


@pytest.mark.parametrize("command", ["replay", "cancel", "show", "token", "consent", "pause", "resume"])
def test_nothing_named_is_wrong_usage(onboarding: Desk, command: str):
    """Exit 2."""
    assert onboarding(command).exit_code == 2


def test_replays_wait_their_turn_where_the_line_is_full(onboarding: Desk):
    """Ten thousand of them are no flood of messages, and new events find places of their own."""
    for number in range(Line.for_rate(5, 60).behind - 1):
        add_run(onboarding.store, f"busy-{number}", nudge_at=from_now(60))
    for number in range(3):
        add_run(onboarding.store, f"run-{number}", state="failed", reason="deel_unavailable")
    result = onboarding("replay", "run-0", "run-1", "run-2", "--yes")
    assert result.exit_code == 0
    assert len(onboarding.shell.calls) == 1
    assert "replayed 3 of 3" in result.stdout
    assert "2 without a message yet" in result.stderr


def test_who_cannot_be_asked_is_given_the_whole_command(onboarding: Desk):
    """Each name and each wish: what is typed next must not be another replay."""
    for number in range(25):
        add_run(onboarding.store, f"run-{number}", state="failed", step="verify_token")
    names = [f"run-{number}" for number in range(25)]
    typed = ["replay", *names, "--from", "issue_token", "--reissue", "--because", "Deel is back"]
    result = onboarding(*typed)
    assert result.exit_code == 2
    assert f"next  onboarding {shlex.join([*typed, '--yes'])}" in result.stderr
    assert onboarding(*typed, "--yes").exit_code == 0
