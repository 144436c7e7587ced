"""A Deel that answers what a test tells it to, and a client that is not patient."""

from __future__ import annotations

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
