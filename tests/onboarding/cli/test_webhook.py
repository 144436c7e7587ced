"""`webhook create|list|check|delete`: what an engineer sees of the subscription at Deel."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from onboarding.deel_events import SUBSCRIBED
from onboarding.simulator import Simulator
from tests.onboarding.cli.conftest import Desk

URL = "https://hooks.example.com/webhooks/deel"
KEY = "canary-signing-key-1"


@pytest.fixture
def deel(deel: Simulator, monkeypatch: pytest.MonkeyPatch) -> Simulator:
    """With a token in the settings, and a key for the label."""
    monkeypatch.setenv("ONBOARDING_DEEL_TOKEN", deel.org_token)
    monkeypatch.setenv("ONBOARDING_WEBHOOK_SECRETS", f"onboarding={KEY}")
    return deel


def create(onboarding: Desk, *more: str) -> dict[str, object]:
    made: dict[str, object] = onboarding.json("webhook", "create", "--url", URL, "--label", "onboarding", *more)
    return made


def test_it_is_made_once_with_the_labels_key(onboarding: Desk, deel: Simulator):
    """Every understood event; the second time it is found; the key is shown nowhere."""
    made = create(onboarding, "--because", "first set-up")
    assert (made["did"], made["status"], made["events"]) == ("made", "enabled", list(SUBSCRIBED))
    assert create(onboarding)["did"] == "kept"
    (there,) = deel.subscriptions
    assert (there.id, there.signing_key, there.url) == (made["id"], KEY, URL)
    assert onboarding.audit() == [("webhook_made", None, "first set-up")]
    for words in (("list",), ("list", "--json"), ("check",), ("create", "--url", URL, "--label", "onboarding")):
        assert "canary" not in onboarding("webhook", *words).output


def test_a_key_is_made_kept_and_never_shown(
    onboarding: Desk, deel: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """In a file for its owner alone, in the form of the setting; who types it again uses the same key."""
    monkeypatch.delenv("ONBOARDING_WEBHOOK_SECRETS")
    path = tmp_path / "hook.keys"
    result = onboarding("webhook", "create", "--url", URL, "--label", "onboarding", "--key-file", str(path))
    assert result.exit_code == 0, result.output
    (there,) = deel.subscriptions
    key = there.signing_key or ""
    assert path.read_text() == f"onboarding={key}\n"
    assert len(key) >= 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert key not in result.output
    assert f"ONBOARDING_WEBHOOK_SECRETS_FILE={path}" in result.stderr
    assert create(onboarding, "--key-file", str(path))["did"] == "kept"
    monkeypatch.setenv("ONBOARDING_WEBHOOK_SECRETS_FILE", str(path))
    assert create(onboarding)["did"] == "kept"


def test_a_key_is_kept_before_deel_hears_of_it(
    onboarding: Desk, deel: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The answer is lost, the subscription may be there: the next try has its key, and doubles nothing."""
    monkeypatch.delenv("ONBOARDING_WEBHOOK_SECRETS")
    path = tmp_path / "hook.keys"
    words = ("webhook", "create", "--url", URL, "--label", "onboarding", "--key-file", str(path))
    deel.cuts_connection(after="POST /webhooks")
    assert onboarding(*words).exit_code == 1
    assert onboarding(*words).exit_code == 0
    (there,) = deel.subscriptions
    assert path.read_text() == f"onboarding={there.signing_key}\n"


def test_without_a_key_nothing_is_done(
    onboarding: Desk, deel: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Exit 2; nor is a file overwritten that holds others."""
    monkeypatch.delenv("ONBOARDING_WEBHOOK_SECRETS")
    result = onboarding("webhook", "create", "--url", URL, "--label", "onboarding")
    assert (result.exit_code, "--key-file" in result.stderr) == (2, True)
    path = tmp_path / "hook.keys"
    path.write_text("another=canary-key\n")
    result = onboarding("webhook", "create", "--url", URL, "--label", "onboarding", "--key-file", str(path))
    assert (result.exit_code, "canary" in result.output) == (2, False)
    assert path.read_text() == "another=canary-key\n"
    assert deel.ledger.count() == 0


@pytest.mark.parametrize(
    "words",
    [("--url", "http://a.example/x", "--label", "l"), ("--url", URL, "--label", "a=b"), ("--url", URL, "--label", "")],
)
def test_what_can_never_work_is_wrong_usage(onboarding: Desk, deel: Simulator, words: tuple[str, ...]):
    """Deel sends to https only; a label with `=` or `,` has no place in the setting."""
    assert onboarding("webhook", "create", *words).exit_code == 2
    assert deel.ledger.count() == 0


def test_check_says_what_is_wrong_and_what_to_type(onboarding: Desk, deel: Simulator):
    """Exit 1; what it says to type mends it."""
    assert onboarding("webhook", "check").exit_code == 3
    create(onboarding)
    assert onboarding("webhook", "check").exit_code == 0
    deel.subscriptions[0].status = "disabled"
    assert onboarding.json("webhook", "check", code=1) == [{"label": "onboarding", "url": URL, "trouble": "disabled"}]
    result = onboarding("webhook", "check")
    assert "FAILED" in result.stdout
    assert f"onboarding webhook create --url {URL} --label onboarding --org {deel.organization_id}" in result.stdout
    assert create(onboarding)["did"] == "changed"
    assert onboarding("webhook", "check").exit_code == 0
    deel.subscriptions[0].signing_key = "another"
    assert onboarding.json("webhook", "check", code=1)[0]["trouble"] == "key_differs"


def test_the_list_and_the_end(onboarding: Desk, deel: Simulator):
    """Those made from here are marked; a deleted one is expected no more; an unknown id is exit 3."""
    assert onboarding.json("webhook", "list") == []
    made = create(onboarding)
    (row,) = onboarding.json("webhook", "list")
    assert (row["id"], row["kept_here"], "signing_key" in row) == (made["id"], True, False)
    assert onboarding("webhook", "delete", "nix").exit_code == 3
    assert onboarding.json("webhook", "delete", str(made["id"]), "--because", "moved")["deleted"]
    assert deel.subscriptions == []
    assert onboarding("webhook", "check").exit_code == 3
    assert onboarding.audit()[-1] == ("webhook_deleted", None, "moved")


def test_a_scope_that_is_missing_is_named(onboarding: Desk, deel: Simulator, monkeypatch: pytest.MonkeyPatch):
    """Exit 1, the scope, and the doctor."""
    monkeypatch.setenv("ONBOARDING_DEEL_TOKEN", deel.add_token(["webhooks:read"]))
    result = onboarding("webhook", "create", "--url", URL, "--label", "onboarding")
    assert result.exit_code == 1
    assert "webhooks:write" in result.stderr
    assert "canary" not in result.output


def test_an_organisation_goes_by_its_own_token(onboarding: Desk, deel: Simulator, tmp_path: Path):
    """Its subscription is its own."""
    path = tmp_path / "token"
    path.write_text(deel.add_token(["contracts:read", "webhooks:read", "webhooks:write"], "org-7"))
    assert onboarding("org", "token", "set", "org-7", "--file", str(path)).exit_code == 0
    create(onboarding, "--org", "org-7")
    assert [each.organization.id for each in deel.subscriptions] == ["org-7"]
    assert onboarding("webhook", "check").exit_code == 3
    assert onboarding("webhook", "check", "--org", "org-7").exit_code == 0
