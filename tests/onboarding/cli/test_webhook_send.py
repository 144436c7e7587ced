"""`webhook send`: signed samples, as Deel would post them."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest
from pydantic import SecretStr

from onboarding.cli import samples
from onboarding.events import Event, Ignored, Message, Why, read
from onboarding.signatures import DEEL, Verdict, judge
from tests.onboarding.cli.conftest import Desk

KEY = "canary-signing-key-1"


class Gateway:
    """Takes what is posted, and answers as it is told to."""

    def __init__(self) -> None:
        self.status = 200
        self.taken: list[tuple[str, bytes, dict[str, str]]] = []
        gateway = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                gateway.taken.append((self.path, body, headers))
                self.send_response(gateway.status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Nothing."""

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/webhooks/deel"


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch):
    """With the key of a label on our side."""
    monkeypatch.setenv("ONBOARDING_WEBHOOK_SECRETS", f"onboarding={KEY},next=other-key")
    there = Gateway()
    Thread(target=there.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield there
    there.server.shutdown()
    there.server.server_close()


def test_without_a_name_the_samples_are_listed(onboarding: Desk):
    """Every kind that is understood."""
    assert onboarding("webhook", "send").stdout.split() == list(samples.NAMES)
    assert onboarding.json("webhook", "send") == list(samples.NAMES)
    assert onboarding("webhook", "send", "contract.born").exit_code == 2


@pytest.mark.parametrize("name", samples.NAMES)
def test_each_is_signed_and_marked_as_simulated(onboarding: Desk, gateway: Gateway, name: str):
    """Whoever holds the label's key believes it; intake starts nothing for it."""
    sent = onboarding.json("webhook", "send", name, "--to", gateway.url)
    assert (sent["type"], sent["label"], sent["http_status"]) == (name, "onboarding", 200)
    ((path, body, headers),) = gateway.taken
    keys = {"onboarding": SecretStr(KEY)}
    assert path == "/webhooks/deel"
    assert judge(DEEL, body, headers, keys) is Verdict.RIGHT
    assert json.loads(body)["data"]["meta"]["event_type"] == name
    (answer,) = read(Message(body, headers, name), keys)
    assert isinstance(answer, Ignored)
    assert answer.why is Why.SIMULATION


def test_a_real_one_is_like_any_other(onboarding: Desk, gateway: Gateway):
    """It names its contract and organisation, or is wrong usage."""
    words = ("webhook", "send", "contract.created", "--to", gateway.url, "--real")
    assert onboarding(*words).exit_code == 2
    assert gateway.taken == []
    assert onboarding(*words, "--contract", "c-42", "--organization", "org-7", "--label", "next").exit_code == 0
    ((_, body, headers),) = gateway.taken
    (answer,) = read(Message(body, headers, ""), {"next": SecretStr("other-key")})
    assert isinstance(answer, Event)
    assert (answer.contract_id, answer.organization_id, answer.signed) == ("c-42", "org-7", True)


@pytest.mark.parametrize(
    ("status", "word"), [(401, "ONBOARDING_WEBHOOK_SECRETS"), (404, "source"), (503, "broker"), (599, "599")]
)
def test_a_gateway_that_does_not_take_it(onboarding: Desk, gateway: Gateway, status: int, word: str):
    """Exit 1, and why."""
    gateway.status = status
    result = onboarding("webhook", "send", "contract.created", "--to", gateway.url)
    assert (result.exit_code, word in result.stderr, "canary" in result.output) == (1, True, False)


def test_nobody_is_there(onboarding: Desk, gateway: Gateway):
    """Exit 1, and how to start one."""
    result = onboarding("webhook", "send", "contract.created", "--to", "http://127.0.0.1:1/webhooks/deel")
    assert (result.exit_code, "onboarding gateway" in result.stderr) == (1, True)


def test_without_a_key_nothing_is_sent(onboarding: Desk, gateway: Gateway, monkeypatch: pytest.MonkeyPatch):
    """Exit 2; so it is for a label that has none."""
    assert onboarding("webhook", "send", "contract.created", "--to", gateway.url, "--label", "nix").exit_code == 2
    monkeypatch.delenv("ONBOARDING_WEBHOOK_SECRETS")
    assert onboarding("webhook", "send", "contract.created", "--to", gateway.url).exit_code == 2
    assert gateway.taken == []
