"""A notification target that wants us elsewhere: through the target as the steps use it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from pydantic import SecretStr

from onboarding import notify
from onboarding.notify import Verdict, WebhookTarget
from onboarding.transport import Http
from tests.onboarding.raw_server import RawServer, http

NEWS = notify.Notification("msg_1", notify.COMPLETED, datetime(2026, 1, 5, tzinfo=UTC), {})


@pytest.fixture
def client() -> Iterator[Http]:
    client = Http(connect_s=1, read_s=1, total_s=2, max_bytes=64 << 10)
    yield client
    client.close()


def target(client: Http, url: str, *, allow_private: bool) -> WebhookTarget:
    return WebhookTarget(client, SecretStr(url), SecretStr("whsec_" + "Y2FuYXJ5" * 4), allow_private=allow_private)


def test_a_target_that_redirects_is_told_later_and_nobody_else_is_told(client: Http):
    """A redirect to an inner address is an answer without a delivery."""
    with RawServer(lambda _: http(200)) as inner, RawServer(lambda _: http(307, location=inner.url)) as server:
        answer = target(client, server.url, allow_private=True).send(NEWS)

    assert (answer.verdict, answer.http_status) == (Verdict.LATER, 307)
    assert (len(server.asked), inner.asked) == (1, [])


def test_a_name_that_becomes_private_between_two_tries_is_refused(client: Http, monkeypatch: pytest.MonkeyPatch):
    """Each try asks for the name once, judges what it got, and connects to nothing else."""
    answers = iter(["192.0.2.1", "127.0.0.1"])
    asked: list[str] = []

    def lookup(host: str, port: int, *_: object, **__: object) -> list[tuple[object, ...]]:
        if host[0].isdigit():  # the dialler opens what was checked
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port))]
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (next(answers), port))]

    with RawServer(lambda _: http(200)) as server:
        monkeypatch.setattr(socket, "getaddrinfo", lookup)
        monkeypatch.setattr("onboarding.targets._public", lambda ip: str(ip) == "192.0.2.1")  # nobody's, and no route
        hooks = target(client, f"https://hooks.example.test:{server.port}/", allow_private=False)
        first, second = hooks.send(NEWS), hooks.send(NEWS)

    assert (first.verdict, second.verdict) == (Verdict.LATER, Verdict.REFUSED)
    assert asked == ["hooks.example.test"] * 2
    assert server.asked == []
