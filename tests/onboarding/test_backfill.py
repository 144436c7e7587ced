"""Contracts whose webhook never came are found in Deel's list: a call for each page, none for each contract."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from onboarding import backfill
from onboarding.backfill import Page
from onboarding.deel import Contract, ContractPage, Receipt
from onboarding.runs import State
from onboarding.store import revocations
from onboarding.store.events import HOME, Filing
from tests.onboarding.store.rows import LINE, run_row, take_due
from tests.onboarding.worlds import Driver


def fill(onboard: Driver, since: datetime | None = None, deel: Any = None) -> list[Page]:
    world, organization = onboard.world, onboard.deel.organization_id
    filing = Filing(world.keyring, HOME, world.line)
    deel = deel or world.clients.of(organization)
    return list(backfill.pages(onboard.store, deel, filing, organization, since))


def routes(onboard: Driver) -> Counter[str]:
    return Counter(call.route for call in onboard.deel.ledger)


def test_a_page_is_one_call_and_its_facts_are_used(onboard: Driver):
    """150 contracts, two calls; each run then costs the three of a new one, none to look its contract up."""
    for number in range(150):
        onboard.deel.has_contract(f"c-{number}", email=f"c-{number}@example.com", invited=True)
    assert [(page.listed, page.made) for page in fill(onboard)] == [(99, 99), (51, 51)]
    assert routes(onboard) == {"GET /contracts": 2}
    assert onboard.carry("c-7") == State.COMPLETED
    assert routes(onboard) == {
        "GET /contracts": 2,
        "POST /eor/worker": 1,
        "POST /workers/session": 1,
        "GET /people/me": 1,
    }


def test_a_worker_whose_address_the_list_does_not_name_is_looked_up(onboard: Driver):
    """One call more, as nothing else proves whose token it is."""
    onboard.deel.has_contract("c-1", email="c-1@example.com")
    fill(onboard)
    assert onboard.carry("c-1") == State.COMPLETED
    assert routes(onboard)["GET /contracts/{contract_id}"] == 1
    assert onboard.deel.ledger.count() == 5


def test_a_contract_with_a_profile_costs_two(onboard: Driver):
    """The list names it."""
    onboard.deel.has_contract("c-1", email="c-1@example.com", with_profile=True)
    fill(onboard)
    assert onboard.carry("c-1") == State.COMPLETED
    assert routes(onboard) == {"GET /contracts": 1, "POST /workers/session": 1, "GET /people/me": 1}


def test_who_has_a_run_gets_no_other(onboard: Driver):
    """However often it is repeated; and nothing of a run is changed."""
    run_id = onboard.hire("c-1")
    onboard.deel.has_contract("c-2", email="c-2@example.com")
    assert [page.made for page in (*fill(onboard), *fill(onboard))] == [1, 0]
    assert run_row(onboard.store, run_id).behind is False


def test_they_stand_behind_the_living_until_their_event_comes(onboard: Driver):
    """Late, but it came: a new hire does not wait for thousands of old ones."""
    for number in range(LINE.behind + 3):
        onboard.deel.has_contract(f"c-{number}", email=f"c-{number}@example.com")
    fill(onboard)
    assert len(take_due(onboard.store, LINE)) == LINE.behind
    waiting = next(name for name in ("c-0", "c-5") if onboard.run(name).nudges == 0)
    webhook = onboard.deel.webhook("contract.created", waiting)
    onboard.plain(waiting)
    assert webhook
    assert [row.contract_id for row in take_due(onboard.store, LINE)] == [waiting]


def test_who_ended_or_is_too_old_is_passed_over(onboard: Driver):
    """A status that nobody knows is no end, and a contract without a date is not too old."""
    now = datetime.now(UTC)
    old = now - timedelta(days=30)
    told = {"ended": ("cancelled", now), "old": ("new", old), "odd": ("in_limbo", now), "undated": ("new", None)}
    page = ContractPage(
        tuple(Contract(name, "eor", status, None, (), at, Receipt(200, None)) for name, (status, at) in told.items()),
        next_cursor=None,
        skipped=1,
    )
    assert fill(onboard, now - timedelta(days=1), Listing(page)) == [Page(listed=5, passed_over=3, made=2)]
    with pytest.raises(AttributeError):
        onboard.run("old").id  # noqa: B018 - there is none


def test_an_ending_whose_webhook_never_came_is_found(onboard: Driver):
    """The run is cancelled, and the worker's token out of the vault, however old the contract is; once."""
    onboard.hire()
    onboard.carry()
    onboard.deel.ends("c-1")
    for _ in range(2):
        assert fill(onboard, since=datetime.now(UTC) + timedelta(days=1))[0].made == 0
    row = onboard.run()
    assert (row.state, row.reason) == (State.CANCELLED, "contract_terminated")
    assert onboard.vault_token() is None
    (wish,) = onboard.store.read(lambda db: revocations.of_contract(db, "c-1"))
    assert (wish.wish, wish.done_at) == (1, None)


@pytest.mark.parametrize("cursors", [[None], ["same", "same"], ["a", "b", "a"]])
def test_a_list_ends_whatever_the_last_cursor_is(onboard: Driver, cursors: list[str | None]):
    """Deel does not say how the last page looks: no cursor ends the loop, and so does one seen before."""
    pages = [ContractPage((), cursor, 0) for cursor in cursors]
    assert len(fill(onboard, deel=Listing(*pages))) == len(pages)


class Listing:
    """What Deel lists, page by page."""

    def __init__(self, *pages: ContractPage) -> None:
        self.pages = iter(pages)

    def contracts(self, **_: Any) -> ContractPage:
        return next(self.pages)
