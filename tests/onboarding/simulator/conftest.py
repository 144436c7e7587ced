"""A simulator without a limit, and somebody who calls it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from onboarding.simulator import Simulator

Ask = Callable[..., httpx.Response]


@pytest.fixture
def deel() -> Iterator[Simulator]:
    with Simulator(rate=None) as simulator:
        yield simulator


@pytest.fixture
def ask(deel: Simulator) -> Iterator[Ask]:
    """`ask("GET /people/me", token=...)`; without a token: the organisation's, with all scopes."""
    with httpx.Client(timeout=5, verify=False) as client:

        def call(
            what: str, data: object = None, *, token: str | None = None, key: str | None = None, **more: Any
        ) -> httpx.Response:
            method, path = what.split(" ")
            headers = {"Authorization": f"Bearer {token or deel.org_token}", **more.pop("headers", {})}
            if key is not None:
                headers["Idempotency-Key"] = key
            body = {} if data is None else {"json": {"data": data}}
            return client.request(method, deel.url + path, headers=headers, **body, **more)

        yield call


@pytest.fixture
def worker(deel: Simulator, ask: Ask) -> Callable[..., str]:
    """Make a contract with a profile; its HRIS profile id."""

    def make(contract: str = "c-1", **what: Any) -> str:
        deel.has_contract(contract, with_profile=True, **what)
        return deel.profiles_of(contract)[0]

    return make


@pytest.fixture
def issue(ask: Ask) -> Callable[..., str]:
    """A new token for a profile."""

    def post(profile_id: str, **more: Any) -> str:
        answer = ask("POST /workers/session", {"profile_id": profile_id}, **more)
        assert answer.status_code == 201, answer.text
        token: str = answer.json()["data"]["token"]
        return token

    return post
