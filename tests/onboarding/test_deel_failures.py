"""The three failures that leave the client, and that nothing else does."""

from __future__ import annotations

import json
import pickle
from datetime import UTC, datetime
from email.utils import formatdate

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr
from structlog.testing import capture_logs

from onboarding.deel import (
    DeelFailure,
    ParkRun,
    PauseOrganisation,
    TryLater,
)
from onboarding.deel.failures import retry_after_s
from onboarding.runs import Reason
from tests.onboarding.deel_wire import (
    CALLS,
    HRIS,
    ORG_TOKEN,
    SECRETS,
    WORKER_TOKEN,
    ok,
    refused,
)
from tests.onboarding.raw_server import http


@pytest.mark.parametrize(
    ("status", "kind", "reason"),
    [
        (301, TryLater, Reason.DEEL_UNAVAILABLE),
        (400, ParkRun, Reason.REQUEST_REJECTED),
        (401, PauseOrganisation, Reason.ORG_TOKEN_REJECTED),
        (403, ParkRun, Reason.REQUEST_REJECTED),
        (405, ParkRun, Reason.REQUEST_REJECTED),
        (408, TryLater, Reason.DEEL_UNAVAILABLE),
        (409, ParkRun, Reason.REQUEST_REJECTED),
        (422, ParkRun, Reason.REQUEST_REJECTED),
        (425, TryLater, Reason.DEEL_UNAVAILABLE),
        (429, TryLater, Reason.RATE_LIMITED),
        (500, TryLater, Reason.DEEL_UNAVAILABLE),
        (503, TryLater, Reason.DEEL_UNAVAILABLE),
        (599, TryLater, Reason.DEEL_UNAVAILABLE),
    ],
)
@pytest.mark.parametrize(
    "call", ["contract", "contracts", "people", "create_worker", "create_session", "delete_session"]
)
def test_a_status_is_one_of_three_failures(wire, call, status, kind, reason):
    """The same on every call with the organisation's token."""
    wire.says(refused(status, {"message": "no"}))
    with pytest.raises(DeelFailure) as caught:
        CALLS[call](wire.deel)

    failure = caught.value
    assert (type(failure), failure.reason, failure.status, failure.request_id) == (kind, reason, status, "req-1")
    assert str(failure) == f"{reason} (HTTP {status}, request req-1)"


PAGE = b"<html><title>Attention Required!</title>Sorry, you have been blocked</html>"


@pytest.mark.parametrize("status", [302, 307, 400, 403, 404, 407, 413, 421])
@pytest.mark.parametrize("body", [PAGE, b"", b"{}", b'{"message": "Forbidden"}'])
@pytest.mark.parametrize("call", ["contract", "create_session", "delete_session", "me", "organization_id"])
def test_what_a_gateway_says_is_tried_later(wire, call, status, body):
    """A firewall, a balancer or a page about maintenance knows nothing of the run: it would park them all."""
    wire.says(http(status, body, location="https://status.example/"))
    with pytest.raises(TryLater) as caught:
        CALLS[call](wire.deel)

    assert (caught.value.reason, caught.value.status) == (Reason.DEEL_UNAVAILABLE, status)


@pytest.mark.parametrize("body", [PAGE, b"", b'{"errors": [{"message": "no"}]}'])
def test_a_401_pauses_whoever_says_it(wire, body):
    """It costs a wait that a probe ends; to take it for an outage would cost every run its tries."""
    wire.says(http(401, body))
    with pytest.raises(PauseOrganisation) as caught:
        wire.deel.contract("c")

    assert caught.value.reason is Reason.ORG_TOKEN_REJECTED


def test_a_gateways_401_is_no_dead_token(wire):
    """A worker's token that works must not be replaced because of a page."""
    wire.says(http(401, PAGE))
    with pytest.raises(TryLater) as caught:
        wire.deel.me(SecretStr(WORKER_TOKEN))

    assert caught.value.reason is Reason.DEEL_UNAVAILABLE


@pytest.mark.parametrize("call", ["contract", "create_worker", "create_session", "delete_session", "me", "contracts"])
def test_a_path_that_deel_does_not_know_is_our_fault(wire, call):
    """Neither a contract that is gone nor a token that is: the base URL is wrong, and a line says so."""
    wire.says(http(404, b'{"errors": [{"message": "path not found"}]}'))
    with pytest.raises(ParkRun) as caught, capture_logs() as lines:
        CALLS[call](wire.deel)

    assert (caught.value.reason, caught.value.status) == (Reason.REQUEST_REJECTED, 404)
    assert [line["event"] for line in lines] == ["deel_path_unknown"]


@pytest.mark.parametrize(
    ("call", "kind", "reason"),
    [
        ("contract", TryLater, Reason.CONTRACT_NOT_FOUND),
        ("create_worker", TryLater, Reason.CONTRACT_NOT_FOUND),
        ("create_session", TryLater, Reason.PROFILE_NOT_FOUND),
        ("me", TryLater, Reason.PROFILE_NOT_FOUND),
        ("contracts", ParkRun, Reason.REQUEST_REJECTED),
        ("people", ParkRun, Reason.REQUEST_REJECTED),
        ("whoami", ParkRun, Reason.REQUEST_REJECTED),
    ],
)
def test_a_404_may_pass_where_deel_can_lag(wire, call, kind, reason):
    """A contract or profile that is new may not be visible yet; a listing that is not there never will be."""
    wire.says(refused(404, {"message": "not found"}))
    with pytest.raises(kind) as caught:
        CALLS[call](wire.deel)

    assert caught.value.reason is reason


SHAPES = {
    "container": {"request": {"api_req_id": "req-1"}, "errors": [{"message": "MESSAGE", "path": "/data"}]},
    "style guide": {"errors": [{"code": "forbidden", "message": "no", "details": {"needs": ["MESSAGE"]}}]},
    "worker": {"errors": [{"message": "MESSAGE"}]},
    "error object": {"error": {"code": 403, "message": "MESSAGE", "next": None}},
    "error text": {"error": "MESSAGE"},
    "rate": {"error": "Forbidden", "status": 403, "message": "MESSAGE"},
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("message", "scope"),
    [
        ("Missing admin:worker", "admin:worker"),
        ("People:Write is required", "people:write"),
        ("insufficient SCOPES", None),
        ("org flag orgsAllowedAdminScopesEnabled is off", None),
        ("insufficient_scope", None),
        ("The scope benefits:read is not enabled for this organization", None),
        ("Token lacks the required scope: people:read or worker:read", "people:read"),
        ("worker:read or people:read is required", "people:read"),
    ],
)
def test_a_403_that_names_a_scope_pauses_the_organisation(wire, shape, message, scope):
    """In each of Deel's six shapes of an error."""
    wire.says(http(403, json.dumps(SHAPES[shape]).replace("MESSAGE", message).encode()))
    with pytest.raises(PauseOrganisation) as caught:
        wire.deel.contract("c")

    assert (caught.value.reason, caught.value.scope) == (Reason.SCOPE_MISSING, scope)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    "message",
    [
        "This contract is not yours",
        "Contract is outside the scope of this token's group",
        "Contract is outside the scope of the required group",
        "Legal entity Telescope Ltd is archived",
        "Required approval of Microscopes Ltd is missing",
        "Scope of work is too long",
        "coworker:readers",
    ],
)
def test_a_403_about_anything_else_parks_the_run(wire, shape, message):
    """One contract that the token may not see is not everybody's problem, whatever words it is told in."""
    wire.says(http(403, json.dumps(SHAPES[shape]).replace("MESSAGE", message).encode()))
    with pytest.raises(ParkRun):
        wire.deel.contract("c")


def test_a_scope_in_the_address_of_an_error_is_not_its_message(wire):
    """Only what Deel says went wrong is read, not the request that it repeats."""
    body = {"request": {"url": "/scope", "docs": "https://docs/scopes"}, "errors": [{"message": "no"}]}
    wire.says(http(403, json.dumps(body).encode()))

    with pytest.raises(ParkRun):
        wire.deel.contract("c")


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        ("0.5", 0.5),
        ("0", 0.0),
        ("86401", 86_400.0),
        ("9" * 400, 86_400.0),
        ("-1", None),
        ("nan", None),
        ("inf", None),
        ("1e3", None),
        ("1_000", None),
        ("soon", None),
        ("", None),
        ("Thu, 01 Jan 1970 00:00:10 GMT", None),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 86_400.0),
        ("Fri, 31 Dec 99999 23:59:59 GMT", None),
        (formatdate(1_900_000_090, usegmt=True), 90.0),
    ],
)
def test_retry_after_is_heeded_within_reason(value, seconds):
    """Seconds or a date, by Deel's own clock where it sends it; what is absurd is ignored, a day is the most."""
    headers = {"retry-after": value, "date": formatdate(1_900_000_000, usegmt=True)}

    assert retry_after_s(headers) == seconds


def test_retry_after_by_our_clock_where_deel_sends_none():
    """Without a Date header the date is compared with now."""
    later = datetime.now(UTC).timestamp() + 100

    assert retry_after_s({"retry-after": formatdate(later, usegmt=True)}) == pytest.approx(100, abs=3)


@given(st.text(), st.text())
def test_no_retry_after_breaks_anything(value, date):
    """Whatever the headers say, it is seconds between zero and a day, or none."""
    seconds = retry_after_s({"retry-after": value, "date": date})

    assert seconds is None or 0 <= seconds <= 86_400


@pytest.mark.parametrize(
    ("headers", "after_s", "held_s"),
    [({}, None, 1.0), ({"retry_after": "3"}, 3.0, 3.0), ({"retry_after": "120"}, 120.0, 10.0)],
)
def test_a_429_holds_the_whole_budget_for_a_moment(wire, headers, after_s, held_s):
    """The run waits as long as Deel says; the others at most ten seconds, as the 429 may be about one key."""
    wire.says(refused(429, {"message": "slow down"}, **headers))
    with pytest.raises(TryLater) as caught:
        wire.deel.me(SecretStr(WORKER_TOKEN))

    assert caught.value.after_s == after_s
    assert wire.budget.log == ["take", held_s]


def test_a_5xx_says_when_to_come_back(wire):
    """Retry-After of a planned outage is passed on, and holds nobody else."""
    wire.says(refused(503, retry_after="60"))
    with pytest.raises(TryLater) as caught:
        wire.deel.contract("c")

    assert caught.value.after_s == 60.0
    assert wire.budget.log == ["take"]


UNREADABLE = {
    "html": b"<html>502</html>",
    "empty": b"",
    "truncated": b'{"data": {"id": "c", "ty',
    "deep": b'{"data":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "deep error": b'{"errors":' + b"[" * 100_000,
    "nan": b"NaN",
    "list": b"[]",
    "null": b"null",
    "data null": b'{"data": null}',
    "wrong types": b'{"data": {"id": ["c"], "type": 7, "token": 1, "expires_at": true, "hris_profile_id": {}}}',
    "lone surrogate": b'{"data": {"id": "\\ud800", "type": "eor", "token": "\\ud800", "expires_at": "\\udfff"}}',
    "not utf-8": b'{"data": {"id": "\xff", "type": "eor"}}',
    "unsafe ids": b'{"data": {"id": "../x", "type": "eor", "hris_profile_id": ".."}}',
    "token with a line": b'{"data": {"token": "a\\r\\nx: y", "expires_at": "2030-01-01T00:00:00Z"}}',
    "no time": b'{"data": {"token": "t", "expires_at": "tomorrow"}}',
    "huge number": b'{"data": {"id": ' + b"9" * 5000 + b', "type": "eor"}}',
}


@pytest.mark.parametrize("body", UNREADABLE.values(), ids=UNREADABLE.keys())
@pytest.mark.parametrize("call", ["contract", "me", "whoami", "create_worker", "create_session", "organization_id"])
def test_a_2xx_that_cannot_be_read_is_tried_later(wire, call, body):
    """Nothing was learnt from it; the same key gets the same answer."""
    wire.says(http(200, body))
    with pytest.raises(TryLater) as caught:
        CALLS[call](wire.deel)

    assert (caught.value.reason, caught.value.status) == (Reason.DEEL_UNAVAILABLE, 200)


@pytest.mark.parametrize("call", sorted(CALLS))
def test_no_answer_is_tried_later(wire, call):
    """A cut connection is no fact about the run. One line says what went wrong, with the id that we sent."""
    wire.says(b"")
    with pytest.raises(TryLater) as caught, capture_logs() as lines:
        CALLS[call](wire.deel)

    sent = wire.asked[0].headers["x-request-id"]
    assert str(caught.value) == f"deel_unavailable (HTTP -, request {sent})"
    (line,) = lines
    told = {"kind": "cut", "detail": "", "host": "127.0.0.1", "request_id": sent}
    assert line == {"event": "deel_no_reply", "log_level": "warning", **told}


@pytest.mark.parametrize(
    ("body_id", "header_id", "shown"),
    [
        ("from-body", "from-header", "from-body"),
        (None, "from-header", "from-header"),
        (17, "from-header", "from-header"),
        ("a b\u2028<script>", "also bad!", None),
        ("x" * 129, "y" * 128, "y" * 128),
    ],
)
def test_a_request_id_is_deels_and_harmless(wire, body_id, header_id, shown):
    """The body's, else the header's; one that could break a log line is none."""
    body = json.dumps({"request": {"api_req_id": body_id}}).encode()
    wire.says(http(500, body, x_request_id=header_id))
    with pytest.raises(TryLater) as caught:
        wire.deel.contract("c")

    assert caught.value.request_id == shown


def test_where_deel_names_no_request_ours_is_told(wire):
    """A gateway's page has no id of Deel's; the one that we sent is in the timeline then."""
    wire.says(http(502, PAGE))
    with pytest.raises(TryLater) as caught:
        wire.deel.contract("c")

    assert caught.value.request_id == wire.asked[0].headers["x-request-id"]


@pytest.mark.parametrize("status", [302, 400, 401, 403, 404, 429, 500])
@pytest.mark.parametrize("call", sorted(set(CALLS) - {"me", "delete_session"}))
def test_no_failure_shows_a_secret(wire, call, status):
    """An answer that repeats tokens and addresses leaves none in text, cause, context or attributes."""
    said = f"{ORG_TOKEN} {WORKER_TOKEN} ada@example.com people:read"
    wire.says(http(status, json.dumps({"errors": [{"message": said}]}).encode()))
    if call == "organization_id" and status in (403, 404):
        assert CALLS[call](wire.deel) is None
        return
    with pytest.raises(DeelFailure) as caught:
        CALLS[call](wire.deel)

    assert_silent(caught.value)


@pytest.mark.parametrize("call", sorted(set(CALLS) - {"delete_session", "contracts", "people"}))
def test_no_unreadable_answer_shows_a_secret(wire, call):
    """pydantic's own error would quote the body."""
    wire.says(ok({"data": {"token": [WORKER_TOKEN], "id": ["ada@example.com"], "email": [ORG_TOKEN]}}))
    with pytest.raises(TryLater) as caught:
        CALLS[call](wire.deel)

    assert_silent(caught.value)


def assert_silent(failure: DeelFailure) -> None:
    """The failure, and all that hangs on it, is text without a secret."""
    assert failure.__cause__ is None
    assert failure.__context__ is None
    shown = f"{failure} {failure!r} {vars(failure)}"
    assert not [secret for secret in SECRETS if secret in shown]


@pytest.mark.parametrize(
    "failure",
    [
        TryLater(Reason.RATE_LIMITED, 429, "r", after_s=3.0),
        PauseOrganisation(Reason.SCOPE_MISSING, 403, "r", scope="admin:worker"),
        ParkRun(Reason.REQUEST_REJECTED),
    ],
)
def test_a_failure_survives_a_process_boundary(failure):
    """A worker's pool hands exceptions on by pickling them."""
    copy = pickle.loads(pickle.dumps(failure))

    assert (type(copy), str(copy), vars(copy)) == (type(failure), str(failure), vars(failure))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["eor", HRIS, WORKER_TOKEN]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *("data", "page", "id", "type", "worker", "cursor", "token", "expires_at", "hris_profile_id"),
                    *("email", "emails", "errors", "error", "message", "request", "api_req_id", "total_rows"),
                ]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)
HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "retry_after": st.from_regex(r"[ -~]{0,20}", fullmatch=True),
        "x_request_id": st.from_regex(r"[ -~]{0,20}", fullmatch=True),
    },
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    call=st.sampled_from(sorted(CALLS)),
    status=st.sampled_from([200, 201, 204, 302, 400, 401, 403, 404, 429, 500]) | st.integers(200, 999),
    body=st.binary(max_size=100) | JSON.map(lambda value: json.dumps(value).encode()),
    headers=HEADERS,
)
@example(call="contract", status=200, body=b'{"data":' * 5000, headers={})
def test_nothing_but_three_failures_leaves_the_client(wire, call, status, body, headers):
    """Any bytes at any status are a typed value or a failure that says where the run goes."""
    wire.says(http(status, body, **headers))
    try:
        shown = repr(CALLS[call](wire.deel))
    except (TryLater, ParkRun, PauseOrganisation) as failure:
        shown = f"{failure!r} {failure}"

    assert WORKER_TOKEN not in shown or call in ("organization_id", "create_worker")  # there it is an id
