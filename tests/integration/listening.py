"""Listeners at every place where a value could come out: Sentry, the broker, the store, Flower, Celery's control."""

from __future__ import annotations

import contextlib
import gzip
import json
import socket
import threading
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import quote, urlsplit
from uuid import uuid4

from celery import Celery
from celery.events.event import get_exchange
from kombu import Connection, Exchange, Queue
from kombu.message import Message
from kombu.transport import native_delayed_delivery as delayed
from sqlalchemy import Engine, inspect, text

from tasks import topology
from tests.servers import rabbitmqctl


class FakeSentry:
    """Takes envelopes on 127.0.0.1 and keeps them as they came, decompressed."""

    def __init__(self) -> None:
        self.envelopes: list[bytes] = []
        keep = self.envelopes.append

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                encoding = self.headers.get("content-encoding", "identity")
                assert encoding in ("gzip", "identity"), encoding
                keep(gzip.decompress(body) if encoding == "gzip" else body)
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Silent."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def dsn(self, key: str) -> str:
        """Where to report to."""
        return f"http://{key}@127.0.0.1:{self._server.server_port}/1"

    def events(self) -> list[dict[str, Any]]:
        """The error reports among what came."""
        items = (envelope.split(b"\n") for envelope in list(self.envelopes))
        pairs = (pair for lines in items for pair in zip(lines[1::2], lines[2::2], strict=False))
        return [json.loads(payload) for header, payload in pairs if json.loads(header).get("type") == "event"]

    def evidence(self) -> dict[str, bytes]:
        """Everything but the first lines, which name the project by its key."""
        return {f"envelope {n}": one.partition(b"\n")[2] for n, one in enumerate(list(self.envelopes))}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


class Wiretap:
    """Every message that passes the broker, but for the HRIS's own.

    By bindings to each exchange; and, where rabbitmqctl can turn it on, by RabbitMQ's own trace of the virtual
    host, which also shows what goes to a queue directly and what a queue hands out.
    """

    def __init__(self, url: str) -> None:
        self.messages: list[tuple[str, str, bytes]] = []  # exchange, routing key, everything
        self._url, self._vhost = url, urlsplit(url).path.removeprefix("/") or "/"
        self._stopping = threading.Event()
        self._listening = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def evidence(self) -> dict[str, bytes]:
        """By place: where several messages went to one, together."""
        places: dict[str, list[bytes]] = {}
        for exchange, routing_key, content in list(self.messages):
            if (exchange, routing_key) not in HRIS_OWN:
                places.setdefault(f"{exchange} ({routing_key})", []).append(content)
        return {place: b"\n".join(contents) for place, contents in places.items()}

    def exchanges(self) -> set[str]:
        """Those that anything was seen on."""
        return {exchange for exchange, _, _ in list(self.messages)}

    def __enter__(self) -> Self:
        rabbitmqctl("trace_on", "-p", self._vhost)
        self._thread.start()
        assert self._listening.wait(20), "the wiretap does not listen"
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join(10)
        rabbitmqctl("trace_off", "-p", self._vhost)

    def _listen(self) -> None:
        with Connection(self._url) as connection:
            queue = Queue(f"wiretap-{uuid4().hex}", Exchange(TRACE, type="topic"), "#", exclusive=True)
            queue = queue(connection.default_channel)
            queue.declare()
            for exchange in _exchanges(connection):
                queue.bind_to(exchange, routing_key="#")
            with connection.Consumer(queue, on_message=self._keep, no_ack=True):
                self._listening.set()
                while not self._stopping.is_set():
                    with contextlib.suppress(TimeoutError):
                        connection.drain_events(timeout=0.2)

    def _keep(self, message: Message) -> None:
        where = message.delivery_info
        body = message.body if isinstance(message.body, bytes) else message.body.encode()
        about = repr((where, message.headers, message.properties)).encode()
        self.messages.append((where["exchange"], where["routing_key"], about + b"\n" + body))


TRACE = "amq.rabbitmq.trace"
HRIS_OWN = {(TRACE, f"publish.{topology.HRIS_EVENTS.name}"), (TRACE, f"deliver.{topology.INTAKE_QUEUE.name}")}


def _exchanges(connection: Connection) -> list[str]:
    """Ours but for hris.events, and Celery's: events, control, and one for each bit of a delay."""
    topology.declare_all(connection)
    delayed.declare_native_delayed_delivery_exchanges_and_queues(connection, "quorum")
    celerys = (get_exchange(connection), Celery(set_as_current=False).control.mailbox.exchange)
    for exchange in celerys:
        exchange(connection.default_channel).declare()
    levels = [delayed.level_name(level) for level in range(delayed.MAX_LEVEL + 1)]
    ours = [topology.STEPS, topology.UPKEEP, topology.DEAD, topology.OUTGOING.name]
    return [*ours, *(exchange.name for exchange in celerys), *levels, delayed.CELERY_DELAYED_DELIVERY_EXCHANGE]


def store_evidence(engine: Engine) -> dict[str, bytes]:
    """Every column of every table that there is, sealed ones too."""
    evidence: dict[str, bytes] = {}
    with engine.connect() as db:
        for table in inspect(db).get_table_names():
            rows = db.execute(text(f'SELECT * FROM "{table}"')).mappings().all()
            for column in rows[0] if rows else ():
                values = (bytes(v) if isinstance(v, bytes | memoryview) else str(v).encode() for v in _of(rows, column))
                evidence[f"{table}.{column}"] = b"\n".join(values)
    return evidence


def _of(rows: Any, column: str) -> list[Any]:
    return [row[column] for row in rows if row[column] is not None]


class Flower:
    """What Flower's API and pages show. `url`: of a Flower that runs."""

    def __init__(self, url: str) -> None:
        self.url = url

    def answers(self) -> bool:
        """Whether it is up."""
        try:
            return bool(self.get("/healthcheck"))
        except OSError:
            return False

    def get(self, path: str) -> bytes:
        """A page's body, of an error page too."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=10) as answer:
                return bytes(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.read()

    def json(self, path: str) -> Any:
        """An answer of the API's."""
        return json.loads(self.get(path))

    def evidence(self, nodes: list[str]) -> dict[str, bytes]:
        """Lists, each worker's page, the page of each task that did not go well."""
        troubled = [uuid for uuid, task in self.json("/api/tasks?limit=10000").items() if task["state"] != "SUCCESS"]
        paths = [
            *("/api/workers?refresh=1", "/api/tasks?limit=10000", "/api/task/types", "/api/queues/length"),
            *("/", "/workers?json=1", "/tasks", "/broker", "/metrics"),
            *(f"/worker/{quote(node)}" for node in nodes),
            *(f"/{page}/{uuid}" for uuid in troubled for page in ("task", "api/task/info")),
        ]
        return {path: self.get(path) for path in paths}


def control_evidence(app: Any) -> dict[str, bytes]:
    """What a worker answers to Celery's own questions."""
    ask = app.control.inspect(timeout=5.0, limit=1)  # it waits for that many answers
    questions = ("conf", "stats", "report", "active_queues", "registered")
    return {name: json.dumps(getattr(ask, name)(), default=str).encode() for name in questions}


def free_port() -> int:
    """A port that nothing listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
