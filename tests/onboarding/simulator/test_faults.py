"""What goes wrong on demand, and what it leaves behind."""

from __future__ import annotations

import threading
import time

import httpx
import pytest

from onboarding.simulator import Simulator
from onboarding.simulator.faults import RANDOM_KINDS, Faults, Kind

CREATE = "POST /eor/worker"


@pytest.fixture
def create(deel, ask):
    def post(contract="c-1"):
        return ask(CREATE, {"contract_id": contract})

    deel.has_contract("c-1")
    deel.has_contract("c-2")
    return post


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500, 502, 503, 504])
def test_a_route_fails_so_many_times(deel, create, status):
    """fails: that status for the next calls, nothing done, then all is well."""
    deel.fails(CREATE, status=status, times=2)
    assert [create().status_code for _ in range(2)] == [status] * 2
    assert deel.profiles_of("c-1") == []
    assert create().status_code == 201
    assert [call.fault for call in deel.ledger.calls(CREATE)] == [str(status)] * 2 + [None]


def test_an_injected_429_is_the_limits_own(deel, create):
    """It has Deel's rate limit body and the switch's header, but was not refused by the limiter."""
    deel.policy.retry_after_s = 7
    deel.fails(CREATE, status=429)
    answer = create()
    assert answer.json()["error"] == "Rate limit exceeded"
    assert answer.headers["retry-after"] == "7"
    assert deel.ledger.refused() == 0


def test_a_gateway_answers_in_html(deel, create):
    """answers_html: a page in place of JSON, nothing done."""
    deel.answers_html(CREATE, status=503)
    answer = create()
    assert answer.status_code == 503
    assert answer.headers["content-type"].startswith("text/html")
    assert answer.text.startswith("<html>")
    assert deel.profiles_of("c-1") == []


def test_an_answer_may_end_half_way(deel, create):
    """truncates: done, but the JSON cannot be parsed."""
    deel.truncates(CREATE)
    answer = create()
    assert answer.status_code == 201
    with pytest.raises(ValueError):
        answer.json()
    assert len(deel.profiles_of("c-1")) == 1


@pytest.mark.parametrize(("when", "done"), [("before", 0), ("after", 1)])
def test_a_connection_is_cut(deel, create, when, done):
    """cuts_connection: no answer at all, with the work undone or done; status 0 in the ledger."""
    deel.cuts_connection(**{when: CREATE})
    with pytest.raises(httpx.RemoteProtocolError):
        create()
    assert len(deel.profiles_of("c-1")) == done
    (call,) = deel.ledger.calls(CREATE)
    assert (call.status, call.fault) == (0, f"cut_{when}")
    assert create().status_code == 201


@pytest.mark.parametrize("both", [{}, {"before": CREATE, "after": CREATE}])
def test_a_cut_is_before_or_after(deel, both):
    """One of them: anything else is a mistake in the test, and says so."""
    with pytest.raises(ValueError, match="before or after"):
        deel.cuts_connection(**both)


def test_a_slow_call_holds_nobody_up(deel, ask, create):
    """is_slow: that call waits outside of the lock; others are answered meanwhile."""
    deel.is_slow(CREATE, 0.4, contract="c-1")
    late = threading.Thread(target=create)
    began = time.monotonic()
    late.start()
    while not deel._faults._calls[CREATE, "c-1"]:
        time.sleep(0.001)
    assert create("c-2").status_code == 201
    assert deel.profiles_of("c-1") == []
    assert late.is_alive()
    late.join()
    assert time.monotonic() - began >= 0.4
    assert len(deel.profiles_of("c-1")) == 1


def test_work_is_done_even_for_who_has_left(deel, create):
    """A caller that gave up on a slow call finds it done later."""
    deel.is_slow(CREATE, 0.2)
    headers = {"Authorization": f"Bearer {deel.org_token}"}
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{deel.url}/eor/worker", json={"data": {"contract_id": "c-1"}}, headers=headers, timeout=0.05)
    assert deel.profiles_of("c-1") == []
    deadline = time.monotonic() + 2
    while not deel.profiles_of("c-1") and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(deel.profiles_of("c-1")) == 1


def test_a_fault_may_be_meant_for_one_contract(deel, ask, worker, issue):
    """contract=: only calls about it fail, by contract id, by profile, by path or by worker token."""
    routes = [
        CREATE,
        "GET /contracts/{contract_id}",
        "GET /people/{hris_profile_id}",
        "GET /people/me",
        "POST /workers/session",
        "DELETE /workers/{worker_id}/session",
    ]
    for route in routes:
        deel.fails(route, status=503, contract="hit")

    def walk(contract):
        profile = worker(contract)
        token = deel.supersede(contract)
        return [
            ask(CREATE, {"contract_id": contract}),
            ask(f"GET /contracts/{contract}"),
            ask(f"GET /people/{profile}"),
            ask("GET /people/me", token=token),
            ask("POST /workers/session", {"profile_id": profile}),
            ask(f"DELETE /workers/{profile}/session"),
        ]

    assert [answer.status_code for answer in walk("spared")] == [201, 200, 200, 200, 201, 204]
    assert [answer.status_code for answer in walk("hit")] == [503] * 6


def test_faults_come_in_the_order_of_the_script(deel, create):
    """Earlier scripts are used up first."""
    deel.fails(CREATE, status=500)
    deel.fails(CREATE, status=503)
    assert [create().status_code for _ in range(3)] == [500, 503, 201]


def test_a_route_that_does_not_exist_is_refused(deel):
    """A misspelt route fails at once instead of matching nothing."""
    with pytest.raises(ValueError, match="no such route"):
        deel.fails("POST /eor/workers")


@pytest.mark.parametrize("kind", RANDOM_KINDS)
def test_random_faults_are_of_the_kinds_asked_for(deel, create, kind):
    """random_faults with a share of one: every call, in this way; a share of none ends it."""
    deel.random_faults(share=1.0, kinds=(kind,))
    try:
        answer = create()
    except httpx.RemoteProtocolError:
        assert kind.startswith("cut_")
    else:
        expected = {"html": 502, "truncated": 201, "slow": 201}
        assert answer.status_code == expected.get(kind) or int(kind)
    assert [call.fault for call in deel.ledger] == [kind]
    deel.random_faults(share=0)
    assert create().status_code == 201


def test_random_faults_follow_the_seed():
    """The same seed fails the same calls, in whatever order the contracts come; another seed others."""

    def fate(seed, contracts):
        faults = Faults(seed)
        faults.draw(0.2, RANDOM_KINDS)
        return {contract: [str(faults.take(CREATE, contract)) for _ in range(20)] for contract in contracts}

    contracts = [f"c-{n}" for n in range(50)]
    assert fate(1, contracts) == fate(1, reversed(contracts))
    assert fate(1, contracts) != fate(2, contracts)
    assert fate(1, contracts)["c-1"] != fate(1, contracts)["c-2"]
    struck = sum(one != "None" for fates in fate(1, contracts).values() for one in fates)
    assert 0.15 < struck / 1000 < 0.25


@pytest.mark.parametrize("wrong", [{"share": 2.0}, {"kinds": ()}, {"kinds": ("418",)}])
def test_random_faults_must_mean_something(deel, wrong):
    """A share or kind that does not exist is refused."""
    with pytest.raises(ValueError, match="share"):
        deel.random_faults(**wrong)


def test_every_kind_can_be_scripted():
    """Each kind of fault has a word of the simulator's that brings it about."""
    with Simulator(rate=None) as deel:
        deel.fails(CREATE)
        deel.fails_after(CREATE)
        deel.answers_html(CREATE)
        deel.cuts_connection(before=CREATE)
        deel.cuts_connection(after=CREATE)
        deel.is_slow(CREATE, 0.0)
        deel.truncates(CREATE)
        assert {fault.kind for fault in deel._faults._scripted} == set(Kind)
