"""The plumbing: quick, kept alive, and gone when it is told to go."""

from __future__ import annotations

import http.client
import socket
import statistics
import threading
import time
from contextlib import closing
from urllib.parse import quote

import httpx
import pytest

from onboarding.simulator import Simulator
from onboarding.simulator.server import Response, Server


@pytest.fixture
def echo():
    server = Server(lambda request: Response(200, request.body, {"X-Path": request.path}))
    server.start()
    yield server
    server.stop()


def connect(server):
    return closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=5))


def test_a_connection_is_kept_and_each_answer_quick(echo):
    """Many calls on one connection, each in a few milliseconds: no answer waits for an acknowledgement."""
    took = []
    with connect(echo) as client:
        client.connect()
        first = client.sock
        for _ in range(50):
            began = time.perf_counter()
            client.request("POST", "/x", body=b"hello")
            assert client.getresponse().read() == b"hello"
            took.append(time.perf_counter() - began)
        assert client.sock is first
    assert statistics.median(took) < 0.02  # a delayed acknowledgement costs 0.04


def test_a_stop_ends_kept_connections_at_once(echo):
    """Open connections, idle ones too, end within half a second, and the port is closed."""
    with connect(echo) as idle, connect(echo) as silent:
        idle.request("GET", "/")
        idle.getresponse().read()
        silent.connect()
        while len(echo._listener._open) < 2:
            time.sleep(0.001)
        before = threading.active_count()
        began = time.monotonic()
        echo.stop()
        assert time.monotonic() - began < 0.5
        assert threading.active_count() < before
        assert idle.sock.recv(1) == b""
        assert silent.sock.recv(1) == b""
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", echo.port))


def test_a_stop_does_not_wait_for_slow_answers():
    """A call that would take half a minute is cut."""
    with Simulator() as deel:
        deel.is_slow("GET /people/me", 30)
        headers = {"Authorization": f"Bearer {deel.org_token}"}
        failed = []

        def call():
            try:
                httpx.get(f"{deel.url}/people/me", headers=headers, timeout=40)
            except httpx.TransportError as error:
                failed.append(error)

        caller = threading.Thread(target=call)
        caller.start()
        while not deel._faults._calls["GET /people/me", None]:
            time.sleep(0.001)
        began = time.monotonic()
        deel.stop()
        assert time.monotonic() - began < 0.5
        caller.join(5)
        assert len(failed) == 1


def test_it_comes_back_at_the_same_address():
    """stop and start: the same port, and nothing forgotten."""
    deel = Simulator()
    deel.start()
    deel.has_contract("c-1")
    url = deel.url
    deel.stop()
    deel.stop()
    deel.start()
    try:
        headers = {"Authorization": f"Bearer {deel.org_token}"}
        assert deel.url == url
        assert httpx.get(f"{url}/contracts/c-1", headers=headers).status_code == 200
    finally:
        deel.stop()


def test_ids_in_paths_are_decoded(deel, ask):
    """An escaped id is the id that was meant, a slash in it too."""
    deel.has_contract("c 1/ä")
    assert ask(f"GET /contracts/{quote('c 1/ä', safe='')}").json()["data"]["id"] == "c 1/ä"


def test_half_a_request_is_no_request(echo):
    """A client that dies while it sends its body asked for nothing, and gets nothing."""
    with socket.create_connection(("127.0.0.1", echo.port), timeout=5) as client:
        client.sendall(b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf")
        client.shutdown(socket.SHUT_WR)
        assert client.recv(100) == b""


def test_a_body_without_a_length_is_411(echo):
    """Chunked bodies are not read; the answer says so and the connection ends."""
    with socket.create_connection(("127.0.0.1", echo.port), timeout=5) as client:
        client.sendall(b"POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
        received = b"".join(iter(lambda: client.recv(4096), b""))
    assert received.startswith(b"HTTP/1.1 411 Length Required\r\n")
    assert b"Connection: close" in received


def test_a_client_that_leaves_makes_no_noise(echo, capfd):
    """A reset in the middle is not printed; a fault of our own is."""
    client = socket.create_connection(("127.0.0.1", echo.port))
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.sendall(b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n")
    client.close()
    time.sleep(0.05)
    echo.stop()
    assert capfd.readouterr() == ("", "")


def test_a_fault_of_our_own_is_shown(capfd):
    """A defect in what answers is printed, and cuts the connection."""
    server = Server(lambda _request: Response(200, body=1 / 0))
    server.start()
    with pytest.raises(httpx.RemoteProtocolError):
        httpx.get(f"http://127.0.0.1:{server.port}/")
    server.stop()
    assert "ZeroDivisionError" in capfd.readouterr().err
