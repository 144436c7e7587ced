"""The proxy: an app acts as a worker, as that one alone, by the calls on the list, and never sees the token."""

from __future__ import annotations

import gzip
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import update

from onboarding.service_keys import Scope
from onboarding.store.sql import from_now
from onboarding.store.tables import worker_tokens
from onboarding.transport import Http, NoReply, Reply
from onboarding.web import allowed as lists
from onboarding.web import tokens
from onboarding.web.allowed import ALLOWED, NotAllowed, WrongMethod, allowed
from onboarding.web.proxy import headers_for_deel, passed_on
from onboarding.web.requests import Refused
from tests.onboarding.web.conftest import Desk

ROOT = "/v1/workers/c-1/deel"
ME = f"{ROOT}/people/me"
SIGN = f"{ROOT}/eor/workers/contracts/c-1/signatures"


@pytest.fixture
def key(desk: Desk) -> str:
    """One that may do no more."""
    return desk.key(scope=Scope.PROXY)


def worker_calls(desk: Desk) -> list[str]:
    return [call.route for call in desk.world.deel.ledger.calls() if call.token_kind == "worker"][1:]  # the run's own


def worker_id(desk: Desk) -> str:
    profile: str = desk.world.run().hris_profile_id
    return profile


def test_an_app_acts_as_the_worker_and_never_sees_the_token(desk: Desk, key: str):
    """Deel's answer as it is; nobody keeps it; each call is on record by its template, without an id."""
    profile = worker_id(desk)
    status, me, headers = desk.ask(key, ME, method="GET")
    assert (status, me["email"]) == (200, "c-1@example.com")
    assert headers["cache-control"] == "no-store"
    status, slips, _ = desk.ask(key, f"{ROOT}/eor/workers/{profile}/payslips", method="GET")
    assert (status, len(slips["data"])) == (200, 2)
    body = b'{"data": {"signature": "Ada Lovelace", "version": "1"}}'
    assert desk.ask(key, SIGN, body, content_type="application/json")[0] == 201
    assert desk.world.deel.desk_of("c-1").signature == "Ada Lovelace"
    assert worker_calls(desk) == [
        "GET /people/me",
        "GET /eor/workers/{worker_id}/payslips",
        "POST /eor/workers/contracts/{contract_id}/signatures",
    ]
    assert [line[3] for line in desk.audited()] == worker_calls(desk)
    assert {line[:3] for line in desk.audited()} == {("key app", "token", "c-1")}
    assert desk.world.deel.live_token("c-1") not in f"{me}{slips}{headers}{desk.door.lines}"


def test_a_document_is_uploaded(desk: Desk, key: str):
    """Of some megabytes, as a form; one of ten is too large."""
    paper = desk.world.deel.desk_of("c-1").papers[0]
    content = b"%PDF-" + b"\x00\xff" * 2_000_000
    head = (
        b'--x\r\ncontent-disposition: form-data; name="file"; filename="p.pdf"\r\ncontent-type: application/pdf\r\n\r\n'
    )
    form = head + content + b"\r\n--x--\r\n"
    path = f"{ROOT}/eor/workers/compliance-documents/{paper.id}"
    assert desk.ask(key, path, form, content_type="multipart/form-data; boundary=x")[0] == 200
    assert paper.content == content
    assert desk.ask(key, path, b"x" * 10_000_000, content_type="multipart/form-data; boundary=x")[0] == 413
    assert desk.ask(key, SIGN, b"x" * 70_000)[0] == 413
    assert desk.ask(key, ME, b"x", method="GET")[0] == 413
    assert desk.door.refused() == [(413, "too_large")] * 3


def test_a_token_that_deel_refuses_is_renewed_and_the_call_repeated(desk: Desk, key: str):
    """Another system had one issued: the app sees the answer alone."""
    old = {"stored_at": from_now(-90)}
    desk.world.store.write(lambda db: db.execute(update(worker_tokens).values(**old)))
    desk.world.deel.supersede("c-1")
    body = b'{"data": {"signature": "Ada", "version": "1"}}'
    assert desk.ask(key, SIGN, body, content_type="application/json")[0] == 201
    assert desk.world.deel.desk_of("c-1").signature == "Ada"


@pytest.mark.parametrize(
    "path",
    [
        "/magic-link",
        "/contracts",
        "/people",
        "/workers/session",
        "/eor/workers/banks",
        "/eor/workers/contracts/c-2/signatures",
        "/eor/workers/someone-else/payslips",
        "/people/someone-else",
        "/people/me/",
        "/people/me;x",
        "/@evil.example/people/me",
    ],
)
def test_a_path_outside_the_list(desk: Desk, key: str, path: str):
    """Also another worker's or another contract's: nothing reaches Deel, nothing is on record as handed out."""
    calls = len(desk.world.deel.ledger)
    for method in ("GET", "POST", "DELETE"):
        status, _, _ = desk.ask(key, ROOT + path, method=method)
        assert status == (400 if path.endswith("/") else 403)
    assert len(desk.world.deel.ledger) == calls
    assert desk.audited() == []
    assert len(desk.door.refused()) == 3


@pytest.mark.parametrize(
    "path",
    ["/../v2/people", "/people/../people/me", "/people/./me", "//people/me", "/http://evil.example/people/me", "/",
     "/people%2Fme", "/%2e%2e/people", "/people/me%00", "/people/%6de", "/people/me%3Fx"],
)  # fmt: skip
def test_a_path_with_steps_or_codes(desk: Desk, key: str, path: str):
    """Refused as it was sent: what it would come to is nobody's guess."""
    calls = len(desk.world.deel.ledger)
    assert desk.ask(key, ROOT + path, method="GET")[0] == 400
    assert len(desk.door.refused()) == 1
    assert len(desk.world.deel.ledger) == calls


def test_a_wrong_method(desk: Desk, key: str):
    """Told which is right."""
    status, answer, headers = desk.ask(key, ME, method="POST")
    assert (status, answer, headers["allow"]) == (405, {"error": "method_not_allowed"}, "GET")
    assert desk.ask(key, ME, method="TRACE")[0] == 405
    assert desk.door.refused() == [(405, "method_not_allowed")] * 2


def test_only_listed_headers_go_to_deel(desk: Desk, key: str, monkeypatch: pytest.MonkeyPatch):
    """Neither the app's key, nor a cookie, nor what would change who asks or in which version; the query does."""
    sent: list[dict[str, str]] = []
    urls: list[str] = []
    send = Http.send

    def watch(self: Http, method: str, url: str, **how: object) -> Reply:
        sent.append(dict(how["headers"]))  # type: ignore[call-overload]
        urls.append(url)
        return send(self, method, url, **how)  # type: ignore[arg-type]

    monkeypatch.setattr(Http, "send", watch)
    smuggled = {"cookie": "a=b", "x_forwarded_for": "1.2.3.4", "x_version": "1", "x_beta": "true", "te": "trailers"}
    smuggled |= {"content_type": "text/plain", "accept": "application/json", "x_auth_token": "y", "user_agent": "app"}
    assert desk.ask(key, f"{ME}?a=b%26c&d", method="GET", **smuggled)[0] == 200
    ((headers),) = sent
    assert set(headers) <= {"authorization", "accept", "content-type", "user-agent", "accept-encoding", "x-version"}
    assert headers["authorization"] == f"Bearer {desk.world.deel.live_token('c-1')}"
    assert (headers["accept"], headers["user-agent"]) == ("application/json", "deel-onboarding")
    assert (headers["accept-encoding"], headers.get("x-version")) == ("identity", None)
    assert urls == [f"{desk.world.deel.url}/people/me?a=b%26c&d"]


def test_an_idempotency_key_cannot_bring_back_another_calls_answer(desk: Desk, key: str):
    """Ours can be computed, and Deel answered to them with tokens; an app's own still makes a repeat harmless."""
    (issued,) = desk.world.deel.ledger.calls("POST /workers/session")
    body = b'{"data": {"signature": "Ada", "version": "1"}}'
    for _ in range(2):
        status, answer, _ = desk.ask(
            key, SIGN, body, content_type="application/json", idempotency_key=issued.idempotency_key or ""
        )
        assert (status, answer) == (201, {"data": {"created": True}})
    first, second = desk.world.deel.ledger.calls("POST /eor/workers/contracts/{contract_id}/signatures")
    assert first.idempotency_key == second.idempotency_key != issued.idempotency_key
    assert (first.replayed, second.replayed) == (False, True)
    other = headers_for_deel({"idempotency-key": b"k"}, "key-1", "c-2")
    assert other != headers_for_deel({"idempotency-key": b"k"}, "key-1", "c-1")


@pytest.mark.parametrize("value", [b"", b"a\x00b", b"\xe9", b"x" * 256])
def test_a_header_that_none_should_be(value: bytes):
    """Refused here: what another server makes of it is not known."""
    with pytest.raises(Refused) as refused:
        headers_for_deel({"idempotency-key": value}, "key", "c-1")
    assert refused.value.status_code == 400


def test_what_deel_answers_badly_is_502(desk: Desk, key: str):
    """HTML, half an answer, a cut, a 5xx: nothing of it is passed on."""
    deel, route = desk.world.deel, "GET /people/me"
    for spoil in (
        lambda: deel.answers_html(route, status=200),
        lambda: deel.truncates(route),
        lambda: deel.cuts_connection(after=route),
        lambda: deel.fails(route, status=500),
    ):
        spoil()
        assert desk.ask(key, ME, method="GET")[0] == 502
    reasons = [reason for _, reason in desk.door.refused()]
    assert reasons[0] == "deel_sent_no_json"
    assert set(reasons[1:3]) <= {"deel_sent_no_json", "deel_gave_no_answer"}
    assert reasons[3] == "deel_failed"


def test_a_packed_answer_is_none(desk: Desk, key: str, monkeypatch: pytest.MonkeyPatch):
    """A bomb stays its own few bytes; an answer beyond eight megabytes is cut off; a slow one is 504."""
    bomb = gzip.compress(b" " * 3_000_000)
    answers = [
        Reply(200, {"content-type": "application/json", "content-encoding": "gzip"}, bomb),
        NoReply("too_large", "deel"),
        NoReply("timeout", "deel"),
        NoReply("connect", "deel"),
    ]

    def answer(*_: object, **__: object) -> Reply:
        given = answers.pop(0)
        if isinstance(given, NoReply):
            raise given
        return given

    monkeypatch.setattr(Http, "send", answer)
    assert [desk.ask(key, ME, method="GET")[0] for _ in range(4)] == [502, 502, 504, 502]
    assert desk.service._access.http._max_bytes == tokens.MAX_ANSWER == 8 << 20


@pytest.mark.parametrize(
    ("reply", "passed"),
    [
        (Reply(204, {}, b""), (204, {})),
        (Reply(429, {"retry-after": "7", "content-type": "application/json"}, b"{}"), (429, {"retry-after": "7"})),
        (Reply(409, {"content-type": "application/problem+json", "x-request-id": "r-1", "set-cookie": "a"}, b"{}"),
         (409, {"x-deel-request-id": "r-1"})),
        (Reply(401, {"content-type": "application/json"}, b"{}"), 502),
        (Reply(302, {"location": "https://evil.example"}, b""), 502),
        (Reply(503, {"content-type": "application/json"}, b"{}"), 502),
        (Reply(403, {"content-type": "text/html"}, b"<html>"), 502),
        (Reply(200, {"content-type": "application/json"}, b'{"a": '), 502),
        (Reply(200, {"content-type": "application/json"}, b"[" * 100_000), 502),
    ],
)  # fmt: skip
def test_what_of_an_answer_comes_back(reply: Reply, passed: tuple[int, dict[str, str]] | int):
    """Deel's refusals are the app's to see, its 401 is not: the app's own key is right."""
    if isinstance(passed, int):
        with pytest.raises(Refused) as refused:
            passed_on(reply)
        assert refused.value.status_code == passed
        return
    got = passed_on(reply)
    json_kind = {"content-type": "application/json"} if reply.body else {}
    assert (got.status, dict(got.headers)) == (passed[0], {**json_kind, **passed[1]})


OWN = {"contract_id": "c-1", "worker_id": "w-1"}


def test_the_list_is_of_calls_that_deel_has_for_workers():
    """As its own files name them; and each is made by its own ids alone."""
    for line in ALLOWED:
        method, _, template = line.partition(" ")
        path = template.format(contract_id="c-1", worker_id="w-1", document_id="d", payslip_id="p")
        assert allowed(method, path, OWN).name == line or line == "GET /people/{worker_id}"
        for place in ("contract_id", "worker_id"):
            if f"{{{place}}}" in template:
                ids = {"contract_id": "c-1", "worker_id": "w-1", "document_id": "d", "payslip_id": "p", place: "other"}
                with pytest.raises(NotAllowed):
                    allowed(method, template.format(**ids), OWN)


@given(
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE"]),
    segments=st.lists(
        st.sampled_from(["eor", "workers", "people", "me", "contracts", "c-1", "c-2", "w-1", "w-2", "payslips",
                         "signatures", "compliance-documents", "download", "..", ".", "", "d%2F", "é", "a b", "x\n"])
        | st.text(max_size=3),
        max_size=7,
    ),
)  # fmt: skip
def test_whatever_is_asked_names_no_other_worker(method: str, segments: list[str]):
    """What passes is one of the templates with safe ids, and in the worker's and the contract's place with ours."""
    path = "/" + "/".join(segments)
    try:
        call = allowed(method, path, OWN)
    except (NotAllowed, WrongMethod):
        return
    right, _, template = call.name.partition(" ")
    assert right == method
    assert re.fullmatch(r"[/A-Za-z0-9._~-]+", path)
    assert not {"", ".", ".."} & set(path[1:].split("/"))
    own = template.format(contract_id="c-1", worker_id="w-1", document_id="\0", payslip_id="\0")
    assert re.fullmatch(re.escape(own).replace("\0", "[^/]+"), path)
    assert call.max_body >= lists.MAX_JSON or method == "GET"
