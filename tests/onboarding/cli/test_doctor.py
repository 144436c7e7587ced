"""`doctor`: against the simulated Deel, and against everything that can be wrong."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from pydantic import SecretStr

from onboarding.budget import Budget, fingerprint_of
from onboarding.cli import probes
from onboarding.cli.doctor import AFTER_SETTINGS
from onboarding.cli.probes import CHECKS, FOR
from onboarding.deel_wanted import Trouble, Wanted
from onboarding.simulator import Simulator
from onboarding.store import data_keys, migrate, org_tokens, organizations, webhooks
from onboarding.store.engine import StoreUnavailable
from onboarding.store.tables import budgets as budgets_table
from onboarding.vault import Keyring
from tests.onboarding.cli.conftest import Desk
from tests.onboarding.store.rows import KEYRING

SCOPES = ("contracts:read", "people:write", "admin:worker", "organizations:read")
OTHERS = ("people:read", "webhooks:read", "webhooks:write")
AMQP = "amqp://guest:guest-canary-1@127.0.0.1:1//"


@pytest.fixture
def healthy(onboarding: Desk, deel: Simulator, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """A command line with all settings right."""
    monkeypatch.setenv("ONBOARDING_DEEL_TOKEN", deel.add_token([*SCOPES, *OTHERS]))
    return onboarding


def findings(onboarding: Desk, code: int) -> dict[str, dict[str, object]]:
    answer = onboarding.json("doctor", code=code)
    assert all(list(finding) == ["check", "ok", "detail", "hint"] for finding in answer)
    assert [finding["check"] for finding in answer] == ["settings", *AFTER_SETTINGS]
    return {finding["check"]: finding for finding in answer}


def failed(found: dict[str, dict[str, object]]) -> set[str]:
    return {check for check, finding in found.items() if not finding["ok"]}


def test_all_is_well(healthy: Desk, deel: Simulator):
    """Exit 0; the organisation is named; Deel was asked seven times, and nothing came of it."""
    found = findings(healthy, 0)
    assert found["organisation"]["detail"] == deel.organization_id
    assert found["vault keys"]["detail"] == "k1 encrypts; data keys: none yet"
    assert [call.status for call in deel.ledger] == [404, 404, 404, 200, 200, 404, 200]
    assert {found[f"scope {scope}"]["detail"] for scope in (*SCOPES[:3], *OTHERS)} == {"there"}
    assert "FAILED" not in healthy("doctor").stdout


def test_the_calls_count_against_the_budget(healthy: Desk):
    """They take slots of the budget that all processes share."""
    healthy("doctor")
    assert healthy.store.read(lambda db: db.execute(budgets_table.select()).all())


@pytest.mark.parametrize("scope", SCOPES[:3])
def test_the_missing_scope_is_named(healthy: Desk, deel: Simulator, monkeypatch: pytest.MonkeyPatch, scope: str):
    """That one and no other; what to do about it."""
    left = [other for other in SCOPES if other != scope]
    monkeypatch.setenv("ONBOARDING_DEEL_TOKEN", deel.add_token(left))
    found = findings(healthy, 1)
    assert failed(found) == {f"scope {scope}"}
    assert scope in str(found[f"scope {scope}"]["hint"])
    assert FOR[scope] in str(found[f"scope {scope}"]["detail"])


@pytest.mark.parametrize("scope", OTHERS)
def test_a_scope_that_makes_something_easier_is_named_and_no_failure(
    healthy: Desk, deel: Simulator, monkeypatch: pytest.MonkeyPatch, scope: str
):
    """What would go without it is said; onboarding goes."""
    left = [other for other in (*SCOPES, *OTHERS) if other != scope]
    monkeypatch.setenv("ONBOARDING_DEEL_TOKEN", deel.add_token(left))
    found = findings(healthy, 0)
    assert found[f"scope {scope}"]["detail"] == f"not needed: missing, {FOR[scope]}"
    assert [check for check in found if "missing" in str(found[check]["detail"])] == [f"scope {scope}"]


def test_the_documented_scopes_suffice(healthy: Desk, deel: Simulator, monkeypatch: pytest.MonkeyPatch):
    """All is well; that the organisation must then be named by the events is a hint."""
    monkeypatch.setenv("ONBOARDING_DEEL_TOKEN", deel.add_token(SCOPES[:3]))
    found = findings(healthy, 0)
    assert "organizations:read" in str(found["organisation"]["hint"])


def test_a_path_that_deel_does_not_know(healthy: Desk, monkeypatch: pytest.MonkeyPatch, deel: Simulator):
    """A 404 of that kind does not mean that the token was taken."""
    monkeypatch.setenv("ONBOARDING_DEEL_URL", deel.url.replace("/rest/v2", "/old/rest/v2"))
    found = findings(healthy, 1)
    assert "ONBOARDING_DEEL_URL" in str(found["deel"]["hint"])
    assert found["scope admin:worker"]["detail"] == "not checked"


def test_a_gateways_refusal_says_nothing_about_a_scope(healthy: Desk, deel: Simulator):
    """A page with 403 is not Deel's word."""
    deel.answers_html("POST /eor/worker", status=403)
    found = findings(healthy, 1)
    assert failed(found) == {"scope people:write"}
    assert "not known" in str(found["scope people:write"]["detail"])


def test_deel_refuses_the_token(healthy: Desk, monkeypatch: pytest.MonkeyPatch):
    """Told once; the scopes are not looked for. The token is not shown."""
    monkeypatch.setenv("ONBOARDING_DEEL_TOKEN", "deel-token-canary-77")
    found = findings(healthy, 1)
    assert "org_token_rejected" in str(found["deel"]["detail"])
    assert found["scope admin:worker"]["detail"] == "not checked"
    assert "canary" not in healthy("doctor").output


def test_deel_does_not_answer(healthy: Desk, deel: Simulator):
    """Nothing else of Deel's is asked."""
    deel.stop()
    found = findings(healthy, 1)
    assert "does not answer" in str(found["deel"]["detail"])
    assert failed(found) == set(CHECKS)


def test_an_answer_that_says_nothing_about_a_scope(healthy: Desk, deel: Simulator):
    """A 500 proves neither: `not known`, and the next scope is asked all the same."""
    deel.fails("POST /eor/worker", status=500)
    found = findings(healthy, 1)
    assert failed(found) == {"scope people:write"}
    assert "not known" in str(found["scope people:write"]["detail"])


def test_no_token(healthy: Desk, deel: Simulator, monkeypatch: pytest.MonkeyPatch):
    """Told; Deel is not asked."""
    monkeypatch.delenv("ONBOARDING_DEEL_TOKEN")
    assert "ONBOARDING_DEEL_TOKEN" in str(findings(healthy, 1)["deel"]["hint"])
    assert deel.ledger.count() == 0


def give(onboarding: Desk, organization: str, token: str) -> None:
    own = SecretStr(token)
    onboarding.store.write(lambda db: org_tokens.keep(db, KEYRING, organization, own, fingerprint_of(own)))


def test_tokens_of_organisations_own_are_enough(healthy: Desk, deel: Simulator, monkeypatch: pytest.MonkeyPatch):
    """Each has a line: what its token lacks, and that it is refused."""
    monkeypatch.delenv("ONBOARDING_DEEL_TOKEN")
    give(healthy, "org-1", deel.add_token([*SCOPES, *OTHERS], "org-1"))
    give(healthy, "org-2", deel.add_token(SCOPES[1:], "org-2"))
    give(healthy, "org-3", "deel-token-canary-77")
    found = {each["check"]: each for each in healthy.json("doctor", code=1)}
    assert "onboarding org list" in found["deel"]["detail"]
    assert found["organisation org-1"]["detail"] == "its token has every scope"
    assert not found["organisation org-2"]["ok"]
    assert "scope contracts:read missing" in found["organisation org-2"]["detail"]
    assert "contracts:read" in found["organisation org-2"]["hint"]
    assert "org_token_rejected" in found["organisation org-3"]["detail"]
    assert {name for name in failed(found) if found[name]["detail"] != "not checked"} == {
        "organisation org-2",
        "organisation org-3",
    }
    assert "canary" not in healthy("doctor").output


def test_of_many_organisations_some_are_asked(healthy: Desk, deel: Simulator, monkeypatch: pytest.MonkeyPatch):
    """Those that are paused first: that is who an engineer looks for."""
    monkeypatch.setattr(probes, "MOST_ORGANIZATIONS", 1)
    for number in range(3):
        give(healthy, f"org-{number}", deel.add_token([*SCOPES, *OTHERS], f"org-{number}"))
    healthy.store.write(lambda db: organizations.hold(db, "org-2"))
    found = {each["check"]: each for each in healthy.json("doctor")}
    assert "organisation org-2" in found
    assert "organisation org-0" not in found
    assert "2 more were not asked" in found["organisations"]["detail"]


def test_a_subscription_that_deel_disabled_is_told(healthy: Desk):
    """As upkeep saw it last, with what to type; Deel is not asked again."""
    wanted = Wanted("onboarding", "https://hooks.example.com/webhooks/deel", ("contract.created",))
    healthy.store.write(lambda db: webhooks.expect(db, "org-1", wanted, "sub-1"))
    *_, found = healthy.json("doctor")
    assert (found["check"], found["ok"]) == ("webhook onboarding", True)
    (row,) = healthy.store.read(webhooks.expected)
    healthy.store.write(lambda db: webhooks.saw(db, row, Trouble.DISABLED))
    *_, found = healthy.json("doctor", code=1)
    assert found["detail"].startswith("disabled, seen")
    assert found["hint"] == "onboarding webhook check --org org-1"


def test_wrong_settings(healthy: Desk, deel: Simulator, monkeypatch: pytest.MonkeyPatch):
    """Every fault in its line, the values in none; nothing else is checked."""
    monkeypatch.setenv("ONBOARDING_DEEL_RATE", "canary")
    monkeypatch.setenv("ONBOARDING_CONSENT", "canary")
    found = findings(healthy, 1)
    assert "ONBOARDING_DEEL_RATE" in str(found["settings"]["detail"])
    assert "ONBOARDING_CONSENT" in str(found["settings"]["detail"])
    assert {found[check]["detail"] for check in AFTER_SETTINGS} == {"not checked"}
    assert deel.ledger.count() == 0
    assert "canary" not in healthy("doctor").output


def test_a_mistyped_setting(healthy: Desk, monkeypatch: pytest.MonkeyPatch):
    """A variable that is no setting is a finding, with the one that was perhaps meant."""
    monkeypatch.setenv("ONBOARDING_DEEL_TOKENS", "canary")
    found = findings(healthy, 1)
    assert failed(found) == {"settings"}
    assert "do you mean ONBOARDING_DEEL_TOKEN?" in str(found["settings"]["detail"])


def test_no_store_yet(healthy: Desk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Looking makes no file, no key either; broker and Deel are checked without it."""
    monkeypatch.setenv("ONBOARDING_DATABASE_URL", f"sqlite:///{tmp_path}/new/onboarding.db")
    monkeypatch.delenv("ONBOARDING_VAULT_KEYS")
    monkeypatch.chdir(tmp_path)
    found = findings(healthy, 1)
    assert failed(found) == {"store", "migrations"}
    assert found["store"]["hint"] == "onboarding up"
    assert not (tmp_path / "new").exists()


def test_a_store_without_tables(healthy: Desk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """`onboarding db upgrade`."""
    (tmp_path / "empty.db").touch()
    monkeypatch.setenv("ONBOARDING_DATABASE_URL", f"sqlite:///{tmp_path}/empty.db")
    found = findings(healthy, 1)
    assert failed(found) == {"migrations", "vault keys"}
    assert found["migrations"]["hint"] == "onboarding db upgrade"


def test_a_store_that_is_away(healthy: Desk, monkeypatch: pytest.MonkeyPatch):
    """Neither its password nor SQL is shown."""
    monkeypatch.setattr("onboarding.cli.doctor.PATIENCE_S", 0.0)
    monkeypatch.setenv("ONBOARDING_DATABASE_URL", "postgresql://x:guest-canary-1@127.0.0.1:1/x")
    found = findings(healthy, 1)
    assert failed(found) == {"store", "migrations", "vault keys"}
    assert "canary" not in healthy("doctor").output
    assert "SELECT" not in healthy("doctor").output


def test_a_newer_schema_serves(healthy: Desk, monkeypatch: pytest.MonkeyPatch):
    """The release before runs on it: that is how an upgrade goes."""
    monkeypatch.setattr(migrate, "head", lambda: "0000")
    assert findings(healthy, 0)["migrations"]["ok"]


def test_a_master_key_that_is_missing(healthy: Desk):
    """Named, with how many data keys need it."""
    other = Keyring.from_setting("k0:" + "C" * 43 + "=")
    healthy.store.write(lambda db: data_keys.get_or_make(db, other, "contract:c-1"))
    healthy.store.write(lambda db: data_keys.get_or_make(db, KEYRING, "contract:c-2"))
    found = findings(healthy, 1)
    assert failed(found) == {"vault keys"}
    assert found["vault keys"]["detail"] == "k1 encrypts; data keys: 1 by k0, 1 by k1"
    assert "k0" in str(found["vault keys"]["hint"])


def test_a_key_to_rotate_away(healthy: Desk, monkeypatch: pytest.MonkeyPatch):
    """All is well, and there is something to do."""
    healthy.store.write(lambda db: data_keys.get_or_make(db, KEYRING, "contract:c-2"))
    monkeypatch.setenv("ONBOARDING_VAULT_KEYS", f"k2:{'B' * 43}=,k1:{'A' * 43}=")
    assert findings(healthy, 0)["vault keys"]["hint"] == "onboarding keys rotate"


@pytest.mark.parametrize("broker", [True, False])
def test_the_broker(healthy: Desk, monkeypatch: pytest.MonkeyPatch, broker: bool):
    """Declares what is needed, or says that it does not answer."""
    monkeypatch.setenv("ONBOARDING_BROKER_URL", AMQP)
    healthy.shell.broker = broker
    found = findings(healthy, 0 if broker else 1)
    assert failed(found) == (set() if broker else {"broker"})
    assert healthy.shell.calls == ([("declare",)] if broker else [])


def test_a_defect_in_a_check_is_a_finding(healthy: Desk, monkeypatch: pytest.MonkeyPatch):
    """By its type: its text could quote anything. The others are checked all the same."""
    monkeypatch.setenv("ONBOARDING_BROKER_URL", AMQP)

    def breaks() -> None:
        raise LookupError("canary")

    monkeypatch.setattr(healthy.shell, "declare", breaks)
    found = findings(healthy, 1)
    assert failed(found) == {"broker"}
    assert found["broker"]["detail"] == "LookupError"


def test_the_store_goes_away_between_two_calls(healthy: Desk, monkeypatch: pytest.MonkeyPatch):
    """The budget is taken there: that call's check says so, what follows is not checked."""
    taken = iter([True])

    def take(_budget: Budget) -> float:
        if not next(taken, False):
            raise StoreUnavailable("OperationalError 57P01")
        return math.inf

    monkeypatch.setattr(Budget, "take", take)
    found = findings(healthy, 1)
    assert failed(found) == set(CHECKS) - {"deel", "scope contracts:read"}
    assert "the store does not answer" in str(found["scope people:write"]["detail"])
    assert found["organisation"]["detail"] == "not checked"


def test_people_get_one_line_per_check(healthy: Desk, monkeypatch: pytest.MonkeyPatch):
    """And a line with what to do below those that failed; what was not checked is a dash."""
    monkeypatch.delenv("ONBOARDING_DEEL_TOKEN")
    lines = healthy("doctor").stdout.splitlines()
    assert [line.split()[0] for line in lines] == [*["ok"] * 5, "FAILED", "next", *["-"] * 7]


@pytest.mark.parametrize(("allow", "ok"), [("off", False), ("on", True)])
def test_a_private_target(healthy: Desk, monkeypatch: pytest.MonkeyPatch, allow: str, ok: bool):
    """Each target has a check, named by its host; what we would refuse ourselves is said, with its setting."""
    monkeypatch.setenv("ONBOARDING_NOTIFY_URLS", "https://127.0.0.1:9/canary-path")
    monkeypatch.setenv("ONBOARDING_NOTIFY_SECRET", "whsec_" + "Y2FuYXJ5" * 4)
    monkeypatch.setenv("ONBOARDING_NOTIFY_ALLOW_PRIVATE", allow)
    *_, found = healthy.json("doctor", code=0 if ok else 1)
    assert (found["check"], found["ok"]) == ("target 127.0.0.1", ok)
    assert ("ONBOARDING_NOTIFY_ALLOW_PRIVATE" in found["hint"]) is not ok
    assert "canary" not in str(found)


def test_a_target_whose_name_leads_nowhere(healthy: Desk, monkeypatch: pytest.MonkeyPatch):
    """Told; nothing is sent."""
    monkeypatch.setenv("ONBOARDING_NOTIFY_URLS", "https://nowhere.invalid/canary-path")
    monkeypatch.setenv("ONBOARDING_NOTIFY_SECRET", "whsec_" + "Y2FuYXJ5" * 4)
    *_, found = healthy.json("doctor", code=1)
    assert (found["check"], found["ok"]) == ("target nowhere.invalid", False)
    assert "no reply" in found["detail"]


def test_an_organisation_that_was_learnt_before(healthy: Desk, deel: Simulator, monkeypatch: pytest.MonkeyPatch):
    """The token need not be allowed to ask for it again."""
    token = deel.add_token([scope for scope in SCOPES if scope != "organizations:read"])
    monkeypatch.setenv("ONBOARDING_DEEL_TOKEN", token)
    fingerprint = fingerprint_of(SecretStr(token))
    healthy.store.write(lambda db: organizations.learn(db, fingerprint, organization_id="org-7"))
    assert findings(healthy, 0)["organisation"]["detail"] == "org-7, learnt before"


def test_what_was_not_checked_has_not_failed(healthy: Desk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """In text a dash, in JSON `ok` is false: nobody knows."""
    (tmp_path / "empty.db").touch()
    monkeypatch.setenv("ONBOARDING_DATABASE_URL", f"sqlite:///{tmp_path}/empty.db")
    lines = healthy("doctor").stdout.splitlines()
    assert [line.split()[0] for line in lines if "vault keys" in line] == ["-"]
    assert not findings(healthy, 1)["vault keys"]["ok"]
