"""What an engineer sees of a process: its log lines and its error reports. Both leave through `mask`.

Every library's log lines and our own go through one pipe. Reports are grouped by what is wrong, not by text.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Literal, TextIO, cast

import sentry_sdk
import structlog
from sentry_sdk.integrations.atexit import AtexitIntegration
from sentry_sdk.integrations.dedupe import DedupeIntegration
from sentry_sdk.integrations.excepthook import ExcepthookIntegration
from sentry_sdk.integrations.logging import LoggingIntegration
from sentry_sdk.integrations.threading import ThreadingIntegration
from sentry_sdk.scrubber import DEFAULT_DENYLIST, EventScrubber

from onboarding.masking import mask, remember_secret
from onboarding.shapes import DENIED

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from pydantic import SecretStr
    from sentry_sdk.integrations import Integration
    from sentry_sdk.transport import Transport
    from structlog.typing import EventDict, Processor

__all__ = [
    "configure",
    "dropped_events",
    "init_sentry",
    "leave_logging_to_the_app",
    "mask",
    "remember_secret",
    "report_defect",
    "report_parked",
    "report_paused",
]


_TOO_TALKATIVE: Final = ("httpx", "httpcore", "amqp", "alembic")  # below WARNING they tell URLs, headers, frames
_TAGS: Final = ("run_id", "contract_id", "organization_id", "step", "task_id")
_OURS: Final = ("onboarding", "tasks")
_STACKS: Final = ("exception", "stack")


def configure(log_format: Literal["console", "json"], *, level: str = "INFO", stream: TextIO | None = None) -> None:
    """Send all log lines of this process to `stream` (standard error by default). May be called again."""
    out = sys.stderr if stream is None else stream
    before: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*before, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    handler = _Handler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=before,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.StackInfoRenderer(),
                structlog.processors.format_exc_info,  # a text without local variables, for the mask to see
                _mask_line,
                *_renderers(log_format, out),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [other for other in root.handlers if not isinstance(other, _Handler)] + [handler]
    root.setLevel(level)
    for name in _TOO_TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.captureWarnings(capture=True)
    _catch_the_uncaught()


def leave_logging_to_the_app() -> None:
    """For who uses us as a library: our lines go to Python's own logging, masked; nothing is printed by itself."""
    if not structlog.is_configured():
        structlog.configure(
            processors=[structlog.contextvars.merge_contextvars, _mask_line, structlog.stdlib.render_to_log_kwargs],
            wrapper_class=structlog.stdlib.BoundLogger,
            logger_factory=structlog.stdlib.LoggerFactory(),
        )


class _Handler(logging.StreamHandler[TextIO]):
    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """A line that cannot be written is told without its arguments: logging itself would print them."""
        with contextlib.suppress(Exception):
            self.stream.write(f"log_line_lost logger={record.name} place={record.module}:{record.lineno}\n")


def _renderers(log_format: Literal["console", "json"], out: TextIO) -> list[Processor]:
    if log_format == "json":
        return [structlog.processors.JSONRenderer()]
    colours = out.isatty() and "NO_COLOR" not in os.environ
    plain = structlog.dev.plain_traceback
    return [_spell_out, structlog.dev.ConsoleRenderer(colors=colours, exception_formatter=plain)]


def _spell_out(_logger: object, _method: str, line: EventDict) -> EventDict:
    """What a stranger wrote neither begins a line of its own nor speaks to the terminal. JSON does so by itself."""
    return {name: _spelt(value, name) if isinstance(value, str) else value for name, value in line.items()}


def _spelt(text: str, name: str) -> str:
    """A stack's lines are indented: the text of an exception in it must not look like another log line."""
    if name not in _STACKS:
        return _escaped(text)
    return "\n".join(f"  {_escaped(one)}" for one in text.split("\n"))


def _escaped(text: str) -> str:
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def _mask_line(_logger: object, _method: str, line: EventDict) -> EventDict:
    masked = mask(line)
    return masked if isinstance(masked, dict) else {"event": "log_line_masked", "level": "error"}


def _catch_the_uncaught() -> None:
    """What nobody caught is a log line too; Python's own hooks would print it past the mask."""
    log = structlog.get_logger("onboarding")

    def of_process(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, Exception):
            log.critical("uncaught", exc_info=(kind, error, trace))
        else:
            sys.__excepthook__(kind, error, trace)

    def of_thread(args: threading.ExceptHookArgs) -> None:
        if args.exc_value is not None:
            log.critical("uncaught_in_thread", exc_info=args.exc_value)

    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = of_process
    if threading.excepthook is threading.__excepthook__:
        threading.excepthook = of_thread


class _Drops:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.count = 0

    def add(self) -> None:
        with self._lock:
            self.count += 1


_drops = _Drops()


def dropped_events() -> int:
    """How many reports and breadcrumbs this process kept back because they could not be masked."""
    return _drops.count


def init_sentry(
    dsn: SecretStr | None,
    *,
    release: str,
    environment: str,
    integrations: Sequence[Integration] = (),
    transport: Transport | None = None,
) -> None:
    """Report errors to Sentry; without a DSN, to nobody.

    Of Sentry's own integrations only those that catch what nobody caught, and log lines as breadcrumbs: the
    others collect URLs, statements, arguments or the command line.
    """
    if dsn is None:
        return
    sentry_sdk.init(
        dsn=dsn.get_secret_value(),
        release=release,
        environment=environment,
        transport=transport,
        default_integrations=False,
        auto_enabling_integrations=False,
        integrations=[
            AtexitIntegration(callback=lambda _pending, _timeout: None),
            DedupeIntegration(),
            ExcepthookIntegration(),
            LoggingIntegration(level=logging.INFO, event_level=None, sentry_logs_level=None),
            ThreadingIntegration(),
            *integrations,
        ],
        # send_default_pii is left out: that means False, and to say so is deprecated since sentry-sdk 2.75. What
        # it shall be instead, data_collection, would switch the scrubber off.
        include_local_variables=False,
        include_source_context=False,
        max_request_body_size="never",
        auto_session_tracking=False,
        enable_metrics=False,
        debug=False,
        spotlight=False,
        event_scrubber=EventScrubber(denylist=[*DEFAULT_DENYLIST, *DENIED], recursive=True),
        before_send=_masked,
        before_send_transaction=_masked,
        before_send_log=_masked,
        before_send_metric=_masked,
        before_breadcrumb=_masked_breadcrumb,
    )


def report_parked(run_id: str, reason: str, step: str, organization_id: str) -> None:
    """One report per parked run; all runs with this reason at this step are one issue."""
    tags = {"run_id": run_id, "organization_id": organization_id, "reason": reason, "step": step}
    _report(["parked", reason, step], f"run parked: {reason} at {step}", tags)


def report_paused(organization_id: str, reason: str) -> None:
    """The organisation's runs all wait; one issue per organisation and reason."""
    tags = {"organization_id": organization_id, "reason": reason}
    _report(["paused", reason, organization_id], f"organisation paused: {reason}", tags)


def report_defect(exception: BaseException) -> None:
    """An exception that nobody foresaw; one issue per type and place, whatever its text."""
    _report(["defect", type(exception).__qualname__, _place(exception)], exception, {})


def _report(fingerprint: list[str], what: str | BaseException, tags: dict[str, str]) -> None:
    bound = structlog.contextvars.get_contextvars()
    with sentry_sdk.new_scope() as scope:
        scope.fingerprint = [str(part) for part in fingerprint]
        for name, value in ({name: bound[name] for name in _TAGS if name in bound} | tags).items():
            scope.set_tag(name, str(value))
        if isinstance(what, str):
            scope.capture_message(what, level="error")
        else:
            scope.capture_exception(what)


def _place(exception: BaseException) -> str:
    """Module and function where our code last had a hand in it. No line: that changes with each release."""
    place, trace = "", exception.__traceback__
    while trace is not None:
        frame = trace.tb_frame
        module = str(frame.f_globals.get("__name__", ""))
        if module.partition(".")[0] in _OURS or not place:
            place = f"{module}:{frame.f_code.co_name}"
        trace = trace.tb_next
    return place


def _masked(event: Any, _hint: object) -> Any:
    try:
        masked = mask(event)
    except Exception:  # noqa: BLE001 - Sentry would send what came in
        masked = None
    if isinstance(masked, dict):
        return masked
    _drops.add()
    return None


def _masked_breadcrumb(crumb: dict[str, Any], hint: Mapping[str, Any]) -> Any:
    """Of a line of structlog's, the event is the message and the fields are the data."""
    line = getattr(hint.get("log_record"), "msg", None)
    if isinstance(line, Mapping):
        fields = {key: value for key, value in cast("Mapping[str, Any]", line).items() if key != "exc_info"}
        crumb = {**crumb, "message": fields.pop("event", ""), "data": fields}
    return _masked(crumb, hint)
