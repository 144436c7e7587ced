"""An HRIS as it really is: events twice, out of order, garbage in between; each is published until it is confirmed."""

from __future__ import annotations

import contextlib
import json
import random
import threading
import time
from collections.abc import Callable

from kombu import Connection, Producer

from tasks import topology
from tests.integration.system import System

DOUBLED = 0.3
GARBAGE = 0.2


class Hris(threading.Thread):
    """Sends one event per contract and more, in the seed's order. `confirmed`: messages that the broker took."""

    def __init__(self, system: System, url: str, contracts: list[str], seed: int, pause_s: float) -> None:
        super().__init__(daemon=True)
        self._system, self._url, self._pause_s = system, url, pause_s
        dice = random.Random(f"hris {seed}")
        good = [self._event(contract) for contract in contracts]
        doubles = [event for event in good if dice.random() < DOUBLED]
        garbage = [(_garbage(dice), {}) for event in good if dice.random() < GARBAGE]
        self.messages = [*good, *doubles, *garbage]
        dice.shuffle(self.messages)
        self.confirmed = 0
        self.total = len(self.messages)

    def run(self) -> None:
        while self.confirmed < self.total:
            with contextlib.suppress(Exception), Connection(self._url, transport_options=CONFIRMED) as connection:
                self._send_on(connection)
            time.sleep(0.2)

    def _send_on(self, connection: Connection) -> None:
        topology.declare_all(connection.default_channel)
        producer: Producer = connection.Producer()
        while self.confirmed < self.total:
            body, headers = self.messages[self.confirmed]
            producer.publish(
                body,
                exchange=topology.HRIS_EVENTS,
                routing_key="contract.created",
                headers=headers,
                content_type="application/json",
                content_encoding="binary",
                timeout=5,
            )
            self.confirmed += 1
            time.sleep(self._pause_s)

    def _event(self, contract: str) -> tuple[bytes, dict[str, str]]:
        webhook = self._system.deel.webhook("contract.created", contract)
        return webhook.body, dict(webhook.headers)


CONFIRMED = {"confirm_publish": True, "read_timeout": 10, "write_timeout": 10}


def _garbage(dice: random.Random) -> bytes:
    """What a broken sender sends. Each is different, so that each has a row of its own."""
    mark = f"{dice.getrandbits(64):x}"
    kinds: list[Callable[[], bytes]] = [
        lambda: dice.randbytes(dice.randrange(1, 2000)),
        lambda: json.dumps({"type": "contract.created", "mark": mark}).encode(),
        lambda: json.dumps({"type": "contract.created", "contract_id": [mark]}).encode(),
        lambda: json.dumps([mark]).encode(),
        lambda: b'{"type": "contract.created", "contract_id": "' + mark.encode(),
        lambda: b"[" * dice.randrange(60, 5000) + mark.encode(),
        lambda: json.dumps({"type": f"no.such.{mark}", "contract_id": "c-x"}).encode(),
        lambda: b"x" * 300_000 + mark.encode(),
    ]
    return dice.choice(kinds)()
