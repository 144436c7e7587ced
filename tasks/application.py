"""The Celery application and its settings, once. Each setting that guards against a loss says which."""

from __future__ import annotations

import logging
import sys
import warnings
from functools import cached_property
from typing import Any

from celery import Celery, signals
from celery.exceptions import CDeprecationWarning

from onboarding import observe, renewals
from onboarding.settings import Settings, SettingsError, load
from tasks import log_filters
from tasks.connect import CONNECT_S, HEARTBEAT_S
from tasks.producer import POLICY
from tasks.topology import STEPS, UPKEEP, celery_queue, transport_options
from tasks.unpacking import unpack_nothing

RECONCILE_EVERY_S = 5.0
FAILURES_EVERY_S = 5.0
KEEP_ALIVE_EVERY_S = renewals.EVERY_S
RETIRE_EVERY_S = 600.0


class Application(Celery):
    """Celery with a worker and a beat that see to store and broker first."""

    @cached_property
    def Worker(self) -> Any:  # noqa: N802 - Celery's name
        """What `celery -A tasks worker` makes."""
        return self.subclass_with_self("tasks.worker:Worker")

    @cached_property
    def Beat(self) -> Any:  # noqa: N802 - Celery's name
        """What `celery -A tasks beat` makes."""
        return self.subclass_with_self("tasks.beat:Beat")


def make_app(settings: Settings) -> Celery:
    """The application, configured."""
    app = Application(
        "onboarding",
        amqp="tasks.producer:Amqp",
        events="tasks.flower:Events",
        task_cls="tasks.request:StepTask",
        include=["tasks.chain", "tasks.upkeep"],
    )
    app.conf.update(
        broker_url=settings.broker_url.get_secret_value(),
        broker_transport_options=transport_options(embedded=settings.embedded),
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,  # the default gives up after 100
        broker_connection_timeout=CONNECT_S,
        broker_heartbeat=HEARTBEAT_S,
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
        task_publish_retry_policy=POLICY,
        task_ignore_result=True,  # the store knows: there is no result backend
        task_soft_time_limit=45,
        task_time_limit=60,
        worker_send_task_events=True,  # Flower
        # Not task_send_sent_event: a message more for each step, to show a task in Flower before a worker has it. Runs
        # that wait for their turn are in the store, and have no message at all.
        # Exclusive control queues, Celery's default, lock out a worker that comes back under the name of one whose host
        # was just lost. Not exclusive, and durable as RabbitMQ 4.3 wants it, they cost this: two workers of one name
        # both start, and each question of `celery inspect` or Flower reaches one of the two. The README names each.
        control_queue_exclusive=False,
        control_queue_durable=True,
        worker_prefetch_multiplier=1,  # hold what you work on, no more
        worker_cancel_long_running_tasks_on_connection_loss=True,  # else two copies run
        worker_hijack_root_logger=False,  # structlog owns the logs
        worker_redirect_stdouts=False,
        accept_content=["json"],
        beat_scheduler="tasks.beat:Scheduler",
        beat_schedule={
            name: {"task": name, "schedule": every_s, "options": {"queue": UPKEEP, "expires": 60.0}}
            for name, every_s in (
                ("onboarding.reconcile", RECONCILE_EVERY_S),
                ("onboarding.tell_failures", FAILURES_EVERY_S),
                ("onboarding.keep_alive", KEEP_ALIVE_EVERY_S),
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
        sys.stderr.write(f"{error}\n")
    sys.exit(2)


@signals.setup_logging.connect  # connecting it is what keeps Celery's own logging away
def _own_logging(**_: Any) -> None:
    if not logging.getLogger().handlers:  # else the command line has configured it
        observe.configure(settings.log_format)
    log_filters.install()


warnings.simplefilter("ignore", CDeprecationWarning)
unpack_nothing()
settings = settings_or_exit()
app = make_app(settings)
