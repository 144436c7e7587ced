"""The gateway's process on a real broker: what it acknowledges is on the queue, whatever happens to the broker."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from amqp.exceptions import AccessRefused
from kombu import Connection
from sqlalchemy import func, select

from onboarding.simulator.webhooks import Webhook
from onboarding.store.tables import events
from tasks import topology
from tests.integration.listening import free_port
from tests.integration.proxy import Proxy, proxied, proxy_to
from tests.integration.system import BIN, ROOT, System
from tests.servers import rabbitmqctl

pytestmark = [pytest.mark.rabbitmq]


@dataclass
class Gateway:
    """A running one. `broker`: the real one's URL, whatever the gateway goes through."""

    system: System
    broker: str
    port: int = field(default_factory=free_port)

    def start(self, broker_url: str, **settings: str) -> None:
        environment = {f"ONBOARDING_{name}": value for name, value in settings.items()}
        command = (str(BIN / "onboarding"), "gateway", "--port", str(self.port))
        process = self.system.start("gateway", *command, ONBOARDING_BROKER_URL=broker_url, **environment)
        self.system.until(lambda: self.says("gateway_ready") or process.poll() is not None, 20, "the gateway is ready")
        assert process.poll() is None, self.system.log("gateway")

    def says(self, event: str) -> int:
        return self.system.said("gateway", event)

    def webhook(self, contract: str) -> Webhook:
        self.system.deel.has_contract(contract, email=f"{contract}@example.com")
        return self.system.deel.webhook("contract.created", contract)

    def post(self, webhook: Webhook, path: str = "/webhooks/deel") -> int:
        return self.ask("POST", path, webhook.body, dict(webhook.headers))

    def ask(self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, body, headers or {})
            return connection.getresponse().status
        finally:
            connection.close()

    def queued(self) -> list[Any]:
        """Take all that lies on the intake's queue."""
        with Connection(self.broker) as connection:
            channel = connection.default_channel
            channel.auto_decode = False
            taken = []
            while (message := channel.basic_get(topology.INTAKE, no_ack=True)) is not None:
                taken.append(message)
        return taken


@pytest.fixture
def gateway(make_system: Callable[..., System], broker: str, sqlite_url: str) -> Gateway:
    """Not started yet."""
    with Connection(broker) as connection:
        topology.declare_all(connection.default_channel)
    return Gateway(make_system(broker, sqlite_url), broker)


@pytest.fixture
def proxy(broker: str) -> Iterator[Proxy]:
    with proxy_to(broker) as proxy:
        yield proxy


def test_what_is_acknowledged_lies_on_the_queue(gateway: Gateway):
    """As it came, with the headers by which intake judges its signature, and safe from a restart of the broker."""
    gateway.start(gateway.broker)
    webhook = gateway.webhook("c-1")
    assert gateway.post(webhook) == 200
    ((message),) = gateway.queued()
    assert bytes(message.body) == webhook.body
    names = ("x-deel-signature", "x-deel-hmac-label")
    headers = message.properties["application_headers"]
    headers.pop("x-delivery-count", None)  # the quorum queue's own
    assert headers == {name: webhook.headers[name] for name in names}
    assert message.delivery_info["routing_key"] == "contract.created"
    assert (message.properties["delivery_mode"], message.properties["content_encoding"]) == (2, "binary")
    assert gateway.post(Webhook(webhook.body + b" ", webhook.headers)) == 401
    assert gateway.queued() == []


def test_a_broker_that_goes_away_loses_nothing_that_was_acknowledged(gateway: Gateway, proxy: Proxy):
    """503 at once while it is away, and by itself 200 when it is back; said once each."""
    gateway.start(proxied(gateway.broker, proxy))
    stop, answers = threading.Event(), []

    def send(number: int) -> None:
        while not stop.is_set():
            webhook = gateway.webhook(f"c-{number}-{len(answers)}")
            began = time.monotonic()
            answers.append((webhook.body, gateway.post(webhook), time.monotonic() - began))

    with ThreadPoolExecutor(4) as pool:
        senders = [pool.submit(send, number) for number in range(4)]
        time.sleep(0.3)
        proxy.cut()
        gateway.system.until(lambda: gateway.ask("GET", "/readyz") == 503, 5, "the gateway sees that it is away")
        away = len(answers)
        time.sleep(0.3)
        seen = answers[away + 4 :]
        proxy.restore()
        gateway.system.until(lambda: gateway.ask("GET", "/readyz") == 200, 10, "the gateway sees that it is back")
        back = len(answers)
        time.sleep(0.3)
        stop.set()
        for sender in senders:
            sender.result()
    assert {status for _, status, _ in answers} == {200, 503}
    assert {status for _, status, _ in seen} == {503}
    assert max(took_s for _, _, took_s in seen) < 1
    assert {status for _, status, _ in answers[back + 4 :]} == {200}
    assert gateway.ask("GET", "/healthz") == 200
    queued = {bytes(message.body) for message in gateway.queued()}
    assert {body for body, status, _ in answers if status == 200} <= queued
    assert (gateway.says("broker_unavailable"), gateway.says("back_again")) == (1, 1)


def test_a_broker_that_is_away_at_the_start_is_waited_for(gateway: Gateway, proxy: Proxy):
    """Refused, not unreachable: whoever posts is told when to come again."""
    proxy.cut()
    gateway.start(proxied(gateway.broker, proxy))
    assert (gateway.ask("GET", "/readyz"), gateway.post(gateway.webhook("c-1"))) == (503, 503)
    proxy.restore()
    gateway.system.until(lambda: gateway.ask("GET", "/readyz") == 200, 10, "the gateway sees that it is there")
    assert gateway.post(gateway.webhook("c-2")) == 200


def test_a_broker_that_goes_away_is_seen_without_a_webhook(gateway: Gateway, proxy: Proxy):
    """Who asks whether it is ready is told the truth of the last second."""
    gateway.start(proxied(gateway.broker, proxy))
    assert gateway.ask("GET", "/readyz") == 200
    proxy.cut()
    gateway.system.until(lambda: gateway.ask("GET", "/readyz") == 503, 5, "the gateway sees that it is away")


def test_a_broker_that_says_nothing_costs_seconds_once(gateway: Gateway, proxy: Proxy):
    """Those who wait when it falls silent are refused within five; who comes then, at once."""
    gateway.start(proxied(gateway.broker, proxy))
    assert gateway.post(gateway.webhook("c-0")) == 200
    proxy.hold()
    webhooks = [gateway.webhook(f"c-{number}") for number in range(1, 12)]
    with ThreadPoolExecutor(10) as pool:
        began = time.monotonic()
        assert set(pool.map(gateway.post, webhooks[:10])) == {503}
        assert time.monotonic() - began < 6
    began = time.monotonic()
    assert gateway.post(webhooks[10]) == 503
    assert time.monotonic() - began < 1


def test_a_queue_that_is_gone_is_made_again(gateway: Gateway):
    """A broker that came back empty: nothing is published into the void."""
    gateway.start(gateway.broker)
    assert gateway.post(gateway.webhook("c-1")) == 200
    with Connection(gateway.broker) as connection:
        connection.default_channel.queue_delete(topology.INTAKE)
    webhook = gateway.webhook("c-2")
    assert gateway.post(webhook) == 200
    assert [bytes(message.body) for message in gateway.queued()] == [webhook.body]


@pytest.mark.parametrize(("point", "arrived"), [("publish.before", 0), ("publish.after", 1)])
def test_a_gateway_that_dies_has_acknowledged_nothing_that_is_not_queued(gateway: Gateway, point: str, arrived: int):
    """On each side of the publish: no answer, so that it is sent again."""
    gateway.start(gateway.broker, FAILPOINTS=f"{point}=kill")
    with pytest.raises(OSError):
        gateway.post(gateway.webhook("c-1"))
    assert gateway.system.processes["gateway"].wait(10) == -signal.SIGKILL
    assert len(gateway.queued()) == arrived


def test_sigterm_answers_what_is_in_flight(gateway: Gateway, proxy: Proxy):
    """Nothing new is accepted, what waits for the broker is answered, and the process ends with 0."""
    gateway.start(proxied(gateway.broker, proxy))
    assert gateway.post(gateway.webhook("c-0")) == 200
    proxy.hold()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(gateway.post, gateway.webhook("c-1"))
        time.sleep(0.3)
        process = gateway.system.processes.pop("gateway")
        process.send_signal(signal.SIGTERM)
        time.sleep(0.4)
        with pytest.raises(OSError):
            gateway.ask("GET", "/healthz")
        proxy.restore()
        assert waiting.result() == 200
    assert process.wait(30) == 0
    assert "Traceback" not in gateway.system.log("gateway")
    assert len(gateway.queued()) == 2


def test_a_broker_that_refuses_ends_it_with_a_line(gateway: Gateway):
    """A wrong password is not waited for."""
    environment = {
        **gateway.system.environment,
        "ONBOARDING_BROKER_URL": "amqp://guest:wrong-canary-1@127.0.0.1:5672//",
    }
    command = [BIN / "onboarding", "gateway", "--port", str(gateway.port)]
    ended = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1
    assert "the broker refuses" in ended.stderr
    assert "canary" not in ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_hris_own_user_may_write_to_hris_events_and_nothing_else(gateway: Gateway):
    """The user that docker/rabbitmq/hris-user makes: for an HRIS, and enough for the gateway."""
    name, password = f"hris-{uuid.uuid4().hex[:8]}", uuid.uuid4().hex
    parts = urlsplit(gateway.broker)
    script = [str(ROOT / "docker" / "rabbitmq" / "hris-user"), name, parts.path[1:] or "/"]
    made = subprocess.run(script, input=password, text=True, capture_output=True)
    if made.returncode:
        pytest.skip("rabbitmqctl makes no users here")
    url = parts._replace(netloc=f"{name}:{password}@{parts.netloc.rpartition('@')[2]}").geturl()
    try:
        gateway.start(url)
        assert gateway.post(gateway.webhook("c-1")) == 200
        assert len(gateway.queued()) == 1
        for attempt in (publish_to(topology.STEPS), publish_to(topology.DEAD), publish_to(""), declare, consume):
            with Connection(url) as connection, pytest.raises(AccessRefused):
                attempt(connection.channel())
        with Connection(url) as connection:
            publish_to(topology.HRIS_EVENTS.name)(connection.channel())
        assert len(gateway.queued()) == 1
    finally:
        rabbitmqctl("delete_user", name)


def publish_to(exchange: str) -> Callable[[Any], None]:
    def publish(channel: Any) -> None:
        channel.confirm_select()
        channel.basic_publish_confirm(channel.prepare_message(b"{}"), exchange, "contract.created", timeout=5)

    return publish


def declare(channel: Any) -> None:
    topology.INTAKE_QUEUE(channel).declare()


def consume(channel: Any) -> None:
    channel.basic_get(topology.INTAKE)


@pytest.mark.postgres
def test_a_replayed_capture_does_no_harm(make_system: Callable[..., System], broker: str, postgres_url: str):
    """Deel signs no time: the same bytes again, whenever, are a duplicate, and one run is all there is."""
    system = make_system(broker, postgres_url)
    gateway = Gateway(system, broker)
    system.intake()
    gateway.start(broker)
    captured = gateway.webhook("c-1")
    assert [gateway.post(captured) for _ in range(5)] == [200] * 5
    plain = Webhook(b'{"type": "contract.created", "contract_id": "c-1"}', captured.headers)
    assert gateway.post(plain) == 401
    system.until(lambda: sum(dispositions(system).values()) == 5, 20, "intake has seen all")
    assert dispositions(system) == {"accepted": 1, "duplicate": 4}
    assert system.states() == {"pending": 1}


def dispositions(system: System) -> dict[str, int]:
    query = select(events.c.disposition, func.count()).group_by(events.c.disposition)
    return dict(map(tuple, system.store.read(lambda db: db.execute(query).all())))


HOSTILE = [
    ("POST", "/webhooks/deel", b"x" * 300_000, {}),
    ("POST", "/webhooks/deel", b"{}", {"x-deel-signature": "\xff" * 5000}),
    ("POST", "/webhooks/deel", b"[" * 100_000, {"x-deel-signature": "0" * 64}),
    ("POST", "/webhooks/deel", b"x", {"content-encoding": "gzip"}),
    ("POST", "/webhooks/" + "x" * 2000, b"{}", {}),
    ("PUT", "/webhooks/deel", b"{}", {}),
    ("GET", "/webhooks/../" + "%2e" * 50, b"", {}),
    ("POST", "/webhooks/deel", b"{}", {f"x-{number}": "y" for number in range(200)}),
]


def test_hostile_requests_leave_no_memory_behind(gateway: Gateway, capsys: pytest.CaptureFixture[str]):
    """Some thousands, after some hundreds that warm it up; each is one line in the log."""
    gateway.start(gateway.broker)
    pid = gateway.system.processes["gateway"].pid

    def hostile(count: int) -> None:
        for number in range(count):
            method, path, body, headers = HOSTILE[number % len(HOSTILE)]
            try:
                assert gateway.ask(method, path, body, headers) >= 400
            except OSError:
                pass  # it was refused while it was still talking

    hostile(800)
    before = rss_mb(pid)
    hostile(1600)
    after = rss_mb(pid)
    with capsys.disabled():
        print(f"\n1600 hostile requests: {before:.1f} MB before, {after:.1f} MB after")
    assert after - before < 10
    assert gateway.says("webhook_refused") + gateway.says("request_refused") == 2400
    assert gateway.post(gateway.webhook("c-1")) == 200


def rss_mb(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
