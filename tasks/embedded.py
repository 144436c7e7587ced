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
    """Run until a signal, or until `beside` returns; what it raises is raised here, and so is what ends a thread."""
    stopping = threading.Event()
    failures: list[BaseException] = []
    consumer = IntakeConsumer(Connection(**connection_settings(settings)), intake)

    def run(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as failure:  # noqa: BLE001 - handed to the main thread as it is
            failures.append(failure)
        finally:
            state.should_stop = 0  # a warm stop: the worker looks at it once a round

    works = {"intake": consumer.run, "upkeep": lambda: _keep_up(stopping), "beside": beside}
    threads = [
        threading.Thread(target=run, args=(work,), daemon=True, name=name) for name, work in works.items() if work
    ]

    def ready(**_: object) -> None:
        if settings.embedded:
            upkeep.start_over(world())
        for thread in threads:
            thread.start()

    signals.worker_ready.connect(ready, weak=False)
    try:
        app.Worker(pool="solo", concurrency=1, loglevel="INFO", quiet=True).start()
    finally:
        stopping.set()
        consumer.should_stop = True
        for thread in threads:
            if thread.is_alive() and thread.name != "beside":
                thread.join(timeout=5)
        close_world()
    if failures:
        raise failures[0]


def _keep_up(stopping: threading.Event) -> None:
    """What beat does elsewhere."""
    while not stopping.wait(LOOK_EVERY_S):
        for work in ("reconcile", "tell_failures", "keep_alive", "retire"):
            attempt_upkeep(work, LOOK_EVERY_S)
