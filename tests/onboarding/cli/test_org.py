"""`org`: tokens of organisations' own."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from pydantic import SecretStr
from structlog.testing import capture_logs

from onboarding.budget import fingerprint_of
from onboarding.cli.main import cli
from onboarding.runs import Reason, State
from onboarding.simulator import Simulator
from onboarding.store import org_tokens, organizations
from tests.onboarding.cli.conftest import Desk
from tests.onboarding.store.rows import KEYRING, ORG, add_run
from tests.onboarding.worlds import driver

SCOPES = ("contracts:read", "people:write", "admin:worker", "organizations:read")


def kept(onboarding: Desk) -> str | None:
    own = onboarding.store.read(lambda db: org_tokens.find(db, ORG))
    return own and onboarding.store.read(lambda db: org_tokens.reveal(db, KEYRING, ORG, own)).get_secret_value()


def file_with(folder: Path, token: str) -> str:
    path = folder / "token"
    path.write_text(f"{token}\n")
    return str(path)


def test_a_token_is_asked_for_and_not_shown(onboarding: Desk, deel: Simulator):
    """It goes into the vault, after Deel took it; what it lacks is told."""
    token = deel.add_token(SCOPES[1:])
    result = CliRunner().invoke(cli, ["org", "token", "set", ORG], obj=onboarding.shell, input=f"{token}\n")
    assert result.exit_code == 0, result.output
    assert kept(onboarding) == token
    assert token not in result.output
    assert "FAILED  scope contracts:read" in result.stdout
    assert f"{ORG}: its token is in the vault" in result.stdout
    assert [did for did, *_ in onboarding.audit()] == ["org_token_set"]


def test_runs_that_waited_for_it_go_on(onboarding: Desk, deel: Simulator, tmp_path: Path):
    """Without a second command; a pause of an engineer's stays."""
    add_run(onboarding.store, state="waiting", reason="org_token_missing")
    onboarding.store.write(lambda db: organizations.pause(db, ORG, Reason.ORG_TOKEN_MISSING, None))
    path = file_with(tmp_path, deel.add_token(SCOPES))
    assert onboarding.json("org", "token", "set", ORG, "--file", path)["resumed"]
    onboarding.store.write(lambda db: organizations.pause(db, ORG, Reason.PAUSED, None, probe=False))
    again = onboarding.json("org", "token", "set", ORG, "--file", path)
    assert (again["replaced"], again["resumed"]) == (True, False)
    assert onboarding.store.read(lambda db: organizations.paused_reason(db, ORG)) == Reason.PAUSED


def test_what_deel_refuses_is_not_stored(
    onboarding: Desk, deel: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Exit 1; nor is it where Deel does not answer."""
    result = onboarding("org", "token", "set", ORG, "--file", file_with(tmp_path, "canary-no-token-of-deels"))
    assert result.exit_code == 1
    assert "nothing was stored" in result.stderr
    assert "canary" not in result.output
    monkeypatch.setenv("ONBOARDING_DEEL_URL", "http://127.0.0.1:1/rest/v2")
    assert onboarding("org", "token", "set", ORG, "--file", file_with(tmp_path, deel.org_token)).exit_code == 1
    assert kept(onboarding) is None


@pytest.mark.parametrize("token", ["", "two words", "t\u00f6ken"])
def test_what_is_no_token_is_wrong_usage(onboarding: Desk, tmp_path: Path, token: str):
    """Exit 2, and its text is not quoted."""
    result = onboarding("org", "token", "set", ORG, "--file", file_with(tmp_path, token))
    assert result.exit_code == 2
    assert not token or token not in result.output


def test_an_id_that_no_event_can_name_is_wrong_usage(onboarding: Desk):
    """Exit 2, before anything is asked."""
    assert onboarding("org", "token", "set", "org 7").exit_code == 2


def test_the_list(onboarding: Desk, deel: Simulator, tmp_path: Path):
    """Who has a token of its own, who is paused, how many runs have not ended."""
    assert onboarding.json("org", "list") == []
    assert "onboarding org token set" in onboarding("org", "list").stderr
    path = file_with(tmp_path, deel.add_token(SCOPES))
    onboarding("org", "token", "set", ORG, "--file", path)
    add_run(onboarding.store)
    (row,) = onboarding.json("org", "list")
    assert (row["organization_id"], row["active_runs"], row["paused_reason"]) == (ORG, 1, None)
    assert row["token_fingerprint"] in onboarding("org", "list").stdout


def test_a_removed_token_is_gone_and_its_organisation_waits(onboarding: Desk, deel: Simulator, tmp_path: Path):
    """Its runs would else go on by the token of the settings, which is another organisation's."""
    assert onboarding("org", "remove", ORG).exit_code == 3
    onboarding("org", "token", "set", ORG, "--file", file_with(tmp_path, deel.add_token(SCOPES)))
    assert onboarding.json("org", "remove", ORG, "--because", "left us")["removed"]
    assert kept(onboarding) is None
    assert onboarding.store.read(lambda db: organizations.paused_reason(db, ORG)) == Reason.PAUSED
    assert [did for did, *_ in onboarding.audit()] == ["org_token_set", "org_token_removed"]


def test_no_probe_goes_by_another_token_once_it_is_removed(onboarding: Desk, deel: Simulator, tmp_path: Path):
    """An engineer's pause takes the place of Deel's, whose probes would go by the token of the settings."""
    onboarding("org", "token", "set", ORG, "--file", file_with(tmp_path, deel.add_token(SCOPES)))
    onboarding.store.write(lambda db: organizations.pause(db, ORG, Reason.SCOPE_MISSING, None))
    onboarding("org", "remove", ORG)
    (paused,) = onboarding.store.read(organizations.paused)
    assert (paused.paused_reason, paused.probe_at) == (Reason.PAUSED, None)
    again = onboarding("org", "token", "set", ORG, "--file", file_with(tmp_path, deel.add_token(SCOPES)))
    assert f"onboarding resume {ORG}" in again.stderr


def test_home_has_one_token(onboarding: Desk, deel: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """That of the settings, where there is one: the other would be used until Deel has told whose it is."""
    path = file_with(tmp_path, deel.add_token(SCOPES))
    monkeypatch.setenv("ONBOARDING_DEEL_TOKEN", deel.org_token)
    assert onboarding("org", "token", "set", "home", "--file", path).exit_code == 2
    fingerprint = fingerprint_of(SecretStr(deel.org_token))
    onboarding.store.write(lambda db: organizations.learn(db, fingerprint, organization_id=deel.organization_id))
    refused = onboarding("org", "token", "set", "home", "--file", path)
    assert f"onboarding org token set {deel.organization_id}" in refused.stderr
    monkeypatch.delenv("ONBOARDING_DEEL_TOKEN")
    assert onboarding("org", "token", "set", "home", "--file", path).exit_code == 0


def test_a_pause_for_a_scope_ends_where_the_new_token_has_all(onboarding: Desk, deel: Simulator, tmp_path: Path):
    """One that lacks one does not end it: its runs would be refused again."""
    onboarding.store.write(lambda db: organizations.pause(db, ORG, Reason.SCOPE_MISSING, None))
    lacking = file_with(tmp_path, deel.add_token(SCOPES[1:]))
    assert not onboarding.json("org", "token", "set", ORG, "--file", lacking)["resumed"]
    path = file_with(tmp_path, deel.add_token(SCOPES))
    assert onboarding.json("org", "token", "set", ORG, "--file", path)["resumed"]
    assert onboarding.store.read(organizations.paused) == []


@pytest.mark.parametrize("of_settings", [False, True], ids=["its own token", "the configured one's organisation"])
def test_a_rejected_token_is_one_alert_and_is_replaced_while_workers_run(
    onboarding: Desk,
    sqlite_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    of_settings: bool,
):
    """Ten runs meet the refusal, one alarm; the same worker process goes on with the new token at once."""
    with driver(sqlite_url) as worker:
        name = worker.deel.organization_id
        monkeypatch.setenv("ONBOARDING_DEEL_URL", worker.deel.url)
        old = worker.deel.org_token
        if not of_settings:
            old = worker.deel.add_token(SCOPES)
            assert onboarding("org", "token", "set", name, "--file", file_with(tmp_path, old)).exit_code == 0
        contracts = [f"c-{number}" for number in range(10)]
        for contract in contracts:
            worker.hire(contract, organization_id=name)
        worker.deel.revoke_token(old)
        with capture_logs() as logs:
            for contract in contracts:
                worker.carry(contract)
        assert [line["event"] for line in logs].count("organisation_paused") == 1
        assert [row.id for row in onboarding.store.read(organizations.paused)] == [name]
        path = file_with(tmp_path, worker.deel.add_token(SCOPES))
        assert onboarding.json("org", "token", "set", name, "--file", path)["resumed"]
        assert {worker.carry(contract) for contract in contracts} == {State.COMPLETED}
