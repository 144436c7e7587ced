"""Errors of the layers below, as an engineer is told of them: no stack trace, no SQL, no value."""

from __future__ import annotations

import errno
from typing import Final

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from onboarding.cli.refusal import WRONG_USAGE, Refusal, unknown
from onboarding.cli.shell import BrokerUnavailable
from onboarding.masking import mask
from onboarding.no_token import ConsentMissing, NotNow, NoToken, OrganisationPaused, Parked, UnknownContract
from onboarding.settings import SettingsError
from onboarding.store.engine import StoreUnavailable
from onboarding.vault import VaultError

_DOCTOR = ("onboarding doctor",)
# Source: PostgreSQL's table of SQLSTATEs: undefined_table, undefined_column, undefined_schema.
_NO_SUCH = ("42P01", "42703", "3F000")
_SAID: Final = {
    "28P01": "wrong password (28P01)",
    "28000": "this user may not connect (28000)",
    "3D000": "no such database (3D000)",
    "53100": "its disk is full (53100)",
    "53300": "too many connections (53300)",
    "57014": "a statement took too long (57014)",
    "57P03": "it is starting up (57P03)",
    "25006": "it is read-only (25006)",
}
_LONGEST: Final = 300
"""Characters of a driver's words."""


def refusal_for(error: Exception) -> Refusal | None:
    """What to say instead of a stack trace; None: nobody foresaw it, and it is a defect."""
    match error:
        case SettingsError():
            lines = str(error).splitlines()
            return Refusal("the settings are not right", *lines, then=_DOCTOR, code=WRONG_USAGE)
        case StoreUnavailable():
            return _store_away(error.__context__, str(error))
        case BrokerUnavailable():
            told = _first_line(error.__context__) or str(error)
            why = (f"It said: {told}. Nothing was published.", "Check ONBOARDING_BROKER_URL and the broker itself.")
            return Refusal("the broker does not answer", *why, then=_DOCTOR)
        case NoToken():
            return _no_token(error)
        case VaultError():
            return Refusal("the vault does not open", str(error), then=_DOCTOR)
        case UnicodeEncodeError():  # the shell passes any bytes; no database takes them, so they name nothing
            return Refusal("nothing was done", "An argument is no UTF-8.", then=("onboarding runs",), code=WRONG_USAGE)
        case DBAPIError():
            return _of_database(error)
        case OSError() if not isinstance(error, ConnectionError | TimeoutError):
            return _of_system(error)
        case _:
            return None


def _no_token(none: NoToken) -> Refusal:
    contract = none.contract_id
    show = f"onboarding show {contract}"
    then: tuple[str, ...]
    match none:
        case UnknownContract():
            return unknown(contract)
        case ConsentMissing():
            then = (f'onboarding consent {contract} --evidence "..." --version "..."',)
        case Parked():
            then = (show, f"onboarding replay {contract}")
        case OrganisationPaused() | NotNow():
            then = ("onboarding stats", *_DOCTOR)
        case _:
            then = (show,)
    return Refusal(f"no token for contract {contract}", none.why, *filter(None, (none.advice,)), then=then)


def _store_away(cause: BaseException | None, told: str) -> Refusal:
    """`cause`: the driver's error, which says what is wrong; `told`: where there is none."""
    original = getattr(cause, "orig", None)
    state = str(getattr(original, "sqlstate", None) or "")
    # without a state it never reached the server, and so quotes no parameter; SQLite's own words never do
    words = _SAID.get(state) or (f"SQLSTATE {state}" if state else _first_line(original)) or told
    why = (
        f"It cannot be reached, or cannot write now: {words}.",
        "Check ONBOARDING_DATABASE_URL and the store itself.",
    )
    return Refusal("the store does not answer", *why, then=_DOCTOR)


def _first_line(error: BaseException | None) -> str:
    """A driver's own words, masked."""
    lines = [line for line in str(error or "").splitlines() if line.strip()]
    return str(mask(lines[0].strip().rstrip(".")))[:_LONGEST] if lines else ""


def _of_system(error: OSError) -> Refusal | None:
    words = error.strerror or type(error).__name__
    if error.filename is not None:
        return Refusal(f"{error.filename}: {words}", "This user may not use it, or it is not there.", then=_DOCTOR)
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO):
        return Refusal(f"the answer could not be written: {words}")
    return None


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
        return _store_away(error, type(error).__name__)
    return Refusal("the store refused", text or f"{type(error).__name__} {state}".strip(), then=_DOCTOR)
