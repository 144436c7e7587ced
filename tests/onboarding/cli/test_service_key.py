"""`service-key`, and what of the gateway is served."""

from __future__ import annotations

import pytest

from onboarding import service_keys as keys
from onboarding.store import service_keys
from tests.onboarding.cli.conftest import Desk


def test_a_key_is_printed_once_and_listed_without_itself(onboarding: Desk):
    """Alone on standard output, so that a script can take it; on record, by its name."""
    result = onboarding("service-key", "create", "payroll-app", "--organization", "org-7", "--because", "OPS-1")
    assert result.exit_code == 0, result.output
    key = result.stdout.strip()
    key_id = keys.id_in(key)
    assert key_id is not None
    row = onboarding.store.read(lambda db: service_keys.find(db, key_id))
    assert row is not None
    assert keys.is_key(key, row.digest)
    assert key not in result.stderr
    listed = onboarding("service-key", "list")
    assert "payroll-app  token  org-7" in listed.stdout
    assert key_id not in listed.output
    ((document),) = onboarding.json("service-key", "list")
    assert (document["name"], document["scope"], document["organization_id"]) == ("payroll-app", "token", "org-7")
    assert (document["per_minute"], document["last_used_at"], document["revoked_at"]) == (300, None, None)
    assert onboarding.audit() == [("service_key_created", None, "payroll-app OPS-1")]


def test_a_key_as_json(onboarding: Desk):
    """With what it may do."""
    made = onboarding.json("service-key", "create", "portal", "--scope", "proxy", "--per-minute", "60")
    assert keys.id_in(made.pop("key"))
    assert made == {"name": "portal", "scope": "proxy", "organization_id": None, "per_minute": 60}


def test_a_name_is_used_once(onboarding: Desk):
    """Exit 1, and what to type."""
    onboarding.json("service-key", "create", "app")
    result = onboarding("service-key", "create", "app")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "next  onboarding service-key list" in result.stderr
    assert len(onboarding.audit()) == 1


@pytest.mark.parametrize("words", ["App", "ada@example.com", "a --organization x/y", "a --per-minute 0"])
def test_what_is_no_name(onboarding: Desk, words: str):
    """Exit 2."""
    assert onboarding("service-key", "create", *words.split()).exit_code == 2
    assert onboarding.json("service-key", "list") == []


def test_a_key_is_revoked(onboarding: Desk):
    """By its name; one that is not there is exit 3."""
    onboarding.json("service-key", "create", "app")
    assert onboarding("service-key", "revoke", "app", "--because", "OPS-2").stdout == "app is revoked\n"
    ((document),) = onboarding.json("service-key", "list")
    assert document["revoked_at"] is not None
    assert onboarding.json("service-key", "revoke", "app")["revoked_at"] == document["revoked_at"]
    assert onboarding("service-key", "revoke", "nobody").exit_code == 3
    assert [did for did, *_ in onboarding.audit()] == ["service_key_created", *["service_key_revoked"] * 2]
    assert onboarding("service-key", "list").exit_code == 0
