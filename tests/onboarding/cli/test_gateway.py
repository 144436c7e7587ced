"""`gateway`: what it needs before it listens."""

from __future__ import annotations

import socket

import pytest

from onboarding.cli import gateway
from tests.onboarding.cli.conftest import Desk

AMQP = "amqp://guest:guest-canary-1@127.0.0.1:1//"


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it needs, and no more: neither store nor vault."""
    monkeypatch.setenv("ONBOARDING_BROKER_URL", AMQP)
    monkeypatch.setenv("ONBOARDING_WEBHOOK_SECRETS", "eu=key-canary-2")
    monkeypatch.delenv("ONBOARDING_VAULT_KEYS", raising=False)


def test_the_gateway_serves(onboarding: Desk):
    """On the address that was asked for, which only this machine reaches unless another is named."""
    result = onboarding("gateway", "--port", "0")
    assert (result.exit_code, result.stdout) == (0, "")
    assert onboarding.shell.calls == [("gateway", "127.0.0.1")]
    assert "Listening on 127.0.0.1 port " in result.stderr
    assert onboarding("gateway", "--host", "::1", "--port", "0").exit_code == 0
    assert onboarding.shell.calls[1:] == [("gateway", "::1")]


def test_the_gateway_of_an_hris_alone(onboarding: Desk, monkeypatch: pytest.MonkeyPatch):
    """Deel need not post to it."""
    monkeypatch.delenv("ONBOARDING_WEBHOOK_SECRETS")
    monkeypatch.setenv("ONBOARDING_GATEWAY_SOURCES", "acme = {profile = 'standard', keys = {a = 'whsec_YWJj'}}")
    assert onboarding("gateway", "--port", "0").exit_code == 0


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("ONBOARDING_BROKER_URL", "memory://", "ONBOARDING_BROKER_URL"),
        ("ONBOARDING_WEBHOOK_SECRETS", "", "ONBOARDING_WEBHOOK_SECRETS"),
        ("ONBOARDING_GATEWAY_SOURCES", "acme = {profile = 'hmac'}", "[acme] keys"),
        ("ONBOARDING_GATEWAY_SOURCES", "key-canary-3", "is no TOML"),
    ],
)
def test_the_gateway_without_what_it_needs(onboarding: Desk, monkeypatch, variable: str, value: str, told: str):
    """Exit 2, and which setting to mend; never what it holds."""
    monkeypatch.setenv(variable, value)
    result = onboarding("gateway", "--port", "0")
    assert result.exit_code == 2
    assert told in result.stderr
    assert "canary" not in result.stderr
    assert onboarding.shell.calls == []


def test_a_port_that_is_taken(onboarding: Desk):
    """Exit 1 and another one to try; so for an address that is not ours."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = onboarding("gateway", "--port", str(port))
        assert result.exit_code == 1
        assert f"--port {port % 65535 + 1}" in result.stderr
    assert onboarding("gateway", "--host", "192.0.2.1").exit_code == 1
    assert onboarding("gateway", "--host", "no such host").exit_code == 1
    assert onboarding.shell.calls == []


def test_the_gateway_without_its_extra(onboarding: Desk, monkeypatch: pytest.MonkeyPatch):
    """Exit 1 and what to install."""
    monkeypatch.setattr(gateway, "find_spec", lambda _name: None)
    result = onboarding("gateway")
    assert result.exit_code == 1
    assert "pip install '.[web]'" in result.stderr


def test_tokens_are_served_where_the_vault_is(onboarding: Desk, monkeypatch: pytest.MonkeyPatch):
    """Who has neither store nor vault is a gateway for webhooks; each can be had alone."""
    monkeypatch.delenv("ONBOARDING_VAULT_KEYS")
    onboarding("gateway", "--port", "0")
    assert onboarding.shell.parts == {"webhooks"}
    monkeypatch.setenv("ONBOARDING_VAULT_KEYS", "k1:" + "A" * 43 + "=")
    result = onboarding("gateway", "--port", "0")
    assert (result.exit_code, onboarding.shell.parts) == (0, {"webhooks", "tokens"})
    assert "for tokens and webhooks" in result.stderr
    for only in ("webhooks", "tokens"):
        assert onboarding("gateway", "--port", "0", "--only", only).exit_code == 0
        assert onboarding.shell.parts == {only}
    monkeypatch.setenv("ONBOARDING_DATABASE_URL", "sqlite:////nowhere/onboarding.db")
    assert onboarding("gateway", "--port", "0").exit_code == 0
    assert onboarding.shell.parts == {"webhooks"}
    assert onboarding("gateway", "--port", "0", "--only", "tokens").exit_code == 1


def test_tokens_alone_need_no_broker(onboarding: Desk, monkeypatch: pytest.MonkeyPatch):
    """Nor anybody who posts; in production they need the vault's key."""
    monkeypatch.delenv("ONBOARDING_BROKER_URL")
    monkeypatch.delenv("ONBOARDING_WEBHOOK_SECRETS")
    monkeypatch.setenv("ONBOARDING_VAULT_KEYS", "k1:" + "A" * 43 + "=")
    refused = onboarding("gateway", "--port", "0")
    assert refused.exit_code == 2
    assert "next  onboarding gateway --only tokens" in refused.stderr
    assert onboarding("gateway", "--port", "0", "--only", "tokens").exit_code == 0
    monkeypatch.delenv("ONBOARDING_VAULT_KEYS")
    monkeypatch.setenv("ONBOARDING_DATABASE_URL", "postgresql+psycopg://u@127.0.0.1:1/x")
    refused = onboarding("gateway", "--port", "0", "--only", "tokens")
    assert refused.exit_code == 2
    assert "ONBOARDING_VAULT_KEYS" in refused.stderr
