"""What every process sees to before it takes up work: settings, schema, broker. What is away is waited for."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, NoReturn

import structlog

from onboarding import outages, schema
from onboarding.failpoints import arm_from_environment
from onboarding.schema import SchemaMissing
from onboarding.settings import Settings, SettingsError, unknown
from onboarding.store import org_tokens
from onboarding.store.engine import Store, StoreRefuses, StoreUnavailable
from tasks import log_filters, process
from tasks.connect import BROKER_ERRORS, BrokerRefuses, declare, reason_of

WRONG_SETTINGS: Final = 2  # as the command line's; see onboarding/cli/refusal.py
PATIENCE_S: Final = 2.0
FIRST_PAUSE_S: Final = 0.5
LONGEST_PAUSE_S: Final = 5.0

log = structlog.get_logger(__name__)


def prepare(settings: Settings) -> None:
    """For whoever speaks to the broker: error reports first, so that what follows is reported. Twice is once."""
    process.observe_errors(settings)
    log_filters.install()
    try:
        arm_from_environment()
    except ValueError as error:
        exit_with(f"ONBOARDING_FAILPOINTS: {error}", WRONG_SETTINGS)


def prepare_celery(settings: Settings) -> None:
    """For Celery's own processes: what is wrong with the settings ends them with a line each."""
    try:
        settings.keyring()
    except SettingsError as error:
        exit_with(str(error), WRONG_SETTINGS)
    for line in unknown():
        log.warning("setting_unknown", hint=line)
    prepare(settings)


def wait_for_store(settings: Settings) -> None:
    """Raises SchemaMissing, and StoreRefuses where waiting is of no use."""
    store = Store(settings.database_url.get_secret_value(), patience_s=PATIENCE_S)
    try:
        _until_it_answers("store_unavailable", lambda: schema.check(store))
    finally:
        store.close()


def require_deel_token(settings: Settings) -> None:
    """For who talks to Deel, once the store is there: without any token the process ends with a line."""
    if settings.deel_token is not None:
        return
    store = Store(settings.database_url.get_secret_value(), patience_s=PATIENCE_S)

    def ask() -> None:
        settings.require_deel_token(own_tokens=store.read(org_tokens.any_there))

    try:
        _until_it_answers("store_unavailable", ask)
    except SettingsError as error:
        exit_with(str(error), WRONG_SETTINGS)
    finally:
        store.close()


def wait_for_broker(settings: Settings) -> None:
    """Until everything is declared there. Raises BrokerRefuses."""
    if not settings.embedded:
        _until_it_answers("broker_unavailable", lambda: declare(settings))


@contextmanager
def ending_in_a_line() -> Iterator[None]:
    """Of Celery's processes: what nobody can wait for is said in one line, and the exit code is 1."""
    try:
        yield
    except SchemaMissing as missing:
        exit_with(f"{missing} Run `{schema.UPGRADE}` first.", 1)
    except BrokerRefuses as refusal:
        exit_with(str(refusal), 1)
    except StoreRefuses as refusal:
        exit_with(f"The store refuses us: {refusal}. Check ONBOARDING_DATABASE_URL.", 1)


def exit_with(line: str, code: int) -> NoReturn:
    """Say why on standard error, and end."""
    sys.stderr.write(line + "\n")
    sys.exit(code)


def _until_it_answers(what: str, ask: Callable[[], None]) -> None:
    pause_s = FIRST_PAUSE_S
    with signals_end_it():
        while True:
            try:
                ask()
            except (BrokerRefuses, StoreRefuses):
                raise
            except (StoreUnavailable, *BROKER_ERRORS) as away:
                told = str(away) if isinstance(away, StoreUnavailable) else reason_of(away)
                outages.say_once(what, error=told)
            else:
                outages.over(what)
                return
            time.sleep(pause_s)
            pause_s = min(LONGEST_PAUSE_S, pause_s * 2)


@contextmanager
def signals_end_it() -> Iterator[None]:
    """Nothing is in hand yet: SIGTERM and Ctrl-C end the process at once, and it is done."""

    def leave(*_: object) -> NoReturn:
        sys.exit(0)

    before = {each: signal.signal(each, leave) for each in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
