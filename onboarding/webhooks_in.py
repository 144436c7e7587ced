"""What the gateway puts on the queue for a webhook whose signature is right. Pure: it decides, and sends nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from onboarding import strict_json
from onboarding.deel_events import CONTRACT_CREATED
from onboarding.events import Dead, Message, Why, read, type_named
from onboarding.signatures import DEEL
from onboarding.webhook_sources import Reading, WebhookSource

CONTENT_TYPE: Final = "application/json"
UNREADABLE: Final = "unreadable"
"""The routing key of a body that names no type: intake makes a dead letter of it, where an engineer finds it."""
MAX_CONTRACTS: Final = 100
"""Of one webhook: each is a message."""


@dataclass(frozen=True)
class Nothing:
    """There is nothing for the queue: an HRIS tells of much that is not ours."""

    why: Why


class TooMany(ValueError):  # noqa: N818 - says what the webhook has
    """More than MAX_CONTRACTS contracts in one webhook."""


def to_queue(source: WebhookSource, body: bytes, headers: Mapping[str, bytes]) -> list[Message] | Nothing:
    """The messages that a verified webhook becomes. `headers`: their names in lower case.

    A body that goes on as it is does so whatever it holds: intake says what is wrong with it, in a dead letter, and a
    sender that is refused for it would only send it again, and be disabled for it. Raises TooMany.
    """
    if source.reading is None:
        passed_on = (DEEL.header, DEEL.label_header) if source.scheme is DEEL else ()
        kept = {name: headers[name].decode() for name in passed_on if name and headers.get(name)}
        return [Message(body, kept, type_named(body) or UNREADABLE, CONTENT_TYPE)]
    return _in_plain_form(source.reading, body, source.organization_id)


def _in_plain_form(reading: Reading, body: bytes, organization_id: str | None) -> list[Message] | Nothing:
    """Only what starts an onboarding: what else an HRIS says of people is none of our business, and is not kept."""
    try:
        document = strict_json.parse(body)
    except ValueError:
        return Nothing(Why.NOT_JSON)
    messages: dict[bytes, Message] = {}
    why = Why.NO_CONTRACT_ID
    for kind, contract_id in reading.contracts(document):
        if kind not in reading.starting:
            why = Why.TYPE_NOT_USED
            continue
        made = _plain(contract_id, organization_id)
        match read(made, {}):
            case [Dead(why=reason)]:
                why = reason
            case _:
                messages[made.body] = made
        if len(messages) > MAX_CONTRACTS:
            raise TooMany
    return list(messages.values()) or Nothing(why)


def _plain(contract_id: object, organization_id: str | None) -> Message:
    form = {"type": CONTRACT_CREATED, "contract_id": contract_id, "organization_id": organization_id}
    body = json.dumps({name: value for name, value in form.items() if value is not None}).encode()
    return Message(body, {}, CONTRACT_CREATED, CONTENT_TYPE)
