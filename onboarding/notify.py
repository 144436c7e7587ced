"""Notifications: one message per target, the same id at every try, never the token.

A target is a webhook, signed as Standard Webhooks says, or the outgoing exchange `onboarding.events`.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from http import HTTPStatus
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from pydantic import SecretStr
from standardwebhooks import Webhook

from onboarding.transport import Http, NoReply, TargetRefused, post_to_target

COMPLETED: Final = "onboarding.completed"
FAILED: Final = "onboarding.failed"
_IDS: Final = uuid.UUID("8c1f4a1e-6a53-4d0a-9b51-6d2f7c0a5e10")
MAX_TRIES: Final = 12  # of onboarding.failed at one target


class Verdict(Enum):
    """What a target made of a message."""

    DELIVERED = "delivered"
    REFUSED = "refused"  # it never will: 4xx
    LATER = "later"


@dataclass(frozen=True)
class Answer:
    """A verdict, and the HTTP status if there was one."""

    verdict: Verdict
    http_status: int | None = None
    why: str = field(default="", compare=False)  # where there is no status; names no path of a target


@dataclass(frozen=True)
class Notification:
    """One message. `at` is when it was first prepared: the body is the same at every try."""

    id: str
    type: str
    at: datetime
    data: Mapping[str, str | None]

    def body(self) -> str:
        """The JSON that is signed and sent."""
        at = self.at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return json.dumps({"type": self.type, "timestamp": at, "data": dict(self.data)}, separators=(",", ":"))


class PublishFailed(Exception):  # noqa: N818 - a state of the world, named as it is
    """The broker did not confirm a message."""


Publish = Callable[[Notification], None]
"""Puts a notification on the outgoing exchange. Raises PublishFailed."""


class Target(Protocol):
    """Where notifications go. `name` names it in the store and in logs, without telling a secret."""

    name: str

    def send(self, notification: Notification) -> Answer:
        """Try once."""


class WebhookTarget:
    """A URL that gets signed notifications."""

    def __init__(self, http: Http, url: SecretStr, secret: SecretStr, *, allow_private: bool) -> None:
        self._http, self._url, self._allow_private = http, url, allow_private
        self._signer = Webhook(secret.get_secret_value())
        digest = hashlib.sha256(url.get_secret_value().encode()).hexdigest()[:8]
        self.name = f"{urlsplit(url.get_secret_value()).hostname} {digest}"

    def send(self, notification: Notification) -> Answer:
        """2xx is delivered; 4xx is refused, but for 408, 425 and 429; the rest may be tried again."""
        body = notification.body()
        # the time of this try, in UTC: the library signs a wrong time for any other zone, and receivers
        # refuse signatures that are minutes old
        now = datetime.now(UTC)
        headers = {
            "content-type": "application/json",
            "webhook-id": notification.id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": self._signer.sign(notification.id, now, body),
        }
        try:
            reply = post_to_target(
                self._http,
                self._url.get_secret_value(),
                headers=headers,
                content=body.encode(),
                allow_private=self._allow_private,
            )
        except TargetRefused as refused:
            return Answer(Verdict.REFUSED, why=str(refused))
        except NoReply as failure:
            return Answer(Verdict.LATER, why=str(failure))
        return Answer(_verdict(reply.status), reply.status)


class ExchangeTarget:
    """The outgoing topic exchange: always a target."""

    name = "onboarding.events"

    def __init__(self, publish: Publish) -> None:
        self._publish = publish

    def send(self, notification: Notification) -> Answer:
        """Delivered means confirmed by the broker."""
        try:
            self._publish(notification)
        except PublishFailed:
            return Answer(Verdict.LATER, why="the broker did not confirm it")
        return Answer(Verdict.DELIVERED)


def message_id(run_id: str, kind: str, number: int = 0) -> str:
    """The id of a run's message: the same at every try; a parking has one of its own."""
    return f"msg_{uuid.uuid5(_IDS, f'{run_id}/{kind}/{number}').hex}"


def completed(run: Any, at: datetime) -> Notification:
    """`onboarding.completed` of a run's row."""
    return Notification(message_id(run.id, COMPLETED), COMPLETED, at, _data(run))


def failed(run: Any, at: datetime) -> Notification:
    """`onboarding.failed` of a parked run's row."""
    data = {**_data(run), "reason": str(run.reason), "step": str(run.step)}
    return Notification(message_id(run.id, FAILED, run.parkings), FAILED, at, data)


def _data(run: Any) -> dict[str, str | None]:
    expires = run.token_expires_at
    return {
        "run_id": run.id,
        "organization_id": run.organization_id,
        "contract_id": run.contract_id,
        "hris_profile_id": run.hris_profile_id,
        "token_expires_at": expires.isoformat(timespec="seconds").replace("+00:00", "Z") if expires else None,
    }


def _verdict(status: int) -> Verdict:
    again = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS)
    match status // 100:
        case 2:
            return Verdict.DELIVERED
        case 4 if status not in again:
            return Verdict.REFUSED
        case _:  # also a redirect: it is not followed, and the target may be mended
            return Verdict.LATER
