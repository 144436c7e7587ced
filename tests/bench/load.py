"""A sender of webhooks in a process of its own, in an open loop: each goes out at its own time, whatever became of
those before it, and its latency counts from that time. A gateway that stalls is charged for all that it kept waiting.

`python -m tests.bench.load PORT RATE SECONDS` prints one JSON document.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

import uvloop

from onboarding import signatures
from tests.onboarding.hris_messages import WEBHOOK, webhook

KEY, LABEL = "bench-key", "bench"
PATIENCE_S: Final = 30.0
WARM_UP: Final = 100
NO_ANSWER: Final = "none"


@dataclass
class Load:
    """What was sent, and what came of it."""

    port: int
    latencies_ms: list[float] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)
    late_ms: list[float] = field(default_factory=list)  # how late this process itself was
    idle: list[Sender] = field(default_factory=list)

    async def send(self, request: bytes, due: float) -> None:
        """One webhook, on a connection that is free or on a new one."""
        self.late_ms.append((time.perf_counter() - due) * 1000)
        status = NO_ANSWER
        try:
            async with asyncio.timeout(PATIENCE_S):
                sender = await self._free()
                status = await sender.ask(request)
        except (OSError, TimeoutError):
            pass
        else:
            self.idle.append(sender)
        self.latencies_ms.append((time.perf_counter() - due) * 1000)
        self.statuses[status] += 1

    async def _free(self) -> Sender:
        while self.idle:
            if not (sender := self.idle.pop()).lost:
                return sender
        loop = asyncio.get_running_loop()
        _, sender = await loop.create_connection(Sender, "127.0.0.1", self.port)
        return sender

    def document(self) -> dict[str, object]:
        return {
            "latencies_ms": [round(each, 2) for each in self.latencies_ms],
            "statuses": dict(self.statuses),
            "sender_late_ms": round(max(self.late_ms), 1),
            "connections": len(self.idle),
        }


class Sender(asyncio.Protocol):
    """A kept-alive connection: one request, one answer, and again."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport
        self.lost = False
        self._answer: asyncio.Future[str] | None = None

    async def ask(self, request: bytes) -> str:
        """The answer's status. Answers are so small that each comes in one piece, or its end does."""
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answer

    def data_received(self, data: bytes) -> None:
        if self._answer is not None and not self._answer.done() and data.startswith(b"HTTP/1.1 "):
            self._answer.set_result(data[9:12].decode())

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(exc or ConnectionResetError())


def request(number: int) -> bytes:
    """A signed webhook of a contract of its own."""
    body = json.dumps(webhook(resource={"id": f"bench-{number}"})).encode()
    head = (
        f"POST /webhooks/deel HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\nx-deel-hmac-label: {LABEL}\r\n"
        f"x-deel-signature: {signatures.sign(body, KEY.encode()).decode()}\r\n\r\n"
    )
    return head.encode() + body


async def run(port: int, rate: float, seconds: float) -> dict[str, object]:
    """A few to warm up, which do not count; then at `rate` a second."""
    requests = [request(number) for number in range(round(rate * seconds) + WARM_UP)]
    warm, requests = Load(port), requests[: round(rate * seconds)]
    for number in range(WARM_UP):
        await warm.send(request(-1 - number), time.perf_counter())
    load = Load(port, idle=warm.idle)
    began = time.perf_counter() + 0.1
    under_way = set()
    for number, each in enumerate(requests):
        due = began + number / rate
        if (ahead := due - time.perf_counter()) > 0:
            await asyncio.sleep(ahead)
        task = asyncio.create_task(load.send(each, due))
        under_way.add(task)
        task.add_done_callback(under_way.discard)
    while under_way:
        await asyncio.wait(under_way)
    assert len(load.latencies_ms) == len(requests), "each counts, whatever became of it"
    return {**load.document(), "warm_up": WARM_UP, "bytes": len(json.dumps(WEBHOOK))}


def main() -> None:
    """See the module."""
    port, rate, seconds = sys.argv[1:]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        json.dump(runner.run(run(int(port), float(rate), float(seconds))), sys.stdout)


if __name__ == "__main__":
    main()
