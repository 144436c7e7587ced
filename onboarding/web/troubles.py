"""What the layers below raise, as a status and one word for the app."""

from __future__ import annotations

import math
from http import HTTPStatus
from typing import Final

from onboarding.no_token import (
    ConsentMissing,
    NotNow,
    NoToken,
    NotReady,
    OrganisationPaused,
    Parked,
    PingPong,
    UnknownContract,
)
from onboarding.no_token import (
    Refused as RefusedByDeel,
)
from onboarding.store.engine import StoreUnavailable
from onboarding.vault import VaultError
from onboarding.web.requests import Refused

TROUBLES: Final = (NoToken, StoreUnavailable, VaultError)
PAUSED_S: Final = 60
"""A pause takes an engineer, or Deel's mend: nobody need ask every second."""


def refusal_of(trouble: Exception) -> Refused:
    """With what it says for the log: none of them holds a token, an address or a body."""
    refused = _status_of(trouble)
    refused.why = str(trouble)
    return refused


def _status_of(trouble: Exception) -> Refused:
    """The most particular kind first."""
    match trouble:
        case UnknownContract():
            return Refused(HTTPStatus.NOT_FOUND, "unknown_contract")
        case ConsentMissing():
            return Refused(HTTPStatus.FORBIDDEN, "consent_missing")
        case NotReady():
            return Refused(HTTPStatus.CONFLICT, "not_ready")
        case PingPong():
            return Refused(HTTPStatus.CONFLICT, "token_superseded")
        case Parked():
            return Refused(HTTPStatus.CONFLICT, "parked")
        case OrganisationPaused():
            return _later("organisation_paused", PAUSED_S)
        case NotNow():
            return _later("not_now", trouble.after_s or 1.0)
        case RefusedByDeel() | NoToken():
            return Refused(HTTPStatus.BAD_GATEWAY, "deel_refuses")
        case VaultError():
            return Refused(HTTPStatus.INTERNAL_SERVER_ERROR, "vault_does_not_open")
        case _:
            return Refused(HTTPStatus.SERVICE_UNAVAILABLE, "store_unavailable")


def _later(reason: str, after_s: float) -> Refused:
    return Refused(HTTPStatus.SERVICE_UNAVAILABLE, reason, {"retry-after": str(max(1, math.ceil(after_s)))})
