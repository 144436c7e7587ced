"""What is small on the wire and large when unpacked stays small: nothing that comes in is unpacked."""

from __future__ import annotations

import bz2
import codecs
import gzip
import subprocess
import sys
import threading
import time
import tracemalloc
import uuid
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from kombu import Connection, Producer, compression
from pydantic import SecretStr
from sqlalchemy import select

from onboarding import notify
from onboarding.budget import Budget
from onboarding.deel import Deel, SessionFieldInMemory, TryLater
from onboarding.notify import WebhookTarget
from onboarding.runs import Reason
from onboarding.store import events as statements
from onboarding.store.tables import runs
from onboarding.transport import Http
from tasks import intake, topology
from tasks.unpacking import unpack_nothing
from tests.onboarding.raw_server import RawServer, http
from tests.onboarding.worlds import Driver, driver

ZEROS = b"[" + b" " * (8 << 20) + b"]"
BOMBS = {
    "zlib": zlib.compress(ZEROS),
    "gzip": zlib.compress(ZEROS),  # what kombu calls by this name
    "application/x-bz2": bz2.compress(ZEROS),
    "no-such": gzip.compress(ZEROS),
}
GOOD = b'{"type": "contract.created", "contract_id": "c-good"}'


@pytest.fixture
def onboard(sqlite_url: str) -> Iterator[Driver]:
    with driver(sqlite_url) as made:
        yield made


@pytest.fixture(autouse=True)
def kombu_as_it_comes() -> Iterator[None]:
    """Whatever an earlier test, or the import of a module, has made of it."""
    compression.register(zlib.compress, zlib.decompress, "application/x-gzip", ["gzip", "zlib"])
    compression.register(bz2.compress, bz2.decompress, "application/x-bz2", ["bzip2"])
    yield
    unpack_nothing()


@pytest.fixture(params=["memory", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)])
def broker(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Connection]:
    """A broker whose intake queue is this test's own."""
    url = "memory://" if request.param == "memory" else request.getfixturevalue("rabbitmq")
    name = f"security-{uuid.uuid4().hex[:8]}"
    monkeypatch.setattr(topology, "INTAKE_QUEUE", topology.Queue(name, topology.Exchange(name, type="topic")))
    monkeypatch.setattr(topology, "DEAD_QUEUE", topology.Queue(f"{name}.dead", topology.Exchange(name, type="topic")))
    queues = (topology.INTAKE_QUEUE, topology.DEAD_QUEUE)
    monkeypatch.setattr(topology, "declare_all", lambda channel: [queue(channel).declare() for queue in queues])
    monkeypatch.setattr(intake.IntakeConsumer, "_nudge", lambda _self, _run: None)
    with Connection(url, transport_options={"polling_interval": 0.01}) as connection:
        yield connection
        for queue in (topology.INTAKE_QUEUE, topology.DEAD_QUEUE):
            queue(connection.default_channel).delete()
        topology.INTAKE_QUEUE.exchange(connection.default_channel).delete()


def take_in(broker: Connection, onboard: Driver, body: bytes, **properties: object) -> None:
    """This message, and a good one behind it."""
    channel = broker.channel()
    topology.INTAKE_QUEUE(channel).declare()
    producer = Producer(channel, exchange=topology.INTAKE_QUEUE.exchange, routing_key="")
    producer.publish(body, **{"content_type": "application/json", "content_encoding": "binary", **properties})
    producer.publish(GOOD, content_type="application/json", content_encoding="binary")
    consume(broker, onboard)
    channel.close()


def consume(broker: Connection, onboard: Driver) -> None:
    """Until the good one is filed, which stands behind the other."""
    consumer = intake.IntakeConsumer(broker, onboard.intake)
    thread = threading.Thread(target=consumer.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 10
    while "c-good" not in contracts(onboard) and time.monotonic() < deadline:
        time.sleep(0.02)
    consumer.should_stop = True
    thread.join(10)
    assert not thread.is_alive()


@pytest.mark.parametrize("packing", BOMBS)
def test_a_bomb_on_the_queue_is_a_dead_letter_of_its_own_few_bytes(broker: Connection, onboard: Driver, packing: str):
    """The header that makes kombu unpack a message before anybody has looked at it is of no effect; nor does one
    that it cannot unpack stop the queue."""
    take_in(broker, onboard, BOMBS[packing], headers={"compression": packing})

    (letter,) = onboard.store.read(statements.letters)
    assert (letter.reason, letter.size) == ("not_json", len(BOMBS[packing]))
    assert contracts(onboard) == ["c-good"]


@pytest.mark.parametrize("packing", ["zlib", {"a": 1}, 5, "\x00"])
def test_a_header_that_lies_about_a_plain_body_changes_nothing(broker: Connection, onboard: Driver, packing: object):
    """The body is what it is."""
    body = b'{"type": "contract.created", "contract_id": "c-plain"}'
    take_in(broker, onboard, body, headers={"compression": packing})

    assert contracts(onboard) == ["c-good", "c-plain"]


def contracts(onboard: Driver) -> list[str]:
    return sorted(onboard.store.read(lambda db: db.execute(select(runs.c.contract_id)).scalars().all()))


def test_a_body_is_never_decoded_as_its_sender_says(rabbitmq: str, onboard: Driver, monkeypatch: pytest.MonkeyPatch):
    """py-amqp would decode it by the content encoding, for which `punycode` takes time that grows with the square."""
    asked: list[str] = []
    codecs.register(search := lambda name: asked.append(name))
    monkeypatch.setattr(intake.IntakeConsumer, "_nudge", lambda _self, _run: None)
    name = f"security-{uuid.uuid4().hex[:8]}"
    queue = topology.Queue(name, topology.Exchange(name, type="topic"))
    monkeypatch.setattr(topology, "INTAKE_QUEUE", queue)
    monkeypatch.setattr(topology, "declare_all", lambda channel: queue(channel).declare())
    try:
        with Connection(rabbitmq) as connection:
            monkeypatch.setattr(topology, "DEAD_QUEUE", queue)
            take_in(connection, onboard, b"\xff" * 100, content_encoding="slow_codec")
            queue(connection.default_channel).delete()
            queue.exchange(connection.default_channel).delete()
    finally:
        codecs.unregister(search)

    assert asked == []
    (letter,) = onboard.store.read(statements.letters)
    assert (letter.reason, letter.size) == ("unsupported_encoding", 100)


def test_the_workers_unpack_nothing_either():
    """Celery reads messages through kombu too."""
    code = (
        "import tasks.application, zlib; from kombu.message import Message; packed = zlib.compress(b'x' * 99);"
        "read = Message(body=packed, headers={'compression': 'zlib'});"
        "assert read.body == packed; print([kind.__name__ for kind, _, _ in read.errors])"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)

    assert (ended.stdout.strip(), ended.stderr) == ("['Unasked']", "")


def test_an_answer_of_deels_that_is_packed_is_no_answer(onboard: Driver, monkeypatch: pytest.MonkeyPatch):
    """It was asked for as it is: the bomb is kept packed, nothing is learnt from it, and the step comes again."""
    bomb = gzip.compress(b" " * (64 << 20))
    with RawServer(lambda _: http(200, bomb, Content_Encoding="gzip", Content_Type="application/json")) as server:
        client = Http()
        deel = Deel(
            client,
            base_url=f"{server.url}/rest/v2",
            token=SecretStr("t-1"),
            budget=Budget(onboard.store, SecretStr("t-1"), 1000),
            session_field=SessionFieldInMemory(),
        )
        tracemalloc.start()
        with pytest.raises(TryLater) as caught:
            deel.contract("c-1")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        client.close()

    assert caught.value.reason is Reason.DEEL_UNAVAILABLE
    assert peak < 8 << 20


def test_a_targets_answer_that_is_packed_is_its_status_and_no_more():
    """A hostile receiver costs what it sends, 64 KiB of it at most."""
    bomb = gzip.compress(b" " * (64 << 20))
    with RawServer(lambda _: http(200, bomb, Content_Encoding="gzip")) as server:
        client = Http(max_bytes=64 << 10)
        target = WebhookTarget(client, SecretStr(server.url), SecretStr("whsec_" + "Y2FuYXJ5" * 4), allow_private=True)
        tracemalloc.start()
        answer = target.send(notify.Notification("msg_1", notify.COMPLETED, datetime.now(UTC), {}))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        client.close()

    assert answer.verdict is notify.Verdict.DELIVERED
    assert peak < 8 << 20
