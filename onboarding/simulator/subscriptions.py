"""Webhook subscriptions: their routes, and what becomes of deliveries that nobody takes."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from onboarding.simulator.clock import stamp
from onboarding.simulator.state import Subscription
from onboarding.simulator.visit import Answer, Refused

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from onboarding.simulator.policy import Policy
    from onboarding.simulator.state import World
    from onboarding.simulator.visit import Json, Visit
    from onboarding.simulator.webhooks import Webhook

WANTED: Final = ("name", "description", "status", "url", "signing_key", "events")
STATUSES: Final = ("enabled", "disabled")
LADDER_S: Final = (60, 300, 900, 1800, 3600, 7200, 14_400, 28_800, 57_600)
"""Between the ten attempts of a delivery. Source: Deel's guide "Webhooks: get started"."""
MOST_FAILURES: Final = 10
EVENT_TYPES: Final = (
    "contract.created",
    "contract.status.updated",
    "contract.terminated",
    "employee.created.eor",
    "worker.v2.created",
    "onboarding.status.updated",
    "eor.quote.created",
)


def list_all(world: World, _policy: Policy, visit: Visit) -> Answer:
    """GET /webhooks."""
    mine = [each for each in world.subscriptions.values() if each.organization is visit.organization]
    return Answer(200, {"data": [_item(each) for each in mine]})


def get(world: World, _policy: Policy, visit: Visit) -> Answer:
    """GET /webhooks/{id}."""
    return Answer(200, {"data": _item(_own(world, visit))})


def create(world: World, _policy: Policy, visit: Visit) -> Answer:
    """POST /webhooks. The body is not wrapped in `data`."""
    given = _checked(visit.body, WANTED)
    now = world.clock.now()
    subscription = Subscription(
        id=str(uuid.uuid4()),
        organization=visit.organization,
        api_version=visit.body.get("api_version", "v2"),
        created_at=now,
        updated_at=now,
        **{name: given[name] for name in WANTED},
    )
    world.subscriptions[subscription.id] = subscription
    return Answer(201, {"data": _item(subscription)})


def update(world: World, _policy: Policy, visit: Visit) -> Answer:
    """PATCH /webhooks/{id}. Who enables it again begins to count failures anew."""
    subscription = _own(world, visit)
    given = _checked(visit.body, ())
    for name in WANTED:
        if name in given:
            setattr(subscription, name, given[name])
    subscription.updated_at = world.clock.now()
    if subscription.status == "enabled":
        subscription.failures = 0
    return Answer(200, {"data": _item(subscription)})


def delete(world: World, _policy: Policy, visit: Visit) -> Answer:
    """DELETE /webhooks/{id}."""
    del world.subscriptions[_own(world, visit).id]
    return Answer(200, {"data": {"deleted": True}})


def list_event_types(world: World, _policy: Policy, _visit: Visit) -> Answer:
    """GET /webhooks/events/types."""
    rows = [
        {
            "id": number,
            "module_name": name.partition(".")[0],
            "module_label": name.partition(".")[0].title(),
            "name": name,
            "description": f"Sent at {name}",
            "payload_example": json.dumps({"data": {"meta": {"event_type": name}, "resource": {}}}),
            "created_at": stamp(world.clock.now()),
            "updated_at": stamp(world.clock.now()),
        }
        for number, name in enumerate(EVENT_TYPES, start=1)
    ]
    return Answer(200, {"data": rows})


@dataclass
class Delivery:
    """A webhook on its way to one subscriber."""

    subscription: Subscription
    webhook: Webhook
    due_at: datetime
    tries: int = 0


class Deliveries:
    """What is on its way. `post` sends to a URL and says whether it was answered with a 2xx."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._waiting: list[Delivery] = []

    def add(self, event_type: str, organization_id: str, sign: Callable[[Subscription], Webhook]) -> None:
        """To each subscription of the organisation that is enabled now and wants the event; to others it is lost."""
        now = self._world.clock.now()
        for each in self._world.subscriptions.values():
            wanted = each.organization.id == organization_id and event_type in each.events
            if wanted and each.status == "enabled":
                self._waiting.append(Delivery(each, sign(each), now))

    def send_due(self, post: Callable[[str, Webhook], bool]) -> int:
        """Try those whose time has come; returns how many were taken. The tenth failure in a row disables."""
        now, taken = self._world.clock.now(), 0
        due = [each for each in self._waiting if each.due_at <= now]
        for each in due:
            self._waiting.remove(each)
            if each.subscription.status != "enabled" or each.subscription.id not in self._world.subscriptions:
                continue  # nothing is sent later for the time in which it was disabled
            if post(each.subscription.url, each.webhook):
                taken, each.subscription.failures = taken + 1, 0
                continue
            self._failed(each, now)
        return taken

    def _failed(self, delivery: Delivery, now: datetime) -> None:
        subscription = delivery.subscription
        subscription.failures += 1
        if subscription.failures >= MOST_FAILURES:
            subscription.status, subscription.updated_at = "disabled", now
        elif delivery.tries < len(LADDER_S):
            delivery.due_at = now + timedelta(seconds=LADDER_S[delivery.tries])
            delivery.tries += 1
            self._waiting.append(delivery)


def _own(world: World, visit: Visit) -> Subscription:
    found = world.subscriptions.get(visit.parameters["id"])
    if found is None or found.organization is not visit.organization:
        raise Refused(404, "Webhook not found")
    return found


def _checked(given: Json, needed: tuple[str, ...]) -> Json:
    for name in needed:
        if name not in given:
            raise Refused(400, f"must have required property '{name}'", f"/{name}")
    rules: dict[str, Callable[[Any], bool]] = {
        "status": lambda value: value in STATUSES,
        "url": lambda value: isinstance(value, str) and value.startswith("https://"),
        "events": lambda value: isinstance(value, list) and value != [] and all(name in EVENT_TYPES for name in value),
    }
    for name, holds in rules.items():
        if name in given and not holds(given[name]):
            raise Refused(400, f"{name} is not valid", f"/{name}")
    return given


def _item(subscription: Subscription) -> Json:
    """With its signing key in the clear, as Deel has it."""
    return {
        "id": subscription.id,
        **{name: getattr(subscription, name) for name in (*WANTED, "api_version")},
        "created_at": stamp(subscription.created_at),
        "updated_at": stamp(subscription.updated_at),
    }
