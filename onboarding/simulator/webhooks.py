"""Deel's webhooks: the envelope, and the signature over it."""

from __future__ import annotations

import hashlib
import hmac
import json
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from onboarding.simulator.bodies import start_date
from onboarding.simulator.clock import stamp

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from onboarding.simulator.state import Contract
    from onboarding.simulator.visit import Json

VERSION: Final = "1.0.0"
STATUS_UPDATED: Final = "contract.status.updated"
WORKERS_OWN: Final = ("employee.created.eor", "worker.v2.created", "onboarding.status.updated")
_COMPENSATION: Final = (
    "currency_code scale frequency gross_annual_salary gross_signing_bonus gross_variable_bonus"
    " first_payment first_payment_date"
)
_EMPLOYMENT: Final = ("days_per_week", "hours_per_day", "paid_vacation_days", "probation_period")
_META: Final = ("event_type_id", "organization_id", "organization_name", "tracking_id")


@dataclass(frozen=True)
class Webhook:
    """One delivery: the raw body, and the headers that go with it."""

    body: bytes = field(repr=False)
    headers: dict[str, str] = field(repr=False)


def signature(signing_key: str, body: bytes) -> str:
    """Lower-case hex. Source: Deel's guide "Webhooks: get started" (HMAC-SHA256 of "POST" and the raw body)."""
    return hmac.new(signing_key.encode(), b"POST" + body, hashlib.sha256).hexdigest()


def sign(envelope: Json, label: str, signing_key: str) -> Webhook:
    body = json.dumps(envelope, separators=(",", ":")).encode()
    headers = {
        "content-type": "application/json",
        "x-deel-signature": signature(signing_key, body),
        "x-deel-hmac-label": label,
        "x-deel-webhook-version": VERSION,
    }
    return Webhook(body, headers)


def envelope(
    event_type: str,
    contract: Contract,
    now: datetime,
    overrides: Mapping[str, Any],
    *,
    is_simulation: bool,
    as_array: bool,
) -> Json:
    """`overrides` replace the envelope's `timestamp`, meta's fields where named so, else the resource's."""
    meta = {
        "event_type": event_type,
        "event_type_id": str(uuid.uuid4()),
        "organization_id": contract.organization.id,
        "organization_name": contract.organization.name,
        "tracking_id": uuid.uuid4().hex,
        **{name: value for name, value in overrides.items() if name in _META},
        **({"is_simulation": True} if is_simulation else {}),
    }
    others = {name: value for name, value in overrides.items() if name not in (*_META, "timestamp")}
    more = {"external_id": contract.external_id or "", "custom_fields": []}
    about = _worker_resource(event_type, contract) if event_type in WORKERS_OWN else _resource(contract)
    resource = {**about, **(more if event_type == STATUS_UPDATED else {}), **others}
    return {
        "data": {"meta": meta, "resource": [resource] if as_array else resource},
        "timestamp": overrides.get("timestamp", stamp(now)),
    }


def _resource(contract: Contract) -> Json:
    """Deel writes "" where it has nothing, and names no worker id before there is a profile."""
    return {
        "id": contract.id,
        "title": "Backend Engineer",
        "type": contract.type,
        "status": contract.status,
        "created_at": stamp(contract.created_at),
        "start_date": start_date(contract),
        "is_archived": False,
        "notice_period": 0,
        "special_clause": "",
        "termination_date": "",
        "client": {"legal_entity": _blank("name type subtype email registration_number vat_number")},
        "compensation_details": _blank(_COMPENSATION),
        "employment_details": {"type": contract.type, **dict.fromkeys(_EMPLOYMENT, 0)},
        "invitations": _blank("client_email worker_email"),
        "signatures": _blank("client_signature client_signed_at signed_at worker_signature worker_signed_at"),
        "worker": _worker(contract),
    }


def _worker_resource(event_type: str, contract: Contract) -> Json:
    """By profile, without a contract: all that is documented of `worker.v2.created`, more than is of the others."""
    profile = contract.profile
    about = {"id": profile.hris_profile_id if profile else "", "hiring_type": contract.type}
    changed = {"old_status": "invited", "status": "onboarding"} if event_type == WORKERS_OWN[2] else {}
    return {**about, **changed}


def _worker(contract: Contract) -> Json:
    names = {"first_name": contract.first_name, "last_name": contract.last_name}
    if contract.profile is None:
        return {"expected_email": contract.email, **names}
    return {"id": contract.profile.hris_profile_id, "email": contract.email, "full_name": contract.full_name, **names}


def _blank(names: str) -> Json:
    return dict.fromkeys(names.split(), "")
