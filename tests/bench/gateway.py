"""How soon a webhook is answered while five hundred a second come in; each answer after the broker's confirm."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from kombu import Connection

from tasks import topology
from tests.bench import cpu
from tests.bench.figures import Figure, Measured, percentile
from tests.bench.load import KEY, LABEL
from tests.bench.report import Teller
from tests.bench.servers import virtual_host
from tests.integration.listening import free_port
from tests.integration.system import BIN, ROOT

RATE: Final = 500
SECONDS: Final = 20
AIM_P99_MS: Final = 50.0
START_S: Final = 20.0


def measure(teller: Teller) -> Measured:
    """The gateway, RabbitMQ and the sender on one machine; nothing takes the messages off the queue meanwhile."""
    teller.begins(f"Gateway: {RATE} webhooks a second for {SECONDS} s")
    with virtual_host() as broker, _gateway(broker) as (process, port):
        before = cpu.seconds([process.pid])
        sent = _sent(port)
        used_s = cpu.seconds([process.pid]) - before
        return judge(sent, _waiting(broker), used_s, _peak_mb(process.pid))


def judge(sent: dict[str, Any], waiting: int, used_s: float, peak_mb: float) -> Measured:
    """The figures of what the sender saw, and of what lies on the queue."""
    latencies, ok = sent["latencies_ms"], sent["statuses"].get("200", 0)
    p50, p99, worst = (percentile(latencies, share) for share in (0.5, 0.99, 1))
    told = ok + sent["warm_up"]
    figures = [
        Figure("answered 200", f"{ok} of {len(latencies)}", "all", ok == len(latencies)),
        Figure("on the queue, of those and the warm-up", f"{waiting} of {told}", "all", waiting >= told),
        Figure("answer after the time it was due, p50", f"{p50:.1f} ms"),
        Figure("  p99", f"{p99:.1f} ms", f"<= {AIM_P99_MS:g} ms", p99 <= AIM_P99_MS),
        Figure("  the slowest", f"{worst:.1f} ms"),
        Figure("CPU of the gateway, a webhook", f"{used_s * 1000 / told:.2f} ms"),
        Figure("its memory at the peak (RSS)", f"{peak_mb:.0f} MB"),
    ]
    within = Counter(map(math.ceil, latencies))
    raw = {
        "unit": "answers by the millisecond in which they came, after the time each was due",
        "answers": {str(ms): within[ms] for ms in sorted(within)},
        **{name: value for name, value in sent.items() if name != "latencies_ms"},
        "on_the_queue": waiting,
        "gateway_cpu_s": round(used_s, 2),
    }
    return Measured("gateway", f"Gateway on RabbitMQ, {RATE} webhooks/s for {SECONDS} s, open loop", figures, raw)


@contextmanager
def _gateway(broker: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    port = free_port()
    settings = {"ONBOARDING_BROKER_URL": broker, "ONBOARDING_WEBHOOK_SECRETS": f"{LABEL}={KEY}"}
    with tempfile.TemporaryDirectory() as folder, Path(folder, "log").open("wb") as log:
        command = [BIN / "onboarding", "gateway", "--port", str(port)]
        process = subprocess.Popen(command, env=settings, cwd=ROOT, stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + START_S
            while b"gateway_ready" not in Path(log.name).read_bytes():
                assert process.poll() is None, Path(log.name).read_text()
                assert time.monotonic() < deadline, "the gateway does not start"
                time.sleep(0.05)
            yield process, port
        finally:
            process.terminate()
            process.wait(30)


def _sent(port: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.bench.load", str(port), str(RATE), str(SECONDS)]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def _waiting(broker: str) -> int:
    with Connection(broker) as connection:  # type: ignore[no-untyped-call]
        return int(connection.default_channel.queue_declare(topology.INTAKE, passive=True).message_count)


def _peak_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM"))
