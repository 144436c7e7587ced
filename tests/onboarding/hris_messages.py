"""HRIS messages to read: real ones, and some of them changed."""

from __future__ import annotations

import copy
import json
from dataclasses import replace

from pydantic import SecretStr

from onboarding import signatures
from onboarding.events import Message, read

KEYS = {"New Webhook": SecretStr("whsec_test"), "Old Webhook": SecretStr("whsec_old")}
ORGANIZATION = "0d1c7f0a-52f0-4a43-8f7e-7b1f6b5f2c01"
PROFILE = "5f4e1f77-0f1c-4f6d-8b0f-1b1b4b1b1b1b"
EMAIL = "ana@example.com"
STRUCTURED = "application/cloudevents+json"

# The vector of Deel's signature: key, body, signature.
VECTOR_BODY = (
    b'{"data":{"meta":{"event_type":"contract.created"},"resource":{"id":"abc1234"}},'
    b'"timestamp":"2026-01-05T09:00:00.000Z"}'
)
VECTOR_SIGNATURE = "fee307e06d6f0afd76c588d8a4c60685be58a4430ee95e8f02a0507b97ddfdf6"

WEBHOOK = {
    "data": {
        "meta": {
            "event_type": "contract.created",
            "event_type_id": "6b0c0d53-3f2f-4f0e-9d6a-1a6f0c9d2b11",
            "organization_id": ORGANIZATION,
            "organization_name": "Acme Embedded",
            "tracking_id": "5f1d2c3b4a59687766554433221100ff",
        },
        "resource": {
            "id": "abc12de",
            "title": "Backend Engineer",
            "type": "eor",
            "status": "under_review",
            "is_archived": False,
            "notice_period": 0,
            "termination_date": "",
            "client": {"legal_entity": {"name": "", "type": "company", "email": ""}},
            "employment_details": {"type": "eor", "days_per_week": 0},
            "invitations": {"client_email": "", "worker_email": ""},
            "worker": {"expected_email": EMAIL, "first_name": "Ana", "last_name": "Silva"},
        },
    },
    "timestamp": "2026-01-05T09:00:02.114Z",
}
PLAIN = {"type": "contract.created", "contract_id": "c-1", "organization_id": "org-1", "id": "evt-1"}
CLOUD_EVENT = {
    "specversion": "1.0",
    "type": "contract.created",
    "source": "/hris",
    "id": "evt-1",
    "data": {"contract_id": "c-1", "organization_id": "org-1"},
}


def message(document, *, headers=None, **properties):
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return Message(body=body, headers=headers or {}, **properties)


def signed(document, *, key=b"whsec_test", label="New Webhook"):
    unsigned = message(document)
    signature = signatures.sign(unsigned.body, key).decode()
    return replace(unsigned, headers={"x-deel-signature": signature, "x-deel-hmac-label": label})


def only(document, **properties):
    """Read a message that has one answer."""
    (answer,) = read(document if isinstance(document, Message) else message(document, **properties), KEYS)
    return answer


def webhook(*, meta=None, resource=None, **top):
    """The real webhook, with some of it changed."""
    changed = copy.deepcopy(WEBHOOK) | top
    changed["data"]["meta"] |= meta or {}
    if isinstance(resource, dict):
        changed["data"]["resource"] |= resource
    elif resource is not None:
        changed["data"]["resource"] = resource
    return changed


def binary(attributes, body=b"", prefix="cloudEvents:", **properties):
    headers = {prefix + name: value for name, value in attributes.items()}
    return message(body, headers=headers, **properties)


ATTRIBUTES = {"specversion": "1.0", "type": "contract.created", "source": "/hris", "id": "evt-1"}


def key(document, **properties):
    return only(document, **properties).dedup_key
