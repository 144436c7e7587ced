"""A Deel that answers what a test tells it to, clients that are not patient, and names that resolve as told."""

from __future__ import annotations

import ipaddress
import socket

import pytest

from onboarding.transport import Http
from tests.onboarding.deel_wire import Wire


@pytest.fixture(scope="module")
def http_client():
    client = Http(connect_s=2, read_s=2, total_s=4)
    yield client
    client.close()


@pytest.fixture
def wire(http_client):
    wire = Wire(http_client)
    with wire.server:
        yield wire


@pytest.fixture
def client():
    client = Http(connect_s=1, read_s=1, total_s=2)
    yield client
    client.close()


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
