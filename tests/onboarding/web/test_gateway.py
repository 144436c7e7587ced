"""The gateway's answers: what is queued, what is ignored, what is refused and how."""

from __future__ import annotations

import gzip
import hashlib
import hmac
import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from onboarding.events import MAX_BODY_BYTES
from onboarding.web import gateway, protocol
from tests.onboarding.hris_messages import KEYS, VECTOR_BODY, VECTOR_SIGNATURE, signed, webhook
from tests.onboarding.web.conftest import SIGNED, Door

HEAD = b"POST /webhooks/deel HTTP/1.1\r\nhost: x\r\n"
DEELS = f"x-deel-signature: {VECTOR_SIGNATURE}\r\nx-deel-hmac-label: New Webhook\r\n".encode()


def greenhouse(document: object) -> tuple[bytes, dict[str, str]]:
    body = json.dumps(document).encode()
    return body, {"signature": "sha256 " + hmac.new(b"greenhouse-key", body, hashlib.sha256).hexdigest()}


def test_a_signed_webhook_is_queued(door: Door):
    """200 once the publisher is done, and the body as it came."""
    status, answer, _ = door.ask("POST", "/webhooks/deel", VECTOR_BODY, SIGNED)
    assert (status, answer) == (200, {"status": "queued"})
    ((message),) = door.publisher.messages
    assert (message.body, message.headers, message.routing_key) == (VECTOR_BODY, SIGNED, "contract.created")
    assert door.lines == []


def test_an_hris_webhook_is_queued_in_the_plain_form(door: Door):
    """By the source's own paths."""
    body, headers = greenhouse({"action": "hire_candidate", "payload": {"deel": "c-1", "email": "ada@example.com"}})
    assert door.ask("POST", "/webhooks/people", body, headers)[:2] == (200, {"status": "queued"})
    assert [one.body for one in door.publisher.messages] == [b'{"type": "contract.created", "contract_id": "c-1"}']


def test_an_hris_webhook_that_is_not_ours_is_answered_well(door: Door):
    """Nothing is queued; one line says why, so that a wrong path in the settings is seen."""
    body, headers = greenhouse({"action": "hire_candidate", "payload": {"email": "ada@example.com"}})
    answer = door.ask("POST", "/webhooks/people", body, headers)[:2]
    assert answer == (200, {"status": "ignored", "reason": "no_contract_id"})
    assert door.publisher.messages == []
    ((line),) = door.lines
    assert (line["event"], line["reason"]) == ("webhook_ignored", "no_contract_id")


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({"x-deel-signature": "0" * 64}, "signature_wrong"),
        ({"x-deel-signature": ""}, "signature_unproven"),
        ({"x-deel-hmac-label": "Another"}, "signature_unproven"),
        ({"x-deel-hmac-label": "Old Webhook"}, "signature_wrong"),
        ({"x-deel-signature": "\xff\xfe"}, "signature_wrong"),
        ({"x-deel-hmac-label": "\xe9"}, "signature_unproven"),
        ({"x-deel-signature": VECTOR_SIGNATURE * 100}, "signature_wrong"),
    ],
)
def test_a_bad_signature_gets_no_hint(door: Door, headers: dict[str, str], reason: str):
    """One answer for all; the log says which it was, and repeats nothing of it."""
    status, answer, _ = door.ask("POST", "/webhooks/deel", VECTOR_BODY, SIGNED | headers)
    assert (status, answer) == (401, {"error": "Unauthorized"})
    assert door.publisher.messages == []
    ((line),) = door.lines
    assert line == {
        "event": "webhook_refused", "log_level": "warning", "status": 401, "reason": reason,
    }  # fmt: skip


def test_two_keys_while_one_is_replaced(door: Door):
    """Each under its own label, and without a label either."""
    for label, key in KEYS.items():
        genuine = signed(webhook(), key=key.get_secret_value().encode(), label=label)
        for names in (("x-deel-signature", "x-deel-hmac-label"), ("x-deel-signature",)):
            headers = {name: str(genuine.headers[name]) for name in names}
            assert door.ask("POST", "/webhooks/deel", genuine.body, headers)[0] == 200
    assert len(door.publisher.messages) == 4


@pytest.mark.parametrize("path", ["/webhooks/nobody", "/webhooks/..", "/webhooks/%2e%2e", "/webhooks/Deel"])
def test_an_unknown_source_is_not_found(door: Door, path: str):
    """Before its body is looked at."""
    assert door.post(path=path) == 404
    assert door.refused() == [(404, "unknown_source")]


@pytest.mark.parametrize("path", ["/", "/webhooks", "/webhooks/", "/webhooks/../healthz", "/webhooks/deel/", "/%00"])
def test_a_path_that_leads_nowhere(door: Door, path: str):
    """Not found; no slash is mended by a redirect, which would be made of the Host that was sent."""
    status, answer, headers = door.ask("POST", path, VECTOR_BODY, SIGNED | {"host": "evil.example"})
    assert (status, answer) == (404, {"error": "Not Found"})
    assert "evil" not in str(headers)
    assert door.refused() == [(404, "not_found")]


@pytest.mark.parametrize("host", ["evil.example", "", "a:b:c", "127.0.0.1@evil", "x" * 5000])
def test_the_host_that_is_named_changes_nothing(door: Door, host: str):
    """No answer is made of it."""
    status, answer, headers = door.ask("POST", "/webhooks/deel", VECTOR_BODY, SIGNED | {"host": host})
    assert (status, answer, set(headers)) == (200, {"status": "queued"}, {"date", "content-length", "content-type"})


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_a_wrong_method(door: Door, method: str):
    """Told which is right."""
    status, _, headers = door.ask(method, "/webhooks/deel", VECTOR_BODY, SIGNED)
    assert (status, headers["allow"]) == (405, "POST")
    assert door.refused() == [(405, "method_not_allowed")]


def test_a_body_of_ten_megabytes(door: Door):
    """Refused by its length, at once; who sends it all before reading gets the answer too."""
    assert door.post(b"x" * 10_000_000) == 413
    assert door.refused() == [(413, "too_large")]


def test_a_body_of_the_size_that_intake_takes(door: Door):
    """The last byte that is allowed, and the first that is not."""
    genuine = signed(b'"' + b"x" * (MAX_BODY_BYTES - 2) + b'"')
    headers = {name: str(value) for name, value in genuine.headers.items()}
    assert door.ask("POST", "/webhooks/deel", genuine.body, headers)[0] == 200
    longer = signed(b'"' + b"x" * (MAX_BODY_BYTES - 1) + b'"')
    headers = {name: str(value) for name, value in longer.headers.items()}
    assert door.ask("POST", "/webhooks/deel", longer.body, headers)[0] == 413
    assert door.refused() == [(413, "too_large")]


def test_a_length_that_is_too_large_is_not_waited_for(door: Door):
    """Refused before the first byte of the body."""
    began = time.monotonic()
    assert door.raw(HEAD + DEELS + b"content-length: 10000000\r\n\r\n").startswith(b"HTTP/1.1 413 ")
    assert time.monotonic() - began < 2


def test_a_body_in_pieces_without_an_end(door: Door):
    """Chunks are counted as they come."""
    piece = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    answer = door.raw(HEAD + DEELS + b"transfer-encoding: chunked\r\n\r\n", *[piece] * 40)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert door.refused() == [(413, "too_large")]


def test_a_body_in_pieces(door: Door):
    """Is one."""
    half = len(VECTOR_BODY) // 2
    pieces = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (VECTOR_BODY[:half], VECTOR_BODY[half:], b""))
    head = HEAD + DEELS + b"transfer-encoding: chunked\r\nconnection: close\r\n\r\n"
    assert door.raw(head + pieces).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (b"content-length: 1\r\n", 401),  # the rest is no request
        (b"content-length: -1\r\n", 400),
        (b"content-length: 99999999999999999999999\r\n", 400),
        (b"content-length: x\r\n", 400),
        (b"content-length: 118\r\ntransfer-encoding: chunked\r\n", 400),
        (b"content-length: 118\r\ncontent-length: 1\r\n", 400),
        (b"transfer-encoding: gzip, identity\r\n", 400),
    ],
)
def test_a_length_that_lies(door: Door, lines: bytes, status: int):
    """Nothing is queued, and no body passes for another request."""
    answer = door.raw(HEAD + DEELS + lines + b"\r\n" + VECTOR_BODY)
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert door.publisher.messages == []
    assert answer.count(b"HTTP/1.1 ") == 1


def test_junk_behind_a_request_does_not_cost_its_answer(door: Door):
    """What was queued is acknowledged; then the connection ends."""
    answer = door.raw(HEAD + DEELS + b"content-length: 118\r\n\r\n" + VECTOR_BODY + b"\x00junk\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert door.refused() == [(400, "no_http")]


def test_a_body_that_never_ends_is_not_waited_for(door: Door, monkeypatch: pytest.MonkeyPatch):
    """A length longer than what comes, or a byte now and then: 408."""
    monkeypatch.setattr(gateway, "BODY_S", 0.3)
    began = time.monotonic()
    answer = door.raw(HEAD + DEELS + b"content-length: 118\r\n\r\n", *[b"x"] * 8, pause_s=0.1)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert time.monotonic() - began < 4
    assert door.refused() == [(408, "body_too_slow")]


@pytest.mark.parametrize("first", [b"POST /web", b"POST /webhooks/deel HTTP/1.1\r\nhost: x\r\n"])
def test_a_head_that_never_ends_is_not_waited_for(door: Door, monkeypatch: pytest.MonkeyPatch, first: bytes):
    """The whole head has to come in time: a line now and then does not prolong it."""
    monkeypatch.setattr(protocol, "HEAD_S", 0.3)
    answer = door.raw(first, *[b"x"] * 8, pause_s=0.1)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert door.refused() == [(408, "head_too_slow")]


def test_a_connection_that_asks_for_nothing_is_closed(door: Door, monkeypatch: pytest.MonkeyPatch):
    """Quietly: a load balancer looks in like that."""
    monkeypatch.setattr(protocol, "HEAD_S", 0.1)
    assert door.raw() == b""
    assert door.lines == []


def test_who_is_refused_while_sending_does_not_go_on_for_ever(door: Door, monkeypatch: pytest.MonkeyPatch):
    """The answer gets through, and a moment later the connection ends."""
    monkeypatch.setattr(protocol, "LINGER_S", 0.2)
    pieces = [HEAD.replace(b"deel", b"none") + b"content-length: 9999\r\n\r\n", *[b"x"] * 10]
    answer = door.raw(*pieces, pause_s=0.1)
    assert answer.startswith(b"HTTP/1.1 404 ")


@pytest.mark.parametrize(
    "head",
    [
        HEAD + b"".join(b"x-%d: y\r\n" % number for number in range(10_000)),
        HEAD + b"x: " + b"y" * 200_000 + b"\r\n",
        HEAD + b"x" * 500_000,
        b"POST /" + b"x" * 500_000,
    ],
    ids=["many", "long", "a name without an end", "a path without an end"],
)
def test_a_head_that_is_too_large(door: Door, head: bytes):
    """431, however it is large, and the connection ends."""
    answer = door.raw(*(head[at : at + 16_384] for at in range(0, len(head), 16_384)), b"\r\n")
    assert answer.startswith(b"HTTP/1.1 431 ") or answer == b""  # reset while it was still sending
    assert door.refused() == [(431, "head_too_large")]


@pytest.mark.parametrize("fields", [b"".join(b"x-%d: y\r\n" % number for number in range(100)), b"x: " + b"y" * 33_000])
def test_a_whole_head_that_is_too_large(door: Door, fields: bytes):
    """Also where it comes in one piece: one field too many, or one too long."""
    answer = door.raw(HEAD + fields + b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 431 ")
    assert door.refused() == [(431, "head_too_large")]


@pytest.mark.parametrize("tail", [b"0\r\nx: ", b"1;x="], ids=["a field behind the body", "a chunk's extension"])
def test_what_a_body_in_chunks_hides_is_bounded_too(door: Door, tail: bytes):
    """The parser keeps a field until it ends: one without an end would fill the memory."""
    head = HEAD + DEELS + b"transfer-encoding: chunked\r\n\r\n" + tail
    answer = door.raw(head, *[b"y" * 16_384] * 40, pause_s=0.002)
    assert answer.startswith(b"HTTP/1.1 431 ") or answer == b""  # reset while it was still sending
    assert door.refused() == [(431, "head_too_large")]


def test_a_head_of_a_usual_size_after_a_large_body(door: Door):
    """What is not the head's is not counted as its."""
    request = HEAD + b"content-length: 200000\r\n\r\n" + b"x" * 200_000
    answer = door.raw(request + request + b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    assert answer.count(b"HTTP/1.1 401 ") == 2
    assert answer.count(b"HTTP/1.1 200 ") == 1


@pytest.mark.parametrize("encoding", ["gzip", "br", "GZIP", "identity, gzip", "x"])
def test_a_packed_body_is_not_unpacked(door: Door, encoding: str):
    """A bomb is refused by its name."""
    bomb = gzip.compress(b"[" + b" " * 1_000_000 + b"]")
    assert door.post(bomb, content_encoding=encoding) == 415
    assert door.refused() == [(415, "packed")]
    assert door.post(content_encoding="identity") == 200


@pytest.mark.parametrize("junk", [b"\x16\x03\x01\x02\x00", b"GET\r\n\r\n", b"POST / HTTP/9.9\r\n\r\n", b"\x00" * 100])
def test_what_is_no_http(door: Door, junk: bytes):
    """400 and one line."""
    assert door.raw(junk).startswith(b"HTTP/1.1 400 ")
    assert door.refused() == [(400, "no_http")]


def test_while_the_broker_is_away_nothing_is_acknowledged(door: Door):
    """503 at once, and when to come again; a bad signature is still no more than that."""
    door.publisher.away = True
    began = time.monotonic()
    status, _, headers = door.ask("POST", "/webhooks/deel", VECTOR_BODY, SIGNED)
    assert (status, headers["retry-after"]) == (503, "5")
    assert time.monotonic() - began < 1
    assert door.post(x_deel_signature="x") == 401
    assert door.refused() == [(503, "not_confirmed"), (401, "signature_wrong")]
    assert door.ask("GET", "/readyz")[:2] == (503, {"status": "broker_unavailable"})
    assert door.ask("GET", "/healthz")[0] == 200
    door.publisher.away = False
    assert door.ask("GET", "/readyz")[0] == 200


def test_a_broker_that_says_nothing_is_not_waited_for_long(door: Door, monkeypatch: pytest.MonkeyPatch):
    """Deel counts 30 s as a failure; what waits for a thread is given up with it."""
    monkeypatch.setattr(gateway, "CONFIRM_S", 0.2)
    door.publisher.hold = True
    assert door.post() == 503
    assert door.publisher.held[0].cancelled()


def test_only_so_many_wait(door: Door, monkeypatch: pytest.MonkeyPatch):
    """Those beyond are told to come again, at once; those before are answered."""
    monkeypatch.setattr(gateway, "MAX_IN_HAND", 3)
    door.publisher.hold = True
    with ThreadPoolExecutor(5) as pool:
        waiting = [pool.submit(door.post) for _ in range(3)]
        while len(door.publisher.held) < 3:
            time.sleep(0.01)
        assert door.post() == 503
        for future in door.publisher.held:
            future.set_result(None)
        assert [each.result() for each in waiting] == [200] * 3
    door.publisher.hold = False
    assert door.post() == 200
    assert door.refused() == [(503, "busy")]


def test_only_so_many_connect(door: Door, monkeypatch: pytest.MonkeyPatch):
    """The one too many is told so before it has said a word."""
    monkeypatch.setattr(protocol, "MAX_CONNECTIONS", 0)
    answer = door.raw()
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"retry-after: 5" in answer
    assert door.refused() == [(503, "too_many_connections")]


def test_a_publisher_that_is_broken_acknowledges_nothing(door: Door, monkeypatch: pytest.MonkeyPatch):
    """What nobody foresaw is 500: it is sent again."""

    def broken(_messages: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(door.publisher, "publish", broken)
    answer = door.raw(HEAD + DEELS + b"content-length: %d\r\n\r\n" % len(VECTOR_BODY) + VECTOR_BODY)
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert b"Zero" not in answer


def test_a_sender_that_hangs_up_leaves_nothing_behind(door: Door, monkeypatch: pytest.MonkeyPatch):
    """The place that it had is free again."""
    monkeypatch.setattr(gateway, "MAX_IN_HAND", 1)
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", door.port)) as wire:
            wire.sendall(HEAD + b"content-length: 118\r\n\r\nxx")
    deadline = time.monotonic() + 5
    while door.post() != 200:
        assert time.monotonic() < deadline
