"""Deel's API as typed calls and typed failures.

Every call answers with a typed value or raises one of three failures; nothing else leaves the client:

    DeelFailure              reason, status, request_id (Deel's)
    ├── TryLater             the run waits: 429, 5xx, 408, 425, no reply, a 2xx that cannot be read, whatever a
    │                        gateway says in Deel's place, and the 404 of what may only not be visible yet
    ├── ParkRun              an engineer decides: Deel's own 400, 403 about one run, every other 4xx
    └── PauseOrganisation    every run of it waits: 401 on the organisation's token, 403 that names a scope

No failure and no repr holds a token, an e-mail address, a URL or a body.
"""

from onboarding.deel.answers import (
    Contract,
    ContractPage,
    Identity,
    PeoplePage,
    Person,
    Profile,
    Receipt,
    Session,
    TokenRejected,
)
from onboarding.deel.client import Deel, hold_if_refused
from onboarding.deel.failures import DeelFailure, ParkRun, PauseOrganisation, TryLater
from onboarding.deel.given import Budget, SessionField, SessionFieldInMemory
from onboarding.deel.keys import session_key, worker_key

__all__ = [
    "Budget",
    "Contract",
    "ContractPage",
    "Deel",
    "DeelFailure",
    "Identity",
    "ParkRun",
    "PauseOrganisation",
    "PeoplePage",
    "Person",
    "Profile",
    "Receipt",
    "Session",
    "SessionField",
    "SessionFieldInMemory",
    "TokenRejected",
    "TryLater",
    "hold_if_refused",
    "session_key",
    "worker_key",
]
