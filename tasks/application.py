"""The Celery application and its settings, once. Each setting that guards against a loss says which."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import warnings
from types import FrameType
from typing import Any

from celery import Celery, signals
from celery.exceptions import CDeprecationWarning

from onboarding import observe
from onboarding.failpoints import arm_from_environment, fail_point
from onboarding.settings import Settings, SettingsError, load
from tasks import outage_log, process
from tasks.topology import STEPS, UPKEEP, celery_queue, transport_options
from tasks.unpacking import unpack_nothing

RECONCILE_EVERY_S = 5.0
FAILURES_EVERY_S = 5.0
RETIRE_EVERY_S = 600.0
HTTP_TOTAL_S, SOFT_SHUTDOWN_S = 20, 30  # and the orchestrator's grace 45: in this order


def make_app(settings: Settings) -> Celery:
    """The application, configured."""
    app = Celery("onboarding", task_cls="tasks.request:StepTask", include=["tasks.chain", "tasks.upkeep"])
    app.conf.update(
        broker_url=settings.broker_url.get_secret_value(),
        broker_transport_options=transport_options(embedded=settings.embedded),
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,  # the default gives up after 100
        broker_connection_timeout=5,
        broker_heartbeat=20,
        task_queues=[celery_queue(STEPS), celery_queue(UPKEEP)],
        task_default_queue=STEPS,
        task_default_exchange=STEPS,
        task_default_exchange_type="topic",
        task_default_routing_key=STEPS,
        task_default_queue_type="quorum",
        task_create_missing_queues=False,  # a typo is an error, not a new queue
        task_acks_late=True,  # a killed worker's task comes back
        task_reject_on_worker_lost=True,  # a killed child's too
        task_annotations={"*": {"max_retries": None}},  # the rows count the tries, Celery never decides
        task_publish_retry_policy={"max_retries": 2, "interval_start": 0.1, "interval_step": 0.2, "interval_max": 0.4},
        task_ignore_result=True,  # the store knows: there is no result backend
        task_soft_time_limit=45,
        task_time_limit=60,
        task_send_sent_event=True,  # Flower
        worker_send_task_events=True,
        worker_prefetch_multiplier=1,  # hold what you work on, no more
        worker_cancel_long_running_tasks_on_connection_loss=True,  # else two copies run
        worker_hijack_root_logger=False,  # structlog owns the logs
        worker_redirect_stdouts=False,
        accept_content=["json"],
        beat_scheduler="celery.beat:Scheduler",  # no schedule file: every entry takes its turn in the store
        beat_schedule={
            name: {"task": name, "schedule": every_s, "options": {"queue": UPKEEP, "expires": 60.0}}
            for name, every_s in (
                ("onboarding.reconcile", RECONCILE_EVERY_S),
                ("onboarding.tell_failures", FAILURES_EVERY_S),
                ("onboarding.retire", RETIRE_EVERY_S),
            )
        },
    )
    return app


def settings_or_exit() -> Settings:
    """The settings; a wrong one ends the process with a line each, before anything starts."""
    try:
        return load()
    except SettingsError as error:
        sys.exit(str(error))


@signals.setup_logging.connect  # connecting it is what keeps Celery's own logging away
def _own_logging(**_: Any) -> None:
    if not logging.getLogger().handlers:  # else the command line has configured it
        observe.configure(settings.log_format)
    outage_log.install()


@signals.worker_init.connect
@signals.beat_init.connect
def _check_settings(**_: Any) -> None:
    try:
        settings.require_deel_token()
        settings.keyring()
    except SettingsError as error:
        sys.exit(str(error))
    arm_from_environment()
    process.observe_errors(settings)


@signals.worker_process_init.connect
def _after_fork(**_: Any) -> None:
    process.forget_world()
    process.observe_errors(settings)


@signals.worker_ready.connect
def _bound_the_shutdown(**_: Any) -> None:
    # SIGTERM lets a running task end however long it takes, and then the orchestrator's SIGKILL decides; Celery's
    # own soft shutdown sleeps its whole time even when nothing runs any more. So: SIGTERM, and SIGQUIT, which
    # gives the messages back, for what still runs after 30 s.
    celerys = signal.getsignal(signal.SIGTERM)

    def stop(number: int, frame: FrameType | None) -> None:
        patience = threading.Timer(SOFT_SHUTDOWN_S, os.kill, (os.getpid(), signal.SIGQUIT))
        patience.daemon = True
        patience.start()
        if callable(celerys):
            celerys(number, frame)

    signal.signal(signal.SIGTERM, stop)


@signals.before_task_publish.connect
def _before_publish(**_: Any) -> None:
    fail_point("publish.before")


@signals.after_task_publish.connect
def _after_publish(**_: Any) -> None:
    fail_point("publish.after")


warnings.simplefilter("ignore", CDeprecationWarning)
unpack_nothing()
settings = settings_or_exit()
app = make_app(settings)
