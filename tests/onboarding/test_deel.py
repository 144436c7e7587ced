"""Deel's API: what goes over the wire, and a whole onboarding against the simulator."""

from __future__ import annotations

import json
import time
import traceback
import uuid
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from onboarding.deel import (
    Deel,
    ParkRun,
    SessionFieldInMemory,
    TryLater,
    session_key,
    worker_key,
)
from onboarding.dialling import Dialler
from onboarding.runs import Reason
from tests.onboarding.deel_wire import (
    ANSWERS,
    CALLS,
    HRIS,
    ORG_TOKEN,
    SESSION,
    WORKER_TOKEN,
    CountingBudget,
    ok,
    refused,
)
from tests.openapi import validate_request, validate_target


@pytest.mark.parametrize(
    ("call", "method", "template", "path"),
    [
        ("contract", "GET", "/contracts/{contract_id}", "/contracts/mp4y66j"),
        ("contracts", "GET", "/contracts", "/contracts"),
        ("later contracts", "GET", "/contracts", "/contracts"),
        ("people", "GET", "/people", "/people"),
        ("me", "GET", "/people/me", "/people/me"),
        ("whoami", "GET", "/people/me", "/people/me"),
        ("organization_id", "GET", "/organizations", "/organizations"),
        ("create_worker", "POST", "/eor/worker", "/eor/worker"),
        ("create_session", "POST", "/workers/session", "/workers/session"),
        ("delete_session", "DELETE", "/workers/{worker_id}/session", f"/workers/{HRIS}/session"),
    ],
)
def test_a_request_is_one_that_deel_documents(wire, call, method, template, path):
    """Method, path, query and body are those of Deel's OpenAPI; the token is a bearer, one request is one take."""
    wire.field.remember("profile_id")  # the OpenAPI's; the guide's is tried below
    wire.says(ok(ANSWERS[call]))
    CALLS[call](wire.deel)

    (asked,) = wire.asked
    assert (asked.method, urlsplit(asked.target).path) == (method, f"/rest/v2{path}")
    validate_target(method, template, asked.target.removeprefix("/rest/v2"))
    validate_request(method, template, json.loads(asked.body) if asked.body else None)
    assert asked.headers["authorization"] == f"Bearer {WORKER_TOKEN if call == 'me' else ORG_TOKEN}"
    assert asked.headers.get("content-type") == ("application/json" if method == "POST" else None)
    assert "x-version" not in asked.headers
    assert uuid.UUID(asked.headers["x-request-id"]).version == 4
    assert wire.budget.log == ["take"]


@pytest.mark.parametrize("call", ["create_worker", "create_session"])
def test_what_creates_carries_its_key(wire, call):
    """The caller's Idempotency-Key travels as it is with the field that the guide names."""
    wire.says(ok(ANSWERS[call], 201))
    CALLS[call](wire.deel)

    assert wire.asked[0].headers["idempotency-key"] == "k"


def test_what_only_reads_carries_no_key(wire):
    """Deel takes keys on POST and PATCH only."""
    wire.says(ok(ANSWERS["contract"]))
    CALLS["contract"](wire.deel)

    assert "idempotency-key" not in wire.asked[0].headers


@pytest.mark.parametrize(
    ("base", "prefix", "version"),
    [
        ("/rest/v2", "/rest/v2", None),
        ("/rest/v2/", "/rest/v2", None),
        ("/rest", "/rest", "2026-01-01"),
        ("/rest/", "/rest", "2026-01-01"),
    ],
)
def test_the_version_is_in_the_path_or_in_a_header(wire, base, prefix, version):
    """Both of Deel's base addresses work, with and without a slash at the end."""
    wire.says(ok(ANSWERS["contract"]))
    wire.client(base).contract("mp4y66j")

    assert wire.asked[0].target == f"{prefix}/contracts/mp4y66j"
    assert wire.asked[0].headers.get("x-version") == version


@pytest.mark.parametrize(
    ("url", "token"),
    [
        ("http://deel/rest", "t"),
        ("https://deel/", "t"),
        ("https://user:hidden-word@deel/rest", "t"),
        ("https://deel/rest?a=hidden-word", "t"),
        ("https://deel/rest", "hidden-word\n"),
        ("https://deel/rest", "hidden-word-é"),
        ("https://deel/rest", ""),
    ],
)
def test_a_client_that_could_not_ask_is_not_made(http_client, url, token):
    """A URL or a token that no request could carry is found at the start; the text quotes neither."""
    with pytest.raises(ValueError) as caught:
        Deel(
            http_client,
            base_url=url,
            token=SecretStr(token),
            budget=CountingBudget(),
            session_field=SessionFieldInMemory(),
        )
    assert "hidden-word" not in str(caught.value)


@pytest.mark.parametrize("identifier", ["", ".", "..", "a/b", "a?b", "a%2Fb", "a b", "ä", "a\n", "x" * 129])
@pytest.mark.parametrize("call", ["contract", "create_worker", "create_session", "delete_session"])
def test_an_id_that_could_lead_elsewhere_is_never_sent(wire, call, identifier):
    """It is refused before the budget is touched."""
    arguments = {"idempotency_key": "k"} if call.startswith("create") else {}
    with pytest.raises(ParkRun) as caught:
        getattr(wire.deel, call)(identifier, **arguments)

    assert caught.value.reason is Reason.REQUEST_REJECTED
    assert (wire.asked, wire.budget.log) == ([], [])


def test_the_keys_are_the_same_for_ever():
    """A key that changed between two releases would make a second worker or a second token."""
    assert worker_key("org-1", "mp4y66j") == "ed2af99e-49a6-537a-b7d9-a528c26a61ff"
    assert session_key("run-1", 1, "p-1") == "b16bfd70-77e3-54ea-bb32-2505ad0a1f05"


@given(st.lists(st.tuples(st.text(), st.text(), st.integers()), unique=True, min_size=2, max_size=8))
def test_different_things_have_different_keys(things):
    """No organisation and contract, and no run, issue and profile, share a key; 64 characters are Deel's most."""
    keys = {worker_key(one, two) for one, two, _ in things} | {session_key(one, n, two) for one, two, n in things}
    expected = len({(one, two) for one, two, _ in things}) + len(things)

    assert len(keys) == expected
    assert all(len(key) <= 64 for key in keys)


# the budget


class Slots(CountingBudget):
    """Slots that are over in an instant; `spent`: there is none left after the first."""

    def __init__(self, *, spent: bool = False) -> None:
        super().__init__()
        self.spent = spent

    def take(self) -> float:
        super().take()
        if self.spent and len(self.log) > 1:
            raise TryLater(Reason.RATE_LIMITED)
        return time.monotonic() + 0.05


@pytest.fixture
def slow_to_connect(monkeypatch):
    connect = Dialler.connect_tcp

    def slowly(dialler, *args, **kwargs):
        time.sleep(0.1)
        return connect(dialler, *args, **kwargs)

    monkeypatch.setattr(Dialler, "connect_tcp", slowly)


@pytest.mark.usefixtures("slow_to_connect")
def test_a_slot_that_passed_while_connecting_is_replaced(wire):
    """A call that had to connect takes another slot before it is sent; one that finds a connection does not."""
    wire.server.keep_alive = True
    wire.budget = Slots()
    wire.says(ok(ANSWERS["contract"], connection="keep-alive"))
    deel = wire.client()
    for taken in (2, 3):
        deel.contract("mp4y66j")
        assert wire.budget.log == ["take"] * taken

    assert len(wire.asked) == 2


@pytest.mark.usefixtures("slow_to_connect")
def test_a_call_whose_second_slot_does_not_come_is_not_sent(wire):
    """It is tried later, and nothing of the request hangs on the failure."""
    wire.budget = Slots(spent=True)
    wire.says(ok(ANSWERS["contract"]))
    with pytest.raises(TryLater) as caught:
        wire.client().contract("mp4y66j")

    frames = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert (caught.value.reason, wire.asked) == (Reason.RATE_LIMITED, [])
    assert caught.value.__context__ is None
    assert "handle_request" not in frames


# the field of a session


def field_of(asked) -> str:
    ((name, value),) = json.loads(asked.body)["data"].items()
    assert value == HRIS
    return name


NAMES_PROFILE_ID = [
    {"path": "/data/profile_id", "message": "Must have required property 'profile_id'"},
    {"path": "", "message": "data must have required property 'profile_id'"},
    {"path": "/data", "message": "hris_profile_id is not allowed, profile_id is required"},
]


@pytest.mark.parametrize("error", NAMES_PROFILE_ID)
def test_the_field_that_deel_names_is_taken_and_remembered(wire, error):
    """One 400 costs one more call, once: the next session starts with what Deel took."""
    wire.says(refused(400, error), ok(SESSION, 201))
    for _ in range(2):
        assert wire.deel.create_session(HRIS, idempotency_key="k").token.get_secret_value() == WORKER_TOKEN

    assert [field_of(asked) for asked in wire.asked] == ["hris_profile_id", "profile_id", "profile_id"]
    assert wire.field.get() == "profile_id"
    assert wire.budget.log == ["take"] * 3


def test_it_works_the_other_way_round(wire):
    """A Deel that goes back to the guide's field is followed back."""
    wire.field.remember("profile_id")
    wire.says(refused(400, {"path": "/data/hris_profile_id", "message": "required"}), ok(SESSION, 201))
    wire.deel.create_session(HRIS, idempotency_key="k")

    assert wire.field.get() == "hris_profile_id"


@pytest.mark.parametrize(
    ("field", "error"),
    [
        ("hris_profile_id", {"path": "/data/hris_profile_id", "message": "must match format uuid"}),
        ("hris_profile_id", {"path": "/data", "message": "the worker is not active"}),
        ("profile_id", {"path": "/data/profile_id", "message": "must match format uuid"}),
    ],
)
def test_a_400_about_something_else_is_parked_at_once(wire, field, error):
    """The field's own name in an error is no reason to try the other: `hris_profile_id` holds `profile_id`."""
    wire.field.remember(field)
    wire.says(refused(400, error))
    with pytest.raises(ParkRun):
        wire.deel.create_session(HRIS, idempotency_key="k")

    assert len(wire.asked) == 1


def test_a_field_that_is_refused_as_well_is_not_remembered(wire):
    """Two refusals: an engineer decides, and nothing was learnt."""
    wire.says(refused(400, NAMES_PROFILE_ID[0]))
    with pytest.raises(ParkRun):
        wire.deel.create_session(HRIS, idempotency_key="k")

    assert (len(wire.asked), wire.field.get()) == (2, "hris_profile_id")


def test_a_key_never_travels_with_two_bodies(wire):
    """Each field has a key of its own, the same at every try: a lost answer is replayed, not refused."""
    wire.says(refused(400, NAMES_PROFILE_ID[0]), b"", refused(400, NAMES_PROFILE_ID[0]), ok(SESSION, 201))
    with pytest.raises(TryLater):
        wire.deel.create_session(HRIS, idempotency_key="k")
    wire.deel.create_session(HRIS, idempotency_key="k")

    keys = {(field_of(asked), asked.headers["idempotency-key"]) for asked in wire.asked}
    assert len(wire.asked) == 4
    assert len(keys) == len({key for _, key in keys}) == 2
    assert ("hris_profile_id", "k") in keys
