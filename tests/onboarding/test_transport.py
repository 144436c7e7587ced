"""The wire: deadlines, caps, and what is not followed."""

from __future__ import annotations

import gzip
import logging
import socket
import ssl
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpcore
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from onboarding.dialling import Dialler, within
from onboarding.transport import Http, NoReply, Reply
from onboarding.transport import http as transport
from tests.onboarding.raw_server import RawServer, http

SECRET = "s3cr3t-value"  # stands in a query, a header or a body, and must never show


@pytest.fixture
def impatient():
    client = Http(connect_s=0.3, read_s=0.3, total_s=0.6)
    yield client
    client.close()


def drip(piece: bytes, pause_s: float = 0.05, times: int = 40):
    for _ in range(times):
        yield piece
        time.sleep(pause_s)


def ask(client: Http, url: str, **headers: str) -> Reply:
    return client.send("GET", url, headers=headers)


# answers


def test_a_reply_shows_its_status_and_nothing_else(client):
    """Status, lower-case headers and body are there; a repr shows neither of the last two."""
    with RawServer(lambda _: http(201, SECRET.encode(), X_Thing=SECRET)) as server:
        reply = client.send("POST", server.url + "/a?b=c", headers={"x-mine": "1"}, content=b"body")

    assert (reply.status, reply.body, reply.headers["x-thing"]) == (201, SECRET.encode(), SECRET)
    assert repr(reply) == "Reply(status=201)"
    (asked,) = server.asked
    assert (asked.method, asked.target, asked.body, asked.headers["x-mine"]) == ("POST", "/a?b=c", b"body", "1")


def test_calls_share_a_connection(client):
    """A pool, not a handshake for every call."""
    with RawServer(lambda _: http(200, connection="keep-alive"), keep_alive=True) as server:
        for _ in range(3):
            ask(client, server.url)
        client.close()

    assert [asked.connection for asked in server.asked] == [1, 1, 1]


def test_an_idle_connection_is_not_kept_for_ever(monkeypatch):
    """Behind a NAT that forgot it, a request on it would wait for nothing."""
    monkeypatch.setattr(transport, "KEEP_S", 0.05)
    client = Http()
    with RawServer(lambda _: http(200, connection="keep-alive"), keep_alive=True) as server:
        for _ in range(2):
            ask(client, server.url)
            time.sleep(0.1)
        client.close()

    assert [asked.connection for asked in server.asked] == [1, 2]


def test_who_finds_every_connection_taken_is_told_so(monkeypatch):
    """Nothing was sent, and the other side is not to blame."""
    monkeypatch.setattr(transport, "MAX_CONNECTIONS", 1)
    client = Http(connect_s=0.2)
    released, began = threading.Event(), threading.Event()

    def slow(_asked):
        began.set()
        released.wait(5)
        return http(200)

    with RawServer(slow) as server, ThreadPoolExecutor(1) as pool:
        first = pool.submit(ask, client, server.url)
        began.wait(5)
        with pytest.raises(NoReply) as caught:
            ask(client, server.url)
        released.set()
        assert first.result().status == 200
        client.close()

    assert (caught.value.kind, len(server.asked)) == ("busy", 1)


def kept(status: int, body: bytes, behind: bytes = b"") -> bytes:
    """An answer that keeps its connection, and what comes behind it."""
    return b"HTTP/1.1 %d X\r\ncontent-length: %d\r\n\r\n" % (status, len(body)) + body + behind


@pytest.mark.parametrize(
    "first",
    [
        pytest.param(kept(204, b"{}"), id="a body where there is none"),
        pytest.param(kept(200, b"first", kept(200, b"somebody else's")), id="another answer"),
        pytest.param(kept(200, b"first", b"\n"), id="a length that is too short"),
    ],
)
def test_what_comes_behind_an_answer_is_nobodys(client, first):
    """The next call never reads it as its own answer: it gets a connection of its own."""
    answers = [first, kept(200, b"second"), kept(200, b"third")]
    with RawServer(lambda _: answers.pop(0), keep_alive=True) as server:
        statuses = [ask(client, server.url).status]
        bodies = [ask(client, server.url).body for _ in range(2)]
        client.close()

    assert statuses[0] in (200, 204)
    assert bodies == [b"second", b"third"]
    assert [asked.connection for asked in server.asked] == [1, 2, 2]


def test_no_redirect_is_followed(client):
    """The organisation's token goes nowhere that an answer names."""
    with RawServer(lambda asked: http(302, location=f"http://{asked.headers['host']}/elsewhere")) as server:
        reply = ask(client, server.url + "/here")

    assert reply.status == 302
    assert [asked.target for asked in server.asked] == ["/here"]


def test_no_cookie_is_kept(client):
    """A session that a worker's token opened does not travel with the organisation's token."""
    with RawServer(lambda _: http(200, Set_Cookie="session=worker; Path=/")) as server:
        replies = [ask(client, server.url) for _ in range(2)]

    assert all("cookie" not in asked.headers for asked in server.asked)
    assert all("set-cookie" not in reply.headers for reply in replies)


def test_nothing_is_taken_from_the_environment(monkeypatch, tmp_path):
    """Neither a proxy nor a .netrc that happens to lie about gets near a request."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    client = Http()
    with RawServer(lambda _: http(200)) as server:
        assert ask(client, server.url).status == 200
    client.close()

    assert "authorization" not in server.asked[0].headers


def test_a_compressed_bomb_stays_small(client):
    """Nothing is decoded: what is held is what came over the wire."""
    bomb = gzip.compress(bytes(8 << 20))
    with RawServer(lambda _: http(200, bomb, Content_Encoding="gzip")) as server:
        reply = ask(client, server.url)

    assert reply.body == bomb
    assert server.asked[0].headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("length", [1000, 1001])
def test_an_answer_beyond_the_cap_is_no_reply(length):
    """Up to the cap it is read, one byte more and it is none."""
    client = Http(max_bytes=1000)
    with RawServer(lambda _: http(200, bytes(length))) as server:
        if length == 1000:
            assert len(ask(client, server.url).body) == 1000
        else:
            with pytest.raises(NoReply) as caught:
                ask(client, server.url)
            assert caught.value.kind == "too_large"
    client.close()


def test_an_endless_answer_is_not_read_to_its_end():
    """Chunk upon chunk without a length ends at the cap."""
    chunk = b"1000\r\n" + bytes(0x1000) + b"\r\n"
    client = Http(max_bytes=10_000)
    with RawServer(lambda _: [b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", *[chunk] * 500]) as server:
        with pytest.raises(NoReply) as caught:
            ask(client, server.url)
        client.close()

    assert caught.value.kind == "too_large"


# no answers


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(lambda _: _headers_drip(), id="headers"),
        pytest.param(lambda _: _body_drip(), id="body"),
        pytest.param(lambda _: drip(b""), id="silence"),
    ],
)
def test_a_server_that_drips_holds_nobody_beyond_the_total(impatient, answer):
    """Bytes that keep coming, one by one, of headers or of body, do not stretch a call."""
    with RawServer(answer) as server:
        began = time.monotonic()
        with pytest.raises(NoReply) as caught:
            ask(impatient, server.url)
        took_s = time.monotonic() - began

    assert caught.value.kind == "timeout"
    assert took_s < 1.2


def _headers_drip():
    yield b"HTTP/1.1 200 OK\r\n"
    yield from drip(b"x-drip: 1\r\n")


def _body_drip():
    yield b"HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n"
    yield from drip(b"x")


def test_a_resolver_that_hangs_holds_nobody_beyond_the_total(impatient, monkeypatch):
    """The system's resolver takes no timeout; the call has one all the same."""
    released = threading.Event()

    def hang(*_args, **_kwargs):
        released.wait(5)
        raise socket.gaierror(socket.EAI_AGAIN, "too late")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    began = time.monotonic()
    with pytest.raises(NoReply) as caught:
        ask(impatient, "http://slow.example.test/")
    took_s = time.monotonic() - began
    released.set()

    assert caught.value.kind == "connect"
    assert took_s < 1.2


def test_a_call_whose_time_is_up_connects_to_nothing(client):
    """What took too long before the call leaves nothing for it."""
    with RawServer(lambda _: http(200)) as server, pytest.raises(NoReply) as caught, within(0):
        ask(client, server.url)

    assert caught.value.kind == "connect"
    assert server.asked == []


def test_a_handshake_that_has_no_time_left_closes_its_connection():
    """The other side sees the end of it, and no descriptor stays open."""
    with RawServer(lambda _: http(200)) as server:
        stream = Dialler(None).connect_tcp("127.0.0.1", server.port)
        with pytest.raises(httpcore.ConnectTimeout), within(0):
            stream.start_tls(ssl.create_default_context())

        assert stream.get_extra_info("socket").fileno() == -1


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (lambda _: b"", "cut"),
        (lambda _: b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nhalf", "cut"),
        (lambda _: b"HTTP/1.1 200 OK\r\nx: ", "cut"),
        (lambda _: b"SSH-2.0-OpenSSH_9.6\r\n", "cut"),
    ],
)
def test_half_an_answer_is_no_reply(client, answer, kind):
    """A connection cut at any point is said to be cut."""
    with RawServer(answer) as server, pytest.raises(NoReply) as caught:
        ask(client, server.url)

    assert caught.value.kind == kind


def test_a_closed_port_says_so(client):
    """`connect` means that nothing was sent, and the system's word for it helps the engineer."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    with pytest.raises(NoReply) as caught:
        ask(client, f"http://127.0.0.1:{port}/")

    assert str(caught.value) == "no reply from 127.0.0.1: connect (Connection refused)"


def test_the_second_address_is_tried(client, names):
    """A name with one dead address is reached at the other."""
    with RawServer(lambda _: http(200)) as server:
        names["two.example.test"] = ["127.0.0.2", "127.0.0.1"]
        assert ask(client, f"http://two.example.test:{server.port}/").status == 200


@pytest.fixture
def dead_end():
    """Lets an address and a port of this machine answer to nothing: its queue is full, new ones are dropped."""
    sockets: list[socket.socket] = []

    def block(address: str, port: int) -> str:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.listen(0)
        sockets.append(listener)
        for _ in range(3):
            waiting = socket.socket()
            waiting.setblocking(False)
            waiting.connect_ex((address, port))
            sockets.append(waiting)
        return address

    yield block
    for each in sockets:
        each.close()


def test_dead_addresses_leave_time_for_the_one_that_lives(names, dead_end):
    """Together they have the time to connect, not each of them: a few would else use up the whole call."""
    client = Http(connect_s=1.5, total_s=6)
    with RawServer(lambda _: http(200)) as server:
        names["three.example.test"] = [*(dead_end(f"127.0.0.{n}", server.port) for n in (11, 12)), "127.0.0.1"]
        began = time.monotonic()
        assert ask(client, f"http://three.example.test:{server.port}").status == 200
        took_s = time.monotonic() - began
        client.close()

    assert 0.9 < took_s < 1.4


def test_families_of_addresses_take_turns(monkeypatch):
    """A network without IPv6 costs one try, however many addresses of that kind a name has."""
    tried: list[str] = []

    def refuse(_backend, address, *_args):
        tried.append(address)
        raise httpcore.ConnectError

    monkeypatch.setattr(httpcore.SyncBackend, "connect_tcp", refuse)
    with pytest.raises(httpcore.ConnectError):
        Dialler(("2001:db8::1", "2001:db8::2", "2001:db8::3", "192.0.2.1", "192.0.2.2")).connect_tcp("h", 443)

    assert tried == ["2001:db8::1", "192.0.2.1", "2001:db8::2", "192.0.2.2", "2001:db8::3"]


def test_a_process_without_a_thread_to_spare_is_no_defect(client, monkeypatch):
    """Nothing was sent, and the line says why."""

    def start(_thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(NoReply) as caught:
        ask(client, "http://some.example.test/")

    assert (caught.value.kind, caught.value.detail) == ("connect", "no thread for a look-up")


def test_a_call_whose_time_is_up_writes_and_reads_nothing():
    """Each operation asks what is left, not only the first."""
    with RawServer(lambda _: http(200)) as server:
        stream = Dialler(None).connect_tcp("127.0.0.1", server.port)
        for operate in (lambda: stream.write(b"GET / HTTP/1.1\r\n\r\n"), lambda: stream.read(1)):
            with pytest.raises(TimeoutError), within(0):
                operate()
        stream.close()

    assert server.asked == []


def test_a_failure_drags_no_secret_along(client):
    """No text, cause or context of a failed call holds its query, its headers or its body."""
    with RawServer(lambda _: b"") as server, pytest.raises(NoReply) as caught:
        client.send("POST", f"{server.url}/p?q={SECRET}", headers={"authorization": SECRET}, content=SECRET.encode())

    assert SECRET not in f"{caught.value!r} {caught.value}"
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    ("url", "header"),
    [
        ("http://", "x"),
        ("ftp://h/", "x"),
        ("/relative", "x"),
        ("http://h/" + "a" * 70_000, "x"),
        ("http://h/", "\xe9" + SECRET),
        ("http://127.0.0.1:{port}/", f"a\r\nx: {SECRET}"),
        ("http://127.0.0.1:{port}/", f"{SECRET}\0"),
        ("http://127.0.0.1:{port}/", f" {SECRET}"),
    ],
)
def test_what_is_no_request_is_a_value_error_that_quotes_nothing(client, url, header):
    """A URL or a header that HTTP cannot carry is the caller's fault; its text does not repeat it."""
    with RawServer(lambda _: http(200)) as server, pytest.raises(ValueError) as caught:
        ask(client, url.format(port=server.port), authorization=header)

    assert server.asked == []
    assert SECRET not in f"{caught.value!r} {caught.value.__context__!r}"


def test_nothing_of_a_request_is_logged(client, caplog):
    """httpx would log every URL with its query, httpcore every header of the answer."""
    caplog.set_level(logging.DEBUG)
    with RawServer(lambda _: http(200, X_Thing=SECRET)) as server:
        ask(client, f"{server.url}/?q={SECRET}", authorization=SECRET)

    assert SECRET not in caplog.text


def _status_line(status: int, rest: bytes) -> bytes:
    return b"HTTP/1.1 %d X\r\n" % status + rest


HEADER_TEXT = st.text(st.characters(max_codepoint=255, exclude_characters="\r\n\0"))
ANYTHING = st.one_of(
    st.binary(max_size=200),
    st.builds(_status_line, st.integers(0, 1200), st.binary(max_size=80)),
    st.builds(http, st.integers(100, 999), st.binary(max_size=80)),
    st.builds(lambda where: http(302, Location=where, X_Other=where), HEADER_TEXT),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ANYTHING)
def test_any_bytes_are_a_reply_or_none(impatient, said):
    """Whatever a server says, a call ends as Reply or as NoReply."""
    with RawServer(lambda _: said) as server:
        try:
            reply = ask(impatient, server.url)
        except NoReply:
            return
        assert 100 < reply.status < 1000
