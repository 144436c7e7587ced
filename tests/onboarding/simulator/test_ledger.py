"""The ledger: what it keeps of each call, and the second that it finds worst."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from onboarding.simulator import Call, Ledger


def call(at, *, organization="org", counted=True, refused=False):
    return Call(
        at_monotonic=at,
        at=datetime.now(UTC),
        method="GET",
        route="GET /people/me",
        path="/rest/v2/people/me",
        status=200,
        organization_id=organization,
        contract_id=None,
        profile_id=None,
        idempotency_key=None,
        token_kind="org",
        counted=counted,
        refused=refused,
        replayed=False,
        fault=None,
        request_id="r",
    )


def ledger_of(*calls):
    ledger = Ledger()
    for one in calls:
        ledger.record(one)
    return ledger


def test_each_call_is_kept_with_what_it_was_about(deel, ask, worker, issue):
    """Route, contract, profile and kind of token; never the token itself."""
    profile = worker("c-1")
    token = issue(profile, key="k")
    ask("GET /people/me", token=token)
    ask("GET /nix")
    ask("GET /people", token="nix")
    issued, me, lost, stranger = deel.ledger
    assert (issued.method, issued.route, issued.path) == (
        "POST",
        "POST /workers/session",
        "/rest/v2/workers/session",
    )
    assert (issued.status, issued.contract_id, issued.profile_id) == (201, "c-1", profile)
    assert (issued.token_kind, issued.idempotency_key, issued.organization_id) == (
        "org",
        "k",
        deel.organization_id,
    )
    assert (me.token_kind, me.contract_id, me.status) == ("worker", "c-1", 200)
    assert (lost.route, lost.status, lost.contract_id) == ("", 404, None)
    assert (stranger.token_kind, stranger.organization_id, stranger.counted) == ("none", None, False)
    assert token not in str(list(deel.ledger))


def test_a_profile_shows_in_the_call_that_made_it(deel, ask):
    """POST /eor/worker is kept with the contract asked for and the profile that came of it."""
    deel.has_contract("c-1")
    ask("POST /eor/worker", {"contract_id": "c-1"})
    (made,) = deel.ledger
    assert (made.contract_id, made.profile_id) == ("c-1", deel.profiles_of("c-1")[0])


def test_calls_are_found_by_route_and_contract(deel, ask):
    """calls and count narrow by route, by contract, by both."""
    for contract in ("c-1", "c-1", "c-2"):
        ask(f"GET /contracts/{contract}")
    ask("GET /contracts")
    assert deel.ledger.count() == len(deel.ledger) == 4
    assert deel.ledger.count("GET /contracts/{contract_id}") == 3
    assert deel.ledger.count(contract="c-1") == 2
    assert deel.ledger.count("GET /contracts", "c-1") == 0
    assert [one.contract_id for one in deel.ledger.calls("GET /contracts/{contract_id}")] == ["c-1", "c-1", "c-2"]


def test_calls_stand_in_the_order_of_arrival():
    """A slow call that arrived first stands first, although it was answered last."""
    assert [one.at_monotonic for one in ledger_of(call(2.0), call(1.0))] == [1.0, 2.0]


def test_the_worst_second_counts_what_the_limiter_counts():
    """Refused calls and other organisations do not add up; a second later is another second."""
    mine = [call(0.0), call(0.5), call(0.99), call(1.0), call(0.7, counted=False, refused=True)]
    ledger = ledger_of(*mine, call(0.6, organization="another"))
    assert ledger.worst_second() == 3
    assert ledger.refused() == 1
    assert Ledger().worst_second() == 0


@given(st.lists(st.floats(0, 5), max_size=40))
def test_the_worst_second_is_the_worst_of_all(times):
    """As many as any window of one second that ends with a call holds."""
    worst = max((sum(end - 1.0 < at <= end for at in times) for end in times), default=0)
    assert ledger_of(*map(call, times)).worst_second() == worst
