"""The floor: a chain of five tasks that do nothing, in the very same worker, on the same queue and settings.

A worker takes them in with `celery -A tasks worker -I tests.bench.bare`.
"""

from __future__ import annotations

import socket
from typing import Any, Final

from celery import Celery, chain

from onboarding.runs import STEPS
from tasks.application import app

LINK: Final = "bench.link"
END: Final = "bench.end"


@app.task(name=LINK)  # type: ignore[untyped-decorator]
def link() -> None:
    """Nothing."""


@app.task(name=END)  # type: ignore[untyped-decorator]
def end(port: int) -> None:
    """Nothing, and say so to who waits for it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as to_bench:
        to_bench.sendto(b"end", ("127.0.0.1", port))


def send(sender: Celery, port: int) -> None:
    """Publish one chain, of as many links as an onboarding has steps."""
    links: list[Any] = [sender.signature(LINK, immutable=True) for _ in STEPS[1:]]
    chain(*links, sender.signature(END, args=(port,), immutable=True)).apply_async()
