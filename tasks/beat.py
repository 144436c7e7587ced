"""`celery -A tasks beat`: Celery's, but a broker that is away is said once, and one that refuses ends it."""

from __future__ import annotations

from typing import Any

from celery import beat
from celery.apps import beat as program

from onboarding import outages
from tasks import startup
from tasks.application import settings
from tasks.connect import BROKER_ERRORS, reason_of, refusal_in


class Scheduler(beat.Scheduler):
    """No schedule file: every entry takes its turn in the store."""

    def apply_entry(self, entry: Any, producer: Any = None) -> None:
        """Celery's own logs two stack dumps at each failure, and a line at each success."""
        try:
            self.apply_async(entry, producer=producer, advance=False)
        except beat.SchedulingError as failure:
            cause = failure.__cause__ or failure.__context__
            if not isinstance(cause, BROKER_ERRORS):
                raise
            refusal = refusal_in(cause)
            if refusal is not None:
                raise refusal from None
            outages.say_once("broker_unavailable", error=reason_of(cause))
        else:
            outages.over("broker_unavailable")


class Beat(program.Beat):
    """As Celery's, but for what is settled before it starts."""

    def __init__(self, **options: Any) -> None:
        options["quiet"] = options.get("quiet") or settings.log_format == "json"  # the banner is no line of JSON
        super().__init__(**options)

    def run(self) -> None:
        """Until a signal."""
        self.setup_logging()
        startup.prepare_celery(settings)
        with startup.ending_in_a_line():
            startup.wait_for_broker(settings)
            super().run()
