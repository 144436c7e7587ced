import io
import json
import logging
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import pytest
import sentry_sdk
import structlog
from pydantic import SecretStr
from sentry_sdk.transport import Transport

from onboarding import masking, observe
from onboarding.runs import Reason, Step

TOKEN = "wt-canary-0a1b2c3d"
ADDRESS = "canary.ada@example.com"
FIELD = "canary of a field"
CANARIES = (TOKEN, ADDRESS, "canary.ada", FIELD, "canary-in-a-variable")
DSN = SecretStr("https://canarykey0123456789@sentry.invalid/1")


@pytest.fixture(autouse=True)
def quiet_again(monkeypatch):
    """Logging, structlog, Sentry and the mask are as they were, after each test."""
    root = logging.getLogger()
    handlers, level, root.handlers = root.handlers, root.level, []  # pytest's own would say what we do not
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    monkeypatch.setattr(masking, "_secrets", masking._Secrets())
    masking._masked_short.cache_clear()
    observe.remember_secret(TOKEN)
    yield
    root.handlers = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


@pytest.fixture
def lines():
    """What a process that logs JSON has written so far."""
    stream = io.StringIO()
    observe.configure("json", stream=stream)
    return lambda: [json.loads(line) for line in stream.getvalue().splitlines()]


class Kept(Transport):
    """A transport that keeps what would be sent, as the bytes that would be sent."""

    def __init__(self):
        super().__init__()
        self.envelopes = []

    def capture_envelope(self, envelope):
        self.envelopes.append(envelope)

    @property
    def sent(self) -> bytes:
        return b"\n".join(envelope.serialize() for envelope in self.envelopes)

    def events(self) -> list[dict]:
        return [item.get_event() for envelope in self.envelopes for item in envelope.items if item.get_event()]


@pytest.fixture
def sentry():
    kept = Kept()
    observe.init_sentry(DSN, release="1.2.3", environment="test", transport=kept)
    yield kept
    sentry_sdk.get_client().close()
    sentry_sdk.get_global_scope().set_client(None)
    sentry_sdk.get_isolation_scope().clear()
    sentry_sdk.get_current_scope().clear()


def fail(token: str) -> None:
    local = "canary-in-a-variable"
    cause = KeyError(f"{token} of {ADDRESS}")
    raise ValueError(f"no answer for {ADDRESS}", token, len(local)) from cause  # canary-in-source


def a_defect() -> BaseException:
    try:
        fail(TOKEN)
    except ValueError as error:
        error.add_note(f"note on {ADDRESS}")
        return error
    raise AssertionError


def assert_clean(text: str | bytes, *more: str) -> None:
    shown = text if isinstance(text, str) else text.decode()
    assert not [canary for canary in (*CANARIES, *more) if canary in shown]


def test_every_library_comes_out_the_same_way(lines):
    """Our lines and a library's have the same fields, and the context that was bound."""
    structlog.contextvars.bind_contextvars(run_id="0123456789abcdef", step=Step.ISSUE_TOKEN)
    structlog.get_logger("onboarding.steps").info("step_done", took_ms=412)
    logging.getLogger("celery.worker").warning("lost %s of %d", "connection", 3)

    ours, theirs = lines()

    assert ours.pop("timestamp")[:2] == theirs.pop("timestamp")[:2] == "20"
    bound = {"run_id": "0123456789abcdef", "step": "issue_token"}
    assert ours == {"event": "step_done", "level": "info", "logger": "onboarding.steps", "took_ms": 412, **bound}
    assert theirs == {"event": "lost connection of 3", "level": "warning", "logger": "celery.worker", **bound}


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_no_line_leaks(log_format):
    """Texts, arguments, fields, names of fields, bound context, exceptions with causes and notes, either format."""
    stream = io.StringIO()
    observe.configure(log_format, level="DEBUG", stream=stream)
    structlog.contextvars.bind_contextvars(who=ADDRESS)
    ours, theirs = structlog.get_logger("onboarding"), logging.getLogger("kombu")
    defect = a_defect()

    ours.info(f"about {ADDRESS}", nested=[{"a": {"b": (TOKEN, ADDRESS)}}], worker_token=FIELD)
    ours.info("with %s", ADDRESS)
    ours.info("named", **{ADDRESS: 1}, token=FIELD.encode(), error=defect)
    ours.error("failed", exc_info=defect)
    theirs.error("for %s and %r", TOKEN, {"x": ADDRESS}, exc_info=defect, stack_info=True)
    logging.getLogger("celery").critical("body: %r", json.dumps({"email": ADDRESS, "token": FIELD}))

    written = stream.getvalue()
    assert_clean(written)
    assert written.count("Traceback") >= 2
    assert written.count("note on [masked]") >= 2


def test_a_traceback_shows_no_variables(lines):
    """Frames, lines and texts, masked; never what a variable held."""
    structlog.get_logger("onboarding").exception("failed", exc_info=a_defect())

    (line,) = lines()

    assert "in fail" in line["exception"]
    assert "KeyError: '[masked] of [masked]'" in line["exception"]
    assert "canary-in-a-variable" not in line["exception"]


def test_no_text_forges_a_line():
    """Line breaks and control characters of an event, a field or an exception's text begin no line at the margin."""
    forged = "\n2026-08-01T12:00:00Z [info     ] forged\r\x1b[2K\u2028forged"
    stream = io.StringIO()
    observe.configure("console", stream=stream)

    structlog.get_logger("onboarding").info(f"event {forged}", field=forged)
    logging.getLogger("kombu").warning("lost %s", forged)
    structlog.get_logger("onboarding").error("failed", exc_info=ValueError(forged))

    written = stream.getvalue()
    starts = [line for line in written.splitlines() if not line.startswith("  ")]
    assert [line.split("]")[1].split()[0] for line in starts] == ["event", "lost", "failed"]
    assert "forged" in written
    assert not set("\r\x1b\u2028") & set(written)


def test_urls_of_requests_stay_out(lines):
    """httpx and httpcore tell each request's URL at INFO, headers at DEBUG; both begin at WARNING here."""
    for name in ("httpx", "httpcore.http11", "amqp"):
        logging.getLogger(name).info("HTTP Request: GET https://api.letsdeel.com/rest/v2/contracts/mp4y66j")
        logging.getLogger(name).warning("slow")

    assert [line["event"] for line in lines()] == ["slow"] * 3


def test_levels_hold_for_all(lines):
    """Below INFO nothing is written, by whomever."""
    structlog.get_logger("onboarding").debug("detail")
    logging.getLogger("kombu").debug("detail")

    assert lines() == []


def test_configured_twice_writes_once():
    """The second stream takes over; other people's handlers stay."""
    first, second, other = io.StringIO(), io.StringIO(), logging.NullHandler()
    logging.getLogger().addHandler(other)
    observe.configure("json", stream=first)
    observe.configure("json", stream=second)

    structlog.get_logger("onboarding").info("once")

    assert (first.getvalue(), second.getvalue().count("once")) == ("", 1)
    assert other in logging.getLogger().handlers


def test_a_line_that_cannot_be_written_is_told_without_its_arguments(monkeypatch):
    """A wrong format string costs the line, not the secret in its arguments: logging itself would print them."""
    stream = io.StringIO()
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # pytest's own would fail the test
    observe.configure("json", stream=stream)

    logging.getLogger("kombu").error("%d", TOKEN)

    assert stream.getvalue().startswith("log_line_lost logger=kombu place=test_observe:")
    assert_clean(stream.getvalue())


def test_a_line_that_cannot_be_masked_is_not_written(lines, monkeypatch):
    """Something failed, and that much is said."""
    monkeypatch.setattr(observe, "mask", lambda _: "[masked]")

    structlog.get_logger("onboarding").info(TOKEN)

    assert [line["event"] for line in lines()] == ["log_line_masked"]


def test_warnings_are_lines_too():
    """Python's own warnings go through the same pipe."""
    stream = io.StringIO()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        observe.configure("json", stream=stream)
        warnings.warn(f"about {ADDRESS}", UserWarning, stacklevel=1)

    assert json.loads(stream.getvalue())["logger"] == "py.warnings"
    assert_clean(stream.getvalue())


UNCAUGHT = """
import threading
from onboarding import observe
observe.configure("json")
observe.remember_secret("wt-canary-0a1b2c3d")
secret = "-".join(["wt", "canary", "0a1b2c3d"])
def die():
    raise ValueError(secret)
thread = threading.Thread(target=die)
thread.start()
thread.join()
die()
"""


def test_what_nobody_caught_is_a_line_too():
    """Of the main thread and of others: one JSON line each on standard error, masked, nothing on standard output."""
    done = subprocess.run(
        [sys.executable, "-"], input=UNCAUGHT, capture_output=True, text=True, check=False, timeout=60, cwd=Path.cwd()
    )

    found = [json.loads(line) for line in done.stderr.splitlines()]

    assert (done.returncode, done.stdout) == (1, "")
    assert [line["event"] for line in found] == ["uncaught_in_thread", "uncaught"]
    assert all("ValueError: [masked]" in line["exception"] for line in found)
    assert "wt-canary-0a1b2c3d" not in done.stderr


def test_colour_is_for_terminals(monkeypatch):
    """A file gets none, a terminal some, unless NO_COLOR is set."""

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.delenv("NO_COLOR", raising=False)
    outputs = []
    for stream in (io.StringIO(), Terminal(), Terminal()):
        observe.configure("console", stream=stream)
        structlog.get_logger("onboarding").info("hello")
        outputs.append("\x1b[" in stream.getvalue())
        if len(outputs) == 2:
            monkeypatch.setenv("NO_COLOR", "1")

    assert outputs == [False, True, False]


def test_no_byte_of_a_report_leaks(sentry):
    """Texts, causes, notes, variables, source lines, extras, tags, users, breadcrumbs, log arguments, requests."""
    observe.configure("json", stream=io.StringIO())
    log = logging.getLogger("kombu")
    structlog.contextvars.bind_contextvars(run_id="0123456789abcdef", contract_id=ADDRESS)
    structlog.get_logger("onboarding").warning(f"about {ADDRESS}", nested={"deep": [TOKEN]}, token=FIELD)
    structlog.get_logger("onboarding").error("failed", exc_info=a_defect())
    log.error("for %s and %r", TOKEN, {"x": [ADDRESS]}, extra={"worker_token": FIELD, "to": ADDRESS})
    sentry_sdk.add_breadcrumb(message=ADDRESS, category=TOKEN, data={"nested": [{"password": FIELD}]})
    sentry_sdk.set_tag("who", ADDRESS)
    sentry_sdk.set_user({"email": ADDRESS, "id": TOKEN, "ip_address": FIELD})
    sentry_sdk.set_extra("more", {"a": {"b": {"c": [TOKEN, {"first_name": FIELD}]}}})
    sentry_sdk.set_context("work", {"text": f"of {ADDRESS}", "worker_token": FIELD})

    observe.report_defect(a_defect())
    sentry_sdk.capture_message(f"about {ADDRESS} and {TOKEN}")
    sentry_sdk.capture_exception(a_defect())
    sentry_sdk.capture_event(
        {"request": {"url": f"https://u:{TOKEN}@h/?e={ADDRESS}", "headers": {"X-Auth-Token": FIELD}}}
    )

    assert len(sentry.events()) == 4
    assert_clean(sentry.sent, "canary-in-source", "canarykey0123456789", "context_line", '"vars"', "argv")
    assert b'"function":"fail"' in sentry.sent
    assert b"kombu" in sentry.sent


def test_transactions_logs_and_metrics_go_the_same_way(sentry, monkeypatch):
    """Should somebody switch them on, the same function stands before each of them."""
    options = sentry_sdk.get_client().options

    for hook in ("before_send", "before_send_transaction", "before_send_log", "before_send_metric"):
        assert options[hook]({"body": ADDRESS}, {}) == {"body": "[masked]"}
    assert options["before_breadcrumb"]({"message": ADDRESS}, {}) == {"message": "[masked]"}


@pytest.mark.parametrize("broken", [lambda _: 1 / 0, lambda _: "[masked]"])
def test_what_cannot_be_masked_is_not_sent(sentry, monkeypatch, broken):
    """The report and the breadcrumb are dropped, and counted; Sentry's own way would send the breadcrumb as it is."""
    monkeypatch.setattr(observe, "mask", broken)
    before = observe.dropped_events()

    sentry_sdk.add_breadcrumb(message=ADDRESS)
    sentry_sdk.capture_message(ADDRESS)
    monkeypatch.undo()
    sentry_sdk.capture_message("afterwards")

    assert observe.dropped_events() == before + 2
    assert [event["message"] for event in sentry.events()] == ["afterwards"]
    assert_clean(sentry.sent)


def test_a_parked_run_is_one_report_grouped_by_what_is_wrong(sentry):
    """Two runs with one cause are one issue; the run is a tag, the text holds no id."""
    for run_id in ("0123456789abcdef", "fedcba9876543210"):
        observe.report_parked(run_id, Reason.NOT_EOR, Step.CONTRACT_CREATED, "org-1")

    first, second = sentry.events()

    assert first["fingerprint"] == second["fingerprint"] == ["parked", "not_eor", "contract_created"]
    assert [event["tags"]["run_id"] for event in (first, second)] == ["0123456789abcdef", "fedcba9876543210"]
    assert first["tags"]["organization_id"] == "org-1"
    assert (first["level"], first["message"]) == ("error", "run parked: not_eor at contract_created")
    assert (first["release"], first["environment"]) == ("1.2.3", "test")


def test_a_paused_organisation_is_one_issue(sentry):
    """However many of its runs find out."""
    observe.report_paused("org-1", Reason.ORG_TOKEN_REJECTED)

    (event,) = sentry.events()

    assert event["fingerprint"] == ["paused", "org_token_rejected", "org-1"]
    assert event["tags"] == {"organization_id": "org-1", "reason": "org_token_rejected"}


def test_a_defect_is_grouped_by_type_and_place(sentry):
    """Not by its text; what was bound to the log is a tag of it, and of no later report."""
    with structlog.contextvars.bound_contextvars(run_id="0123456789abcdef", step="notify", other="x"):
        observe.report_defect(a_defect())
    observe.report_defect(RuntimeError("never raised"))

    first, second = sentry.events()

    kind, name, place = first["fingerprint"]
    assert (kind, name) == ("defect", "ValueError")
    assert place.endswith(":a_defect")
    assert first["tags"] == {"run_id": "0123456789abcdef", "step": "notify"}
    assert second["fingerprint"] == ["defect", "RuntimeError", ""]
    assert not second.get("tags")


def test_a_defect_is_placed_where_our_code_last_had_a_hand_in_it():
    """A library's frame below ours would put all its errors into one issue."""
    try:
        json.loads("", object_hook=None)
    except ValueError as error:
        in_library = error
    with pytest.raises(TypeError) as caught:
        masking.remember_secret(3)  # type: ignore[arg-type]

    assert observe._place(caught.value) == "onboarding.masking:remember_secret"
    assert observe._place(in_library).endswith(":test_a_defect_is_placed_where_our_code_last_had_a_hand_in_it")


def test_log_lines_are_breadcrumbs_not_reports(sentry):
    """A retry, or a library's ERROR, is told with the next report, as event and fields."""
    observe.configure("json", stream=io.StringIO())
    structlog.get_logger("onboarding.perform").error("step_retry", reason="rate_limited", wait_s=3)
    logging.getLogger("kombu").error("lost %s", "connection")
    assert sentry.events() == []

    observe.report_parked("0123456789abcdef", "deel_unavailable", "notify", "org-1")

    (event,) = sentry.events()
    ours, theirs = event["breadcrumbs"]["values"]
    assert (ours["message"], ours["category"], ours["level"]) == ("step_retry", "onboarding.perform", "error")
    assert (ours["data"]["reason"], ours["data"]["wait_s"]) == ("rate_limited", 3)
    assert (theirs["message"], theirs["category"]) == ("lost connection", "kombu")


def test_nothing_is_collected_unasked(sentry):
    """Only what catches the uncaught and the log lines, and nothing personal; a caller adds what it needs."""
    assert not sentry_sdk.get_client().should_send_default_pii()
    assert set(sentry_sdk.get_client().integrations) == {"atexit", "dedupe", "excepthook", "logging", "threading"}


def test_without_a_dsn_nobody_is_told():
    """Reports are then free of charge, and never an error."""
    observe.init_sentry(None, release="1", environment="test")

    observe.report_parked("0123456789abcdef", "not_eor", "notify", "org-1")
    observe.report_paused("org-1", "scope_missing")
    observe.report_defect(a_defect())

    assert not sentry_sdk.get_client().is_active()
