"""Connections to broker, store and Deel: cut, delayed, half open, and to a host that is gone."""

from __future__ import annotations

import random
import time
from functools import partial

from tests.chaos.auditor import Expected
from tests.chaos.ending import Say
from tests.chaos.plant import LEASE_S, Plant
from tests.chaos.scenarios import in_flight, scenario
from tests.integration.proxy import Proxy
from tests.integration.system import ROOT

WORDS = ("broker", "store", "deel")
DELAY_S = 0.03
LONG_S = LEASE_S * 1.6


def _cut(proxy: Proxy) -> None:
    for _ in range(3):
        proxy.cut()
        time.sleep(1.0)
        proxy.restore()
        time.sleep(1.0)


def _delayed(proxy: Proxy) -> None:
    proxy.delay_s = DELAY_S
    time.sleep(LONG_S)
    proxy.delay_s = 0.0


def _half_open(proxy: Proxy) -> None:
    proxy.hold()
    time.sleep(LONG_S)
    proxy.restore()


def _host_gone(proxy: Proxy) -> None:
    proxy.lose()


TROUBLES = {"cut": _cut, "delayed": _delayed, "half open beyond the lease": _half_open, "its host gone": _host_gone}


def _play(word: str, trouble: str, made: Plant, _dice: random.Random, _say: Say) -> Expected:
    names = in_flight(made, 30)
    TROUBLES[trouble](getattr(made.proxies, word))
    return Expected(names)


for word in WORDS:
    for trouble in TROUBLES:
        scenario(f"connections to the {word}: {trouble}", patience_s=180)(partial(_play, word, trouble))


@scenario("SIGTERM while the broker's host is gone")
def stopped_without_broker(made: Plant, _dice: random.Random, _say: Say) -> Expected:
    """Nobody answers the good-bye: each worker is gone within the orchestrator's grace all the same."""
    names = in_flight(made, 20)
    made.proxies.broker.lose()
    for old, new in (("worker-0", "worker-2"), ("worker-1", "worker-3")):
        made.retire(old)
        made.add(new, ROOT)
    return Expected(names)
