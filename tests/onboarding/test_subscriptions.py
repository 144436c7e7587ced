"""Subscriptions at Deel: made once, mended where they differ, looked at now and then."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from onboarding import subscriptions
from onboarding.deel import Deel
from onboarding.deel_events import SUBSCRIBED
from onboarding.deel_wanted import Trouble, Wanted
from onboarding.store import organizations, webhooks
from onboarding.subscriptions import settle, trouble_with
from tests.onboarding.worlds import Driver
from tests.openapi import validate_request

WANTED = Wanted("onboarding", "https://hooks.example.com/webhooks/deel", SUBSCRIBED)
KEY = SecretStr("canary-signing-key-1")


@pytest.fixture
def deel(onboard: Driver) -> Deel:
    return onboard.world.clients.of("any")


def test_one_that_is_there_is_not_doubled(onboard: Driver, deel: Deel):
    """The second time it is found; two calls the first time, one the second."""
    made = settle(deel, WANTED, KEY)
    assert (made.did, made.subscription.enabled, made.subscription.events) == ("made", True, SUBSCRIBED)
    assert settle(deel, WANTED, KEY).did == "kept"
    assert [call.route for call in onboard.deel.ledger] == ["GET /webhooks", "POST /webhooks", "GET /webhooks"]
    assert "canary" not in repr(made)


@pytest.mark.parametrize(
    ("how", "trouble"),
    [
        ({"status": "disabled"}, Trouble.DISABLED),
        ({"events": ["contract.created"]}, Trouble.EVENTS_DIFFER),
        ({"signing_key": "another"}, Trouble.KEY_DIFFERS),
    ],
)
def test_what_differs_is_seen_and_mended(onboard: Driver, deel: Deel, how: dict[str, Any], trouble: Trouble):
    """In place: its id stays."""
    made = settle(deel, WANTED, KEY).subscription
    for name, value in how.items():
        setattr(onboard.deel.subscriptions[0], name, value)
    assert trouble_with(deel.subscriptions(), WANTED, KEY) is trouble
    mended = settle(deel, WANTED, KEY)
    assert (mended.did, mended.subscription.id) == ("changed", made.id)
    assert trouble_with(deel.subscriptions(), WANTED, KEY) is None


def test_what_is_asked_is_documented():
    """Deel's file has every field of it, in POST and in PATCH."""
    validate_request("POST", "/webhooks", WANTED.document(KEY))
    validate_request("PATCH", "/webhooks/{id}", WANTED.document(KEY))


def test_one_that_is_gone_is_deleted_as_well(deel: Deel):
    """Who types it twice gets the same answer."""
    made = settle(deel, WANTED, KEY).subscription
    deel.unsubscribe(made.id)
    deel.unsubscribe(made.id)
    assert deel.subscriptions() == ()


def test_another_url_is_another_subscription(onboard: Driver, deel: Deel):
    """Deel's guide says that it cannot be changed."""
    assert trouble_with((), WANTED) is Trouble.MISSING
    settle(deel, WANTED, KEY)
    moved = replace(WANTED, url="https://new.example.com/webhooks/deel")
    assert trouble_with(deel.subscriptions(), moved) is Trouble.URL_DIFFERS
    assert settle(deel, moved, KEY).did == "made"
    assert len(onboard.deel.subscriptions) == 2


def test_two_of_one_kind_are_told(onboard: Driver, deel: Deel):
    """As two commands at one moment may make them: harmless."""
    deel.subscribe(WANTED, KEY)
    deel.subscribe(WANTED, KEY)
    assert trouble_with(deel.subscriptions(), WANTED, KEY) is Trouble.DOUBLED
    settled = settle(deel, WANTED, KEY)
    assert (settled.did, settled.trouble) == ("kept", Trouble.DOUBLED)


def expect(onboard: Driver, deel: Deel, label: str = "onboarding") -> None:
    wanted = replace(WANTED, label=label)
    made = settle(deel, wanted, KEY).subscription
    organization = onboard.deel.organization_id
    onboard.store.write(lambda db: webhooks.expect(db, organization, wanted, made.id))


def look(onboard: Driver) -> tuple[int, list[str]]:
    with capture_logs() as logs:
        troubles = subscriptions.look(onboard.world, 0.0)
    return troubles, [line["event"] for line in logs]


def test_a_disabled_one_is_told_once(onboard: Driver, deel: Deel):
    """One call for all of an organisation's, one warning for each trouble, and a line when it is over."""
    expect(onboard, deel)
    expect(onboard, deel, "second")
    before = onboard.deel.ledger.count()
    assert look(onboard) == (0, [])
    assert onboard.deel.ledger.count() - before == 1
    onboard.deel.subscriptions[0].status = "disabled"
    assert look(onboard) == (1, ["webhook_subscription_wrong"])
    assert look(onboard) == (1, [])
    row, _ = onboard.store.read(webhooks.expected)
    assert (row.trouble, row.looked_at is not None) == (Trouble.DISABLED, True)
    onboard.deel.subscriptions[0].status = "enabled"
    assert look(onboard) == (0, ["webhook_subscription_right_again"])


def test_it_is_looked_at_no_more_often_than_that(onboard: Driver, deel: Deel):
    """Two beats make one call."""
    expect(onboard, deel)
    before = onboard.deel.ledger.count()
    subscriptions.look(onboard.world, 900.0)
    subscriptions.look(onboard.world, 900.0)
    assert onboard.deel.ledger.count() - before == 1


def test_nothing_is_asked_where_nothing_is_expected_or_the_organisation_is_paused(onboard: Driver, deel: Deel):
    """Its token is refused, or an engineer wants silence."""
    assert look(onboard) == (0, [])
    expect(onboard, deel)
    before = onboard.deel.ledger.count()
    onboard.store.write(lambda db: organizations.hold(db, onboard.deel.organization_id))
    assert look(onboard) == (0, [])
    assert onboard.deel.ledger.count() == before


def test_a_deel_that_is_away_is_no_trouble_of_the_subscription(onboard: Driver, deel: Deel):
    """What was known stays known."""
    expect(onboard, deel)
    onboard.deel.fails("GET /webhooks", status=500)
    assert look(onboard) == (0, ["webhooks_not_looked_at"])
    assert onboard.store.read(webhooks.expected)[0].trouble is None
