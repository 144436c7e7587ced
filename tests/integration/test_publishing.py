"""Publishing: bounded in time whatever the broker does, and with fail points that take effect."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest
from celery import Celery
from celery.exceptions import Reject
from kombu import Connection, pools
from kombu.exceptions import OperationalError
from kombu.transport import native_delayed_delivery as delayed
from structlog.testing import capture_logs

from onboarding import failpoints
from onboarding.failpoints import Injected
from onboarding.notify import PublishFailed
from onboarding.runs import STEPS
from onboarding.settings import load
from tasks import application, publish, topology
from tasks.application import make_app
from tasks.chain import TASKS
from tasks.connect import declare
from tests.integration.proxy import Proxy, proxied, proxy_to

pytestmark = [pytest.mark.rabbitmq]
BOUND_S = 12.0  # 9 s by its parts; with a step's 40 s it stays below the hard limit of 60 s
BODY = b'{"type": "contract.created"}'


class Outgoing:
    """A notification, as far as publishing looks."""

    type, id = "onboarding.completed", "msg-1"

    def body(self) -> bytes:
        return b"{}"


@pytest.fixture
def proxy(broker: str) -> Iterator[Proxy]:
    with proxy_to(broker) as proxy:
        yield proxy


@pytest.fixture
def app(broker: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> Iterator[Celery]:
    """This process's application, made for no broker, on the one behind the proxy."""
    settings = load({"ONBOARDING_BROKER_URL": proxied(broker, proxy)})
    declare(settings)
    with Connection(broker) as connection:  # as a worker does when it starts
        delayed.declare_native_delayed_delivery_exchanges_and_queues(connection, "quorum")
        delayed.bind_queue_to_native_delayed_delivery_exchange(connection, topology.celery_queue(topology.STEPS))
    made = make_app(settings)
    for name in ("broker_url", "broker_transport_options"):
        monkeypatch.setitem(application.app.conf, name, made.conf[name])
    monkeypatch.setattr(application.app, "_pool", None)
    monkeypatch.setattr(application.app.amqp, "_producer_pool", None)
    yield application.app
    pools.reset()  # kombu keeps them by address: a later proxy on the same port would be given a closed one


def nudge() -> bool:
    return publish.nudge("run-1", "c-1", STEPS[0])


def retry() -> None:
    """As a worker retries a task; Celery answers a publish that failed with Reject."""
    task = TASKS[STEPS[-1]]
    task.push_request(id="1", args=("run-1", "c-1"), kwargs={}, retries=0, called_directly=False, delivery_info={})
    try:
        task.retry(countdown=1, throw=False)
    finally:
        task.pop_request()


def event() -> None:
    publish.publish_event(BODY, {}, "contract.created")


def notification() -> None:
    publish.publish_notification(Outgoing())  # type: ignore[arg-type]


def seconds_until_it_fails(send: Callable[[], bool | None]) -> float:
    began = time.monotonic()
    try:
        assert send() is False
    except (OperationalError, PublishFailed, Reject):
        pass
    return time.monotonic() - began


def waiting(broker: str, queue: str) -> int:
    with Connection(broker) as connection:
        return int(connection.default_channel.queue_declare(queue, passive=True).message_count)


def test_a_broker_that_takes_bytes_and_says_nothing_costs_seconds(app: Celery, proxy: Proxy):
    """A half-open connection, or a memory alarm: measured from the first byte to the error, all tries included."""
    kinds = (nudge, event, notification, retry)
    for send in kinds:
        send()
    proxy.hold()
    with ThreadPoolExecutor(len(kinds)) as pool:
        took_s = list(pool.map(seconds_until_it_fails, kinds))
    proxy.cut()
    assert min(took_s) > 2
    assert max(took_s) < BOUND_S


def test_a_nudge_that_fails_is_said_once(app: Celery, proxy: Proxy):
    """And once more when one gets through."""
    with capture_logs() as said:
        proxy.cut()
        assert [nudge(), nudge()] == [False, False]
        proxy.restore()
        assert nudge()
    assert [line["event"] for line in said] == ["nudges_fail", "back_again"]


@pytest.mark.parametrize("kind", ["raise", "cut", "disk_full"])
@pytest.mark.parametrize("point", ["publish.before", "publish.after"])
@pytest.mark.parametrize("send", [nudge, event, retry])
def test_a_fail_point_of_publishing_takes_effect(app: Celery, broker: str, point: str, kind: str, send: Any):
    """Of each kind, on each side of what really publishes: before it nothing is sent, after it all is."""
    failpoints.arm(point, kind)
    with suppress(Injected if kind == "raise" else OSError, Reject):
        assert send() is False
    failpoints.disarm()
    arrived = int(point == "publish.after")
    if send is retry:
        time.sleep(1.5 * arrived)  # it lies in the delaying queue for a second
    assert waiting(broker, topology.INTAKE if send is event else topology.STEPS) == arrived


@pytest.mark.parametrize("kind", ["raise", "cut", "disk_full"])
def test_so_it_does_for_an_outgoing_event(app: Celery, kind: str):
    """What the broker does not take is PublishFailed; what nobody foresaw is not."""
    failpoints.arm("publish.before", kind)
    with pytest.raises(Injected if kind == "raise" else PublishFailed):
        notification()


def test_what_beat_sent_while_no_worker_ran_expires_and_is_nobodys_dead_letter(app: Celery, broker: str):
    """Two upkeep tasks every five seconds: a night without a worker would bury what somebody has to see."""
    for queue in (topology.UPKEEP, topology.STEPS):
        with app.producer_pool.acquire(block=True) as producer:
            producer.publish({}, exchange=queue, routing_key=queue, expiration=0.01, declare=[topology.DEAD_QUEUE])
    deadline = time.monotonic() + 10
    while waiting(broker, topology.DEAD) == 0 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert (waiting(broker, topology.UPKEEP), waiting(broker, topology.STEPS)) == (0, 0)
    assert waiting(broker, topology.DEAD) == 1
