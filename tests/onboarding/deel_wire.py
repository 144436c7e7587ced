"""A Deel that says what a test gives it, and good answers of every call."""

from __future__ import annotations

import json
import math
import uuid

from pydantic import SecretStr

from onboarding.deel import (
    Deel,
    SessionFieldInMemory,
)
from onboarding.transport import Http
from tests.onboarding.raw_server import RawServer, http

ORG_TOKEN = "org-token-value"
WORKER_TOKEN = "worker.token.value"
HRIS = str(uuid.UUID(int=7))
SECRETS = (ORG_TOKEN, WORKER_TOKEN, "ada@example.com")


class CountingBudget:
    """Keeps every take and hold, in order."""

    def __init__(self) -> None:
        self.log: list[object] = []

    def take(self) -> float:
        self.log.append("take")
        return math.inf

    def hold(self, seconds: float) -> None:
        self.log.append(seconds)


class Wire:
    """A Deel that gives the next answer of a list, and the client that asks it."""

    def __init__(self, http_client: Http) -> None:
        self.answers: list[bytes] = []
        self.server = RawServer(lambda _: self.answers.pop(0) if len(self.answers) > 1 else self.answers[0])
        self.budget = CountingBudget()
        self.field = SessionFieldInMemory()
        self.http = http_client
        self.deel = self.client()

    def client(self, base: str = "/rest/v2") -> Deel:
        return Deel(
            self.http,
            base_url=self.server.url + base,
            token=SecretStr(ORG_TOKEN),
            budget=self.budget,
            session_field=self.field,
        )

    def says(self, *answers: bytes) -> None:
        self.answers[:] = answers

    @property
    def asked(self):
        return self.server.asked


def ok(document: object, status: int = 200, **headers: str) -> bytes:
    return http(status, json.dumps(document).encode(), **headers)


def refused(status: int, *errors: dict[str, str], **headers: str) -> bytes:
    """Deel's ApiErrorContainer."""
    request = {"method": "GET", "status": status, "api_req_id": "req-1", "source": "AJV", "code": 3}
    return http(status, json.dumps({"request": request, "errors": list(errors)}).encode(), **headers)


CONTRACT = {
    "id": "mp4y66j",
    "type": "eor",
    "status": "a_status_of_tomorrow",
    "worker": {
        "id": HRIS,
        "email": "Ada@Example.com",
        "expected_email": "",
        "alternate_email": [
            {"email": "ada@home.example", "isVerified": True},
            {"email": "not@checked.example", "isVerified": False},
        ],
    },
    "invitations": {"client_email": "boss@example.com", "worker_email": "ADA@example.com "},
    "field_of_tomorrow": [{"x": 1}],
}
SESSION = {"data": {"token": WORKER_TOKEN, "expires_at": "2030-01-02T03:04:05.678Z"}}
PROFILE = {"data": {"user_id": str(uuid.UUID(int=1)), "profile_id": str(uuid.UUID(int=2)), "hris_profile_id": HRIS}}
ME = {"id": 123, "email": "Ada@example.com", "username": "ada", "organization_id": 42, "profile_type": "new_type"}

CALLS = {
    "contract": lambda deel: deel.contract("mp4y66j"),
    "contracts": lambda deel: deel.contracts(types=("eor",), statuses=("new", "onboarding")),
    "later contracts": lambda deel: deel.contracts(statuses=("in_progress",), cursor="after c1"),
    "people": lambda deel: deel.people(search="ada@example.com", offset=50),
    "me": lambda deel: deel.me(SecretStr(WORKER_TOKEN)),
    "whoami": lambda deel: deel.whoami(),
    "organization_id": lambda deel: deel.organization_id(),
    "create_worker": lambda deel: deel.create_worker("mp4y66j", idempotency_key="k"),
    "create_session": lambda deel: deel.create_session(HRIS, idempotency_key="k"),
    "delete_session": lambda deel: deel.delete_session(HRIS),
}
ANSWERS = {
    "contract": {"data": CONTRACT},
    "contracts": {"data": [CONTRACT], "page": {"cursor": "c2", "total_rows": 1}},
    "later contracts": {"data": [], "page": {"cursor": "", "total_rows": 1}},
    "people": {"data": [], "page": {"offset": 0, "total_rows": 0, "items_per_page": 50}},
    "me": ME,
    "whoami": ME,
    "organization_id": {"data": [{"id": "org-1", "name": "Acme"}]},
    "create_worker": PROFILE,
    "create_session": SESSION,
    "delete_session": {},
}
