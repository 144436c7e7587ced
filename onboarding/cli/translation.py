"""Errors of the layers below, as an engineer is told of them: no stack trace, no SQL, no value."""

from __future__ import annotations

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from onboarding.cli.refusal import WRONG_USAGE, Refusal
from onboarding.cli.shell import BrokerUnavailable
from onboarding.settings import SettingsError
from onboarding.store.engine import StoreUnavailable
from onboarding.vault import VaultError

_DOCTOR = ("onboarding doctor",)
# Source: PostgreSQL's table of SQLSTATEs: undefined_table, undefined_column, undefined_schema.
_NO_SUCH = ("42P01", "42703", "3F000")


def refusal_for(error: Exception) -> Refusal | None:
    """What to say instead of a stack trace; None: nobody foresaw it, and it is a defect."""
    match error:
        case SettingsError():
            lines = str(error).splitlines()
            return Refusal("the settings are not right", *lines, then=_DOCTOR, code=WRONG_USAGE)
        case StoreUnavailable():
            return _store_away(str(error))
        case BrokerUnavailable():
            return Refusal("the broker does not answer", f"Nothing was published ({error}).", then=_DOCTOR)
        case VaultError():
            return Refusal("the vault does not open", str(error), then=_DOCTOR)
        case UnicodeEncodeError():  # the shell passes any bytes; no database takes them, so they name nothing
            return Refusal("nothing was done", "An argument is no UTF-8.", then=("onboarding runs",), code=WRONG_USAGE)
        case DBAPIError():
            return _of_database(error)
        case _:
            return None


def _store_away(told: str) -> Refusal:
    return Refusal("the store does not answer", f"It cannot be reached, or cannot write now ({told}).", then=_DOCTOR)


def _of_database(error: DBAPIError) -> Refusal:
    state = str(getattr(error.orig, "sqlstate", None) or "")
    from_sqlite = type(error.orig).__module__.startswith("sqlite3")
    text = str(error.orig) if from_sqlite else ""  # PostgreSQL's own words can quote values
    if state in _NO_SUCH or text.startswith(("no such table", "no such column")):
        return Refusal(
            "the store lacks tables that this release needs",
            "Its schema was never made, or is of an older release.",
            then=("onboarding db upgrade",),
        )
    if not from_sqlite and not state and isinstance(error, OperationalError | InterfaceError):
        return _store_away(type(error).__name__)
    return Refusal("the store refused", text or f"{type(error).__name__} {state}".strip(), then=_DOCTOR)
