"""Everything in one process, for a laptop and for the demo: the worker in the main thread, the rest beside it."""

from __future__ import annotations

import threading
from collections.abc import Callable

from celery import signals
from celery.worker import state
from kombu import Connection

from onboarding import upkeep
from onboarding.intake import Intake
from onboarding.settings import Settings
from tasks.application import app
from tasks.connect import connection_settings
from tasks.intake import IntakeConsumer
from tasks.process import close_world, world
from tasks.upkeep import attempt_upkeep

LOOK_EVERY_S = 1.0


def serve(settings: Settings, intake: Intake, beside: Callable[[], None] | None = None) -> None:
    """Run until a signal, or until `beside` returns; what it raises is raised here."""
    if settings.embedded:
        upkeep.start_over(world())
    stopping = threading.Event()
    failures: list[BaseException] = []
    consumer = IntakeConsumer(Connection(**connection_settings(settings)), intake)

    def run_beside(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as failure:  # noqa: BLE001 - handed to the main thread as it is
            failures.append(failure)
        state.should_stop = 0  # a warm stop: the worker looks at it once a round

    def ready(**_: object) -> None:
        if beside is not None:
            threading.Thread(target=run_beside, args=(beside,), daemon=True, name="beside").start()

    threads = [
        threading.Thread(target=consumer.run, daemon=True, name="intake"),
        threading.Thread(target=_keep_up, args=(stopping,), daemon=True, name="upkeep"),
    ]
    signals.worker_ready.connect(ready, weak=False)
    for thread in threads:
        thread.start()
    try:
        worker = app.Worker(
            pool="solo", concurrency=1, loglevel="INFO", quiet=True, without_gossip=True, without_mingle=True
        )
        worker.start()
    finally:
        stopping.set()
        consumer.should_stop = True
        for thread in threads:
            thread.join(timeout=5)
        close_world()
    if failures:
        raise failures[0]


def _keep_up(stopping: threading.Event) -> None:
    """What beat does elsewhere."""
    while not stopping.wait(LOOK_EVERY_S):
        for work, every_s in (("reconcile", LOOK_EVERY_S), ("tell_failures", LOOK_EVERY_S), ("retire", 0.0)):
            attempt_upkeep(work, every_s)
