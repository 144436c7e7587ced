"""The token service: who gets a worker's token over HTTP, and who is refused, how, with one line in the log."""

from __future__ import annotations

import gzip
import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import pytest
from sqlalchemy import update

from onboarding.service_keys import Scope
from onboarding.store import consents, service_keys
from onboarding.store.engine import Store, StoreUnavailable
from onboarding.store.sql import from_now
from onboarding.store.tables import runs, worker_tokens
from onboarding.store.tables import service_keys as table
from onboarding.web import tokens
from tests.onboarding.web.conftest import TOKEN as PATH
from tests.onboarding.web.conftest import Desk


def test_a_key_gets_the_workers_token(desk: Desk):
    """The one that lives; nobody keeps the answer; who and why is on record."""
    status, answer, headers = desk.ask(desk.key(), body=b'{"because": "fetch payslips"}')
    assert status == 200
    assert answer["token"] == desk.world.deel.live_token("c-1")
    assert (answer["contract_id"], answer["hris_profile_id"]) == ("c-1", desk.world.run().hris_profile_id)
    assert datetime.fromisoformat(answer["expires_at"]) > datetime.now().astimezone()
    assert set(answer) == {"contract_id", "hris_profile_id", "token", "expires_at"}
    assert (headers["cache-control"], headers["x-content-type-options"]) == ("no-store", "nosniff")
    assert desk.audited() == [("key app", "token", "c-1", "fetch payslips")]
    ((line),) = desk.door.lines
    assert (line["event"], line["contract_id"]) == ("token_handed_out", "c-1")
    assert answer["token"] not in str(desk.door.lines)


def test_without_a_reason_the_key_says_who_it_was(desk: Desk):
    """An app that must give one would give a constant."""
    assert desk.ask(desk.key())[0] == 200
    assert desk.audited() == [("key app", "token", "c-1", "over HTTP")]


def test_a_token_that_is_about_to_expire_is_renewed(desk: Desk):
    """As everywhere."""
    dying = {"expires_at": from_now(20.0), "stored_at": from_now(-3600)}
    desk.world.store.write(lambda db: db.execute(update(worker_tokens).values(**dying)))
    assert desk.ask(desk.key())[1]["token"] == desk.world.deel.live_token("c-1")
    assert desk.world.deel.tokens_issued_for("c-1") == 2


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda _: "", "no_key"),
        (lambda _: "x" * 60, "no_key"),
        (lambda key: key[:-1], "no_key"),
        (lambda key: key + " x", "no_key"),
        (lambda key: key[:-1] + ("A" if key[-1] != "A" else "B"), "unknown_key"),
        (lambda key: key[:4] + "0" * 12 + key[16:], "unknown_key"),
    ],
)
def test_a_wrong_key_gets_no_hint(desk: Desk, spoil: Callable[[str], str], reason: str):
    """One answer for all; which it was, the log says, and repeats nothing of it."""
    key = desk.key()
    status, answer, headers = desk.ask(spoil(key))
    assert (status, answer, headers["www-authenticate"]) == (401, {"error": "unauthorized"}, "Bearer")
    assert headers["cache-control"] == "no-store"
    assert desk.door.refused() == [(401, reason)]
    assert key[20:-1] not in str(desk.door.lines)
    assert desk.audited() == []


def test_a_revoked_key_opens_nothing_from_then_on(desk: Desk):
    """It is looked up at every request."""
    key = desk.key()
    assert desk.ask(key)[0] == 200
    desk.world.store.write(lambda db: service_keys.revoke(db, "app"))
    assert desk.ask(key)[:2] == (401, {"error": "unauthorized"})
    assert desk.door.refused() == [(401, "revoked_key")]


def test_a_key_for_the_proxy_gets_no_token(desk: Desk):
    """That is what it is for."""
    assert desk.ask(desk.key(scope=Scope.PROXY))[:2] == (403, {"error": "key_may_not"})
    assert desk.door.refused() == [(403, "key_may_not")]


def test_a_contract_of_another_organisation_does_not_exist(desk: Desk):
    """To who asks there is no difference; the log knows one. Nothing is on record as handed out."""
    key = desk.key(of="another")
    answers = [
        desk.ask(key, f"/v1/workers/{contract}/token")[:2] for contract in ("c-1", "c-9", "..", "%2e%2e", "a%2Fb")
    ]
    assert answers[:4] == [(404, {"error": "unknown_contract"})] * 4
    assert answers[4] == (404, {"error": "not_found"})
    reasons = [reason for _, reason in desk.door.refused()]
    assert reasons == ["contract_of_another_organisation", *["unknown_contract"] * 3, "not_found"]
    assert desk.audited() == []
    own = desk.key("own", of=desk.world.run().organization_id)
    assert desk.ask(own)[0] == 200


def test_a_key_has_a_rate(desk: Desk):
    """Ten seconds' worth at once, and then so many a minute; told when to come again; another key is not held up."""
    slow, other = desk.key("slow", per_minute=12), desk.key("other")
    statuses = [desk.ask(slow)[0] for _ in range(5)]
    assert statuses == [200, 200, 200, 429, 429]
    status, answer, headers = desk.ask(slow)
    assert (status, answer) == (429, {"error": "too_many"})
    assert 1 <= int(headers["retry-after"]) <= 5
    assert desk.ask(other)[0] == 200
    assert desk.door.refused() == [(429, "too_many")] * 3
    desk.world.store.write(lambda db: db.execute(update(table).values(due_at=table.c.due_at - 5.0)))
    assert [desk.ask(slow)[0] for _ in range(2)] == [200, 429]


def test_one_app_does_not_take_all_places(desk: Desk, monkeypatch: pytest.MonkeyPatch):
    """Those of one key, and those of all together, are bounded; whoever is beyond is told at once."""
    monkeypatch.setattr(tokens, "MAX_OF_ONE", 2)
    monkeypatch.setattr(tokens, "MAX_IN_HAND", 3)
    go, entered = threading.Event(), threading.Semaphore(0)

    def hold(*_: object) -> dict[str, str]:
        entered.release()
        go.wait(10)
        return {}

    monkeypatch.setattr(desk.service, "_hand_out", hold)
    one, two = desk.key("one"), desk.key("two")
    with ThreadPoolExecutor(3) as pool:
        held = [pool.submit(desk.ask, key) for key in (one, one, two)]
        for _ in held:
            assert entered.acquire(timeout=5)
        assert (desk.ask(one)[0], desk.ask(two)[0]) == (429, 503)
        go.set()
        assert [each.result()[0] for each in held] == [200] * 3
    assert desk.ask(one)[0] == 200
    assert desk.door.refused() == [(429, "too_many_at_once"), (503, "busy")]


@pytest.mark.parametrize(
    "body",
    [b"[]", b"{", b'{"because": ""}', b'{"because": 7}', b'{"because": "x", "who": "me"}', b"\xff", b"[" * 4000,
     b'{"because": "for ada@example.com"}', b'{"because": "' + b"x" * 501 + b'"}'],
)  # fmt: skip
def test_a_body_that_is_none(desk: Desk, body: bytes):
    """What it says is repeated nowhere."""
    assert desk.ask(desk.key(), body=body)[:2] == (400, {"error": "bad_body"})
    assert desk.door.refused() == [(400, "bad_body")]
    assert "ada@" not in str(desk.door.lines)
    assert desk.audited() == []


def test_why_there_is_none_is_told(desk: Desk):
    """By its status, and a word; what waiting mends, with how long."""
    key = desk.key()
    columns = ({"state": "cancelled"}, {"state": "running", "step": "ensure_profile", "hris_profile_id": None})
    for each in columns:
        desk.world.store.write(lambda db, each=each: db.execute(update(runs).values(**each)))
        desk.ask(key)
    assert desk.door.refused() == [(409, "parked"), (409, "not_ready")]


def test_without_consent_none_leaves_the_vault(desk: Desk, monkeypatch: pytest.MonkeyPatch):
    """403, whoever asks."""
    object.__setattr__(desk.service._access, "consent_required", True)
    key = desk.key()
    assert desk.ask(key)[:2] == (403, {"error": "consent_missing"})
    given = {"evidence": "DOC-1", "version": "1", "who": "ops"}
    desk.world.store.write(lambda db: consents.record(db, "c-1", **given))
    assert desk.ask(key)[0] == 200


def test_a_deel_that_is_away_is_told_as_that(desk: Desk):
    """503 and when to come again."""
    dead = {"dead": True}
    desk.world.store.write(lambda db: db.execute(update(worker_tokens).values(**dead)))
    desk.world.deel.fails("POST /workers/session", status=503, times=1)
    status, answer, headers = desk.ask(desk.key())
    assert (status, answer) == (503, {"error": "not_now"})
    assert int(headers["retry-after"]) >= 1
    assert "HTTP 503" in desk.door.lines[-1]["why"]


def test_while_the_store_is_away_nothing_is_known(desk: Desk, monkeypatch: pytest.MonkeyPatch):
    """503, and no key is called wrong."""
    key = desk.key()

    def away(*_: object) -> None:
        raise StoreUnavailable

    monkeypatch.setattr(Store, "read", away)
    status, answer, headers = desk.ask(key)
    assert (status, answer, headers["retry-after"]) == (503, {"error": "store_unavailable"}, "5")
    assert desk.door.refused() == [(503, "store_unavailable")]


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_a_wrong_method(desk: Desk, method: str):
    """Told which is right."""
    status, _, headers = desk.ask(desk.key(), method=method)
    assert (status, headers["allow"]) == (405, "POST")
    assert desk.door.refused() == [(405, "method_not_allowed")]


def test_a_body_of_ten_megabytes(desk: Desk):
    """By its length, or as it comes."""
    key = desk.key()
    assert desk.ask(key, body=b"x" * 10_000_000)[0] == 413
    head = f"POST {PATH} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\ntransfer-encoding: chunked\r\n\r\n"
    piece = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    assert desk.door.raw(head.encode(), *[piece] * 10).startswith(b"HTTP/1.1 413 ")
    assert desk.door.refused() == [(413, "too_large")] * 2


def test_a_packed_body_is_not_unpacked(desk: Desk):
    """A bomb is refused by its name."""
    bomb = gzip.compress(b" " * 3_000_000)
    assert desk.ask(desk.key(), body=bomb, content_encoding="gzip")[0] == 415
    assert desk.door.refused() == [(415, "packed")]


def test_a_slow_sender_is_not_waited_for(desk: Desk, monkeypatch: pytest.MonkeyPatch):
    """Nor does it keep its place."""
    monkeypatch.setattr(tokens, "BODY_S", 0.2)
    monkeypatch.setattr(tokens, "MAX_OF_ONE", 1)
    key = desk.key()
    head = f"POST {PATH} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\ncontent-length: 20\r\n\r\n"
    began = time.monotonic()
    assert desk.door.raw(head.encode(), *[b" "] * 6, pause_s=0.1).startswith(b"HTTP/1.1 408 ")
    assert time.monotonic() - began < 4
    assert desk.ask(key)[0] == 200
    assert desk.door.refused() == [(408, "body_too_slow")]


def test_ten_thousand_headers(desk: Desk):
    """431, and the connection ends."""
    head = f"POST {PATH} HTTP/1.1\r\nhost: x\r\n".encode() + b"".join(b"x-%d: y\r\n" % each for each in range(10_000))
    answer = desk.door.raw(*(head[at : at + 16_384] for at in range(0, len(head), 16_384)), b"\r\n")
    assert answer.startswith(b"HTTP/1.1 431 ") or answer == b""
    assert desk.door.refused() == [(431, "head_too_large")]


@pytest.mark.parametrize(
    "hosts", [b"", b"host: a\r\nhost: b\r\n", b"host: a@b\r\n", b"host: a b\r\n", b"host: a/b\r\n"]
)
def test_a_host_that_is_a_trick(desk: Desk, hosts: bytes):
    """Before the key is looked at."""
    head = f"POST {PATH} HTTP/1.1\r\nauthorization: Bearer {desk.key()}\r\nconnection: close\r\n".encode()
    assert desk.door.raw(head + hosts + b"\r\n").startswith(b"HTTP/1.1 400 ")
    assert desk.door.refused() == [(400, "bad_host")]
    assert desk.audited() == []


def test_a_host_of_somebody_else_changes_nothing(desk: Desk):
    """No answer is made of it, nor of the target's."""
    key = desk.key()
    _, _, headers = desk.ask(key, host="evil.example")
    assert "evil" not in json.dumps(headers)
    assert desk.ask(key, "http://evil.example" + PATH)[0] == 200
    assert desk.ask(key, PATH + "/")[0] == 404
