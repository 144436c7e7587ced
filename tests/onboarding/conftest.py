"""A world, a Deel that answers as a test tells it, clients that are not patient, names that resolve as told."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pytest

from onboarding.transport import Http
from tests.onboarding.deel_wire import Wire
from tests.onboarding.worlds import Driver, driver


@pytest.fixture
def onboard(request: pytest.FixtureRequest) -> Iterator[Driver]:
    """A world on SQLite; or on the database that a test names (tests/onboarding/tidings.py has `on_both`)."""
    with driver(request.getfixturevalue(f"{getattr(request, 'param', 'sqlite')}_url")) as made:
        yield made


@pytest.fixture
def consenting(onboard: Driver) -> Driver:
    """Consent is required."""
    onboard.world = replace(onboard.world, consent_required=True)
    onboard.intake = replace(onboard.intake, consent_required=True)
    return onboard


@pytest.fixture(scope="module")
def http_client():
    with closing(Http(connect_s=2, read_s=2, total_s=4)) as client:
        yield client


@pytest.fixture
def wire(http_client):
    wire = Wire(http_client)
    with wire.server:
        yield wire


@pytest.fixture
def client():
    with closing(Http(connect_s=1, read_s=1, total_s=2)) as client:
        yield client


@pytest.fixture
def names(monkeypatch):
    """Names and the addresses that they resolve to; every look-up is kept."""
    known: dict[str, list[str]] = {}
    asked: list[str] = []
    real = socket.getaddrinfo

    def lookup(host, port, *args, **kwargs):
        try:
            ipaddress.ip_address(host)
        except ValueError:
            asked.append(host)
            if host not in known:
                raise socket.gaierror(socket.EAI_NONAME, "Name or service not known") from None
            return [answer for address in known[host] for answer in real(address, port, *args, **kwargs)]
        return real(host, port, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    known["asked"] = asked  # type: ignore[assignment]
    return known
