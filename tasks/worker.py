"""`celery -A tasks worker`: Celery's, started only when store and broker are ready, and stopped in time."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType
from typing import Any, Final

from celery import signals
from celery.apps import worker

from tasks import process, startup
from tasks.application import settings

SOFT_SHUTDOWN_S: Final = 30  # a call's 20 s before it, the orchestrator's grace of 45 s behind it
SHUTDOWN_S: Final = 40


class Worker(worker.Worker):
    """As Celery's, but for what is settled before it starts."""

    def __init__(self, app: Any = None, hostname: str | None = None, **options: Any) -> None:
        # Mingle and gossip tell workers of each other's revoked tasks, clocks and ends: we need none of it, and with a
        # host just lost the first costs 32 s at each start. The banner is no line of JSON.
        options |= {"without_mingle": True, "without_gossip": True}
        options["quiet"] = options.get("quiet") or settings.log_format == "json"
        super().__init__(app, hostname, **options)

    def start(self) -> None:
        """Until a signal."""
        startup.prepare_celery(settings)
        with startup.ending_in_a_line():
            startup.wait_for_store(settings)
            startup.require_deel_token(settings)
            startup.wait_for_broker(settings)
        super().start()


@signals.worker_process_init.connect
def _after_fork(**_: Any) -> None:
    process.forget_world()
    process.observe_errors(settings)


@signals.worker_ready.connect
def _bound_the_shutdown(**_: Any) -> None:
    # SIGTERM lets a running task end however long it takes, and then the orchestrator's SIGKILL decides; Celery's
    # own soft shutdown sleeps its whole time even when nothing runs any more. So: SIGTERM, and SIGQUIT, which
    # gives the messages back, for what still runs after 30 s. A broker whose host is gone answers no good-bye, and
    # Celery waits for it without end: after 40 s the process ends all the same, and the broker has its messages.
    celerys = signal.getsignal(signal.SIGTERM)

    def stop(number: int, frame: FrameType | None) -> None:
        for after_s, act, *given in (
            (SOFT_SHUTDOWN_S, os.kill, os.getpid(), signal.SIGQUIT),
            (SHUTDOWN_S, os._exit, 1),
        ):
            patience = threading.Timer(after_s, act, given)
            patience.daemon = True
            patience.start()
        if callable(celerys):
            celerys(number, frame)

    signal.signal(signal.SIGTERM, stop)
