"""Webhook subscriptions at Deel: made as they should be, and looked at now and then, as Deel disables them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import structlog

from onboarding.deel import Deel, DeelFailure, Subscription
from onboarding.deel_wanted import Trouble, Wanted
from onboarding.dialling import time_left, within
from onboarding.failpoints import call
from onboarding.store import organizations, upkeep, webhooks
from onboarding.vault import VaultError

if TYPE_CHECKING:
    from pydantic import SecretStr

    from onboarding.world import World

log = structlog.get_logger(__name__)

ROUND_S: Final = 20.0


@dataclass(frozen=True)
class Settled:
    """A subscription that is as it should be. `did`: made, changed or kept."""

    subscription: Subscription
    did: str
    trouble: Trouble | None = None  # what is left, and harmless


def settle(deel: Deel, wanted: Wanted, signing_key: SecretStr) -> Settled:
    """See to it that Deel has the subscription, enabled: one that is there is changed where it differs.

    Only its URL makes another one of it: Deel's guide says that it cannot be changed. Raises DeelFailure.
    """
    there = [each for each in deel.subscriptions() if each.label == wanted.label and each.url == wanted.url]
    if not there:
        return Settled(deel.subscribe(wanted, signing_key), "made")
    best = min(there, key=lambda each: _difference(each, wanted, signing_key) is not None)
    doubled = Trouble.DOUBLED if sum(each.enabled for each in there) > 1 else None
    if _difference(best, wanted, signing_key) is None:
        return Settled(best, "kept", doubled)
    return Settled(deel.change_subscription(best.id, wanted, signing_key), "changed", doubled)


def trouble_with(found: Sequence[Subscription], wanted: Wanted, signing_key: SecretStr | None = None) -> Trouble | None:
    """What is wrong with the subscription of this label, the worst of it. `signing_key`: None where we have none."""
    named = [each for each in found if each.label == wanted.label]
    ours = [each for each in named if each.url == wanted.url]
    if not ours:
        return Trouble.URL_DIFFERS if named else Trouble.MISSING
    wrong = [_difference(each, wanted, signing_key) for each in ours]
    if None not in wrong:
        return wrong[0]
    return Trouble.DOUBLED if sum(each.enabled for each in ours) > 1 else None


def look(world: World, every_s: float) -> int:
    """Ask Deel after each subscription that ought to be there, one call for each organisation; returns the troubles.

    A trouble is told once, when a look finds it first.
    """
    expected: dict[str, list[Any]] = {}
    for row in world.store.read(webhooks.expected):
        expected.setdefault(row.organization_id, []).append(row)
    if not expected or not world.store.write(lambda db: upkeep.my_turn(db, "webhooks", every_s)):
        return 0
    troubles = 0
    with within(ROUND_S):
        for organization_id, rows in sorted(expected.items(), key=lambda each: str(each[1][0].looked_at or "")):
            if time_left() <= 0:
                break
            if world.store.read(lambda db, of=organization_id: organizations.paused_reason(db, of)) is None:  # type: ignore[misc]
                troubles += _look(world, organization_id, rows)
    return troubles


def _look(world: World, organization_id: str, rows: Sequence[Any]) -> int:
    try:
        found = call("webhooks", lambda: world.clients.of(organization_id).subscriptions())
    except (DeelFailure, VaultError) as failure:  # nothing was learnt; the runs tell of a token that is refused
        log.info("webhooks_not_looked_at", organization_id=organization_id, error=str(failure))
        return 0
    troubles = 0
    for row in rows:
        trouble = trouble_with(found, webhooks.wanted_of(row))
        troubles += trouble is not None
        told_first = world.store.write(lambda db, row=row, trouble=trouble: webhooks.saw(db, row, trouble))  # type: ignore[misc]
        if told_first and trouble is not None:
            log.warning(
                "webhook_subscription_wrong",
                organization_id=organization_id,
                label=row.label,
                trouble=trouble,
                advice=trouble.advice,
            )
        elif told_first:
            log.info("webhook_subscription_right_again", organization_id=organization_id, label=row.label)
    return troubles


def _difference(found: Subscription, wanted: Wanted, signing_key: SecretStr | None) -> Trouble | None:
    if not found.enabled:
        return Trouble.DISABLED
    if set(found.events) != set(wanted.events):
        return Trouble.EVENTS_DIFFER
    theirs = found.signing_key
    if signing_key is not None and theirs is not None and theirs.get_secret_value() != signing_key.get_secret_value():
        return Trouble.KEY_DIFFERS
    return None
