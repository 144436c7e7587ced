"""What Deel's answers become."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from onboarding.deel import (
    Identity,
    ParkRun,
    PauseOrganisation,
    TokenRejected,
    TryLater,
)
from onboarding.runs import Facts, Reason
from tests.onboarding.deel_wire import (
    CONTRACT,
    HRIS,
    ME,
    PROFILE,
    SESSION,
    WORKER_TOKEN,
    ok,
    refused,
)
from tests.onboarding.raw_server import http


def test_a_contract_is_its_facts(wire):
    """Addresses are lower case, each once, the worker's own first; unverified and empty ones are none."""
    wire.says(ok({"data": CONTRACT}, x_request_id="req-2"))
    contract = wire.deel.contract("mp4y66j")

    assert contract.facts() == Facts("eor", (SecretStr("ada@example.com"), SecretStr("ada@home.example")), HRIS)
    assert (contract.id, contract.status, contract.receipt.request_id) == (
        "mp4y66j",
        "a_status_of_tomorrow",
        "req-2",
    )


def test_another_contract_than_the_one_asked_for_is_no_answer(wire):
    """Whoever's answer it is: this run must not get that worker's facts."""
    wire.says(ok({"data": CONTRACT}))
    with pytest.raises(TryLater) as caught:
        wire.deel.contract("mp4y66k")

    assert (caught.value.reason, caught.value.status) == (Reason.DEEL_UNAVAILABLE, 200)


@pytest.mark.parametrize(
    ("worker", "emails"),
    [
        (None, []),
        ({}, []),
        ({"id": "", "email": "", "expected_email": None, "alternate_email": None}, []),
        ({"expected_email": "ada@example.com", "first_name": "Ada"}, ["ada@example.com"]),
    ],
)
def test_a_contract_before_its_worker_has_no_profile(wire, worker, emails):
    """`worker` may be absent, null, or there without an id: that is no profile, not an unreadable answer."""
    wire.says(ok({"data": {"id": "c", "type": "eor", "worker": worker}}))
    contract = wire.deel.contract("c")

    assert contract.hris_profile_id is None
    assert [email.get_secret_value() for email in contract.emails] == emails


def test_a_list_is_read_page_by_page_to_its_end(wire):
    """Newest first; filters travel with every page, the cursor with all but the first; an empty page is the last."""
    pages = [
        {"data": [{"id": f"c{n}", "type": "eor"}], "page": {"cursor": f"after-{n}", "total_rows": 3}} for n in (1, 2)
    ]
    wire.says(*map(ok, pages), ok({"data": [], "page": {"cursor": "after-3", "total_rows": 3}}))
    wanted = {"types": ("eor",), "statuses": ("new", "onboarding")}
    found = [wire.deel.contracts(cursor=cursor, **wanted) for cursor in (None, "after-1", "after-2")]

    assert [contract.id for page in found for contract in page.contracts] == ["c1", "c2"]
    assert [page.next_cursor for page in found] == ["after-1", "after-2", None]
    queries = [parse_qs(urlsplit(asked.target).query) for asked in wire.asked]
    assert [query.pop("after_cursor", None) for query in queries] == [None, ["after-1"], ["after-2"]]
    asked = {"limit": ["99"], "types": ["eor"], "statuses": ["new", "onboarding"], "order_direction": ["desc"]}
    assert queries == [asked] * 3


def test_a_cursor_that_no_url_carries_is_unreadable(wire):
    """It would fail at the next page, where nobody could tell why."""
    wire.says(ok({"data": [{"id": "c", "type": "eor"}], "page": {"cursor": "x" * 70_000}}))

    with pytest.raises(TryLater):
        wire.deel.contracts()


def test_a_search_that_no_url_carries_is_refused(wire):
    """A failure like any other, not an exception of the transport's."""
    with pytest.raises(ParkRun):
        wire.deel.people(search="x" * 70_000)


def test_a_bad_entry_does_not_hide_the_rest_of_a_list(wire):
    """What cannot be read is skipped and counted."""
    entries = [{"id": "a/b", "type": "eor"}, None, {"id": "c", "type": "eor"}, {"type": "eor"}]
    wire.says(ok({"data": entries, "page": {"cursor": "x", "total_rows": 4}}))
    page = wire.deel.contracts()

    assert ([contract.id for contract in page.contracts], page.skipped, page.next_cursor) == (["c"], 3, "x")


def test_people_are_found_with_their_contracts(wire):
    """Offset paging: the next offset is there while rows are."""
    person = {
        "id": HRIS,
        "emails": [{"type": "work", "value": "Ada@example.com"}, {"type": "personal", "value": None}],
        "employments": [{"id": "mp4y66j"}, {"id": ""}],
    }
    wire.says(ok({"data": [person, {"id": None}], "page": {"offset": 4, "total_rows": 7, "items_per_page": 2}}))
    page = wire.deel.people(search="ada+x@example.com", offset=4)

    (found,) = page.people
    assert (found.hris_profile_id, found.contract_ids) == (HRIS, ("mp4y66j",))
    assert found.emails == (SecretStr("ada@example.com"),)
    assert (page.next_offset, page.skipped) == (6, 1)
    assert parse_qs(urlsplit(wire.asked[0].target).query)["search"] == ["ada+x@example.com"]


def test_people_end_with_their_rows(wire):
    """The last page has no next offset."""
    wire.says(ok({"data": [{"id": HRIS}], "page": {"offset": 6, "total_rows": 7, "items_per_page": 2}}))

    assert wire.deel.people(offset=6).next_offset is None


@pytest.mark.parametrize("status", [200, 201])
def test_a_worker_is_its_hris_profile(wire, status):
    """Never the response's `profile_id`; Deel's pages name both statuses."""
    wire.says(ok(PROFILE, status))

    assert wire.deel.create_worker("mp4y66j", idempotency_key="k").hris_profile_id == HRIS


@pytest.mark.parametrize("replayed", [True, False])
def test_a_session_is_a_token_and_whether_it_is_old(wire, replayed):
    """A cached answer is known by its header; the token does not show."""
    headers = {"x_original_request_id": "req-0"} if replayed else {}
    wire.says(ok(SESSION, 201, **headers))
    session = wire.deel.create_session(HRIS, idempotency_key="k")

    assert (session.token.get_secret_value(), session.replayed) == (WORKER_TOKEN, replayed)
    assert WORKER_TOKEN not in repr(session)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2023-10-01T12:00:00Z", datetime(2023, 10, 1, 12, tzinfo=UTC)),
        ("2025-05-17T13:31:27.957Z", datetime(2025, 5, 17, 13, 31, 27, 957000, tzinfo=UTC)),
        ("2023-10-01T14:00:00+02:00", datetime(2023, 10, 1, 12, tzinfo=UTC)),
        ("2023-10-01T14:00:00+0200", datetime(2023, 10, 1, 12, tzinfo=UTC)),
        ("2023-10-01 12:00:00", datetime(2023, 10, 1, 12, tzinfo=UTC)),
        ("20231001T120000Z", datetime(2023, 10, 1, 12, tzinfo=UTC)),
        ("2023-10-01", datetime(2023, 10, 1, tzinfo=UTC)),
        ("2023-09-30T24:00:00Z", datetime(2023, 10, 1, tzinfo=UTC)),
        ("2016-12-31T23:59:60Z", datetime(2016, 12, 31, 23, 59, 59, tzinfo=UTC)),
        ("2023-10-01T12:00:00.123456789Z", datetime(2023, 10, 1, 12, 0, 0, 123456, tzinfo=UTC)),
    ],
)
def test_an_end_is_read_in_every_form_of_iso_8601(wire, text, moment):
    """And is UTC here. An unreadable one would have the same token asked for again for ever."""
    wire.says(ok({"data": {"token": WORKER_TOKEN, "expires_at": text}}, 201))

    expires_at = wire.deel.create_session(HRIS, idempotency_key="k").expires_at
    assert (expires_at, expires_at.tzinfo) == (moment, UTC)


@pytest.mark.parametrize("text", ["2999-01-01T00:00:00Z", "9999-12-31T23:59:59-05:00"])
def test_no_token_outlives_its_day(wire, text):
    """A wrong year, or another's clock, must not keep a dead token in the vault for ever."""
    wire.says(ok({"data": {"token": WORKER_TOKEN, "expires_at": text}}, 201))
    session = wire.deel.create_session(HRIS, idempotency_key="k")

    assert timedelta(hours=24) < session.expires_at - datetime.now(UTC) <= timedelta(hours=25)


@pytest.mark.parametrize(("replayed", "lines"), [({}, 1), ({"x_original_request_id": "req-0"}, 0)])
def test_a_new_token_that_has_expired_is_told(wire, replayed, lines):
    """One of the two clocks is wrong; no life is made up for it. An old answer may well be expired."""
    wire.says(ok({"data": {"token": WORKER_TOKEN, "expires_at": "2023-10-01T12:00:00Z"}}, 201, **replayed))
    with capture_logs() as told:
        session = wire.deel.create_session(HRIS, idempotency_key="k")

    assert session.expires_at.year == 2023
    assert [line["event"] for line in told] == ["deel_token_expired_when_issued"] * lines


@pytest.mark.parametrize(
    "odd",
    [
        {"status": 7},
        {"invitations": []},
        {"invitations": {"worker_email": 7}},
        {"worker": {**CONTRACT["worker"], "expected_email": {}}},
        *(
            {"worker": {**CONTRACT["worker"], "alternate_email": odd}}
            for odd in ([None], ["a@b.example"], "a@b.example")
        ),
        {"worker": {**CONTRACT["worker"], "alternate_email": [{"email": "a@b.example", "isVerified": "maybe"}]}},
    ],
)
def test_a_detail_that_is_not_as_it_should_be_is_none(wire, odd):
    """It costs nobody the rest of the answer."""
    wire.says(ok({"data": {**CONTRACT, **odd}}))
    contract = wire.deel.contract("mp4y66j")

    assert (contract.type, contract.hris_profile_id) == ("eor", HRIS)
    assert contract.emails[0] == SecretStr("ada@example.com")
    assert SecretStr("a@b.example") not in contract.emails


@pytest.mark.parametrize("worker", [[], "w", {"id": "../x"}, {"id": ["w"]}])
def test_a_worker_that_cannot_be_read_is_not_none(wire, worker):
    """That there is no profile yet must be said, not guessed: a second one would be made."""
    wire.says(ok({"data": {"id": "c", "type": "eor", "worker": worker}}))

    with pytest.raises(TryLater):
        wire.deel.contract("c")


def test_a_mark_before_the_json_is_no_part_of_it(wire):
    """Some gateways write a byte order mark."""
    wire.says(http(200, b"\xef\xbb\xbf" + json.dumps({"data": CONTRACT}).encode()))
    assert wire.deel.contract("mp4y66j").id == "mp4y66j"

    wire.says(http(400, b"\xef\xbb\xbf" + b'{"errors": [{"message": "no"}]}'))
    with pytest.raises(ParkRun):
        wire.deel.contract("mp4y66j")


@pytest.mark.parametrize("wrapped", [True, False])
def test_an_identity_is_read_flat_or_wrapped(wire, wrapped):
    """Deel documents it flat; it was seen within `data`. Numbers are ids too."""
    wire.says(ok({"data": ME} if wrapped else ME))
    identity = wire.deel.me(SecretStr(WORKER_TOKEN))

    assert isinstance(identity, Identity)
    assert identity.emails == (SecretStr("ada@example.com"),)
    assert identity.organization_id == "42"


def test_an_identity_without_an_address_proves_nothing(wire):
    """Nobody is judged by an empty answer: it is asked again."""
    wire.says(ok({"id": 1, "organization_id": 42}))
    with pytest.raises(TryLater):
        wire.deel.me(SecretStr(WORKER_TOKEN))

    assert wire.deel.whoami().organization_id == "42"


def test_a_dead_token_is_an_answer(wire):
    """401 to a worker's token is what verify_token wants to know, and pauses nobody."""
    wire.says(refused(401, {"message": "Unauthorized"}))
    answer = wire.deel.me(SecretStr(WORKER_TOKEN))

    assert isinstance(answer, TokenRejected)
    assert (answer.receipt.status, answer.receipt.request_id) == (401, "req-1")


def test_a_missing_scope_of_a_workers_token_pauses_nobody(wire):
    """What one worker's token may not do says nothing about the organisation's."""
    wire.says(refused(403, {"message": "Missing scope worker:read"}))

    with pytest.raises(ParkRun):
        wire.deel.me(SecretStr(WORKER_TOKEN))


@pytest.mark.parametrize("token", ["", "two words", "line\nbreak", "é"])
def test_a_workers_token_that_no_header_carries_is_never_sent(wire, token):
    """It is no token of Deel's."""
    with pytest.raises(ParkRun):
        wire.deel.me(SecretStr(token))

    assert wire.asked == []


@pytest.mark.parametrize("first", [refused(403, {"message": "scope"}), refused(404), ok({"data": []})])
def test_the_organisation_is_asked_elsewhere_where_the_list_is_closed(wire, first):
    """A token without organizations:read still knows where it belongs; each call takes from the budget."""
    wire.says(first, ok(ME))

    assert wire.deel.organization_id() == "42"
    assert wire.budget.log == ["take", "take"]


@pytest.mark.parametrize("list_", [refused(403, {"message": "Missing scope organizations:read"}), ok({"data": []})])
@pytest.mark.parametrize(
    "me", [refused(403, {"message": "scope people:read is missing"}), ok({"email": "a@b.example"})]
)
def test_an_organisation_that_the_token_may_not_know_is_none(wire, list_, me):
    """The documented scopes open neither list nor identity: no failure, and not asked for again."""
    wire.says(list_, me)

    assert [wire.deel.organization_id() for _ in range(2)] == [None, None]
    assert len(wire.asked) == 2


def test_a_rejected_token_is_no_missing_organisation(wire):
    """401 is about the token."""
    wire.says(refused(401, {"message": "no"}))

    with pytest.raises(PauseOrganisation):
        wire.deel.organization_id()


@pytest.mark.parametrize("answer", [http(204), ok({}), http(200, b"<html>"), refused(404, {"message": "none"})])
def test_a_token_that_is_gone_is_revoked(wire, answer):
    """204, and 404 as well: there is no token any more. The body is not looked at."""
    wire.says(answer)

    assert wire.deel.delete_session(HRIS).status in (200, 204, 404)
