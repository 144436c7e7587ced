"""The Idempotency-Keys: at most 64 characters, as Deel asks. Source: Deel's API, idempotency page."""

from __future__ import annotations

import json
from typing import Final
from uuid import UUID, uuid5

from onboarding.deel.given import SESSION_FIELDS

KEYS: Final = UUID("6f1f6a35-7a0e-5c0c-9a7f-0d5b6c1f2e84")  # never to change: a new one would double tokens


def worker_key(organization_id: str, contract_id: str) -> str:
    """Of the worker of a contract: the same for ever."""
    return str(uuid5(KEYS, json.dumps(["worker", organization_id, contract_id])))


def session_key(run_id: str, issue_number: int, profile: str) -> str:
    """Of one issue of a token: a try again gets the same token, the next issue a new one.

    A run that learnt another profile counts its issues anew: its key must not bring back the first one's token.
    """
    return str(uuid5(KEYS, json.dumps(["session", run_id, issue_number, profile])))


def field_key(key: str, field: str) -> str:
    """The key under which an issue travels with this field: one key never travels with two bodies.

    What Deel does then is not documented, and a refusal of the first field while the second's lost 2xx lies
    cached under the same key would park a healthy run.
    """
    return key if field == SESSION_FIELDS[0] else str(uuid5(KEYS, f"{key} {field}"))
