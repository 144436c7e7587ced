"""Five calls per organisation in any rolling second, whoever makes them."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onboarding.simulator import Simulator
from onboarding.simulator.limiter import Limiter

ORG = "org"


def admitted(arrivals, rate=5, *, refused_count=False):
    limiter = Limiter(rate)
    return [limiter.admit(ORG, at, refused_count=refused_count)[0] for at in arrivals]


def test_the_sixth_call_of_a_second_is_refused():
    """The window rolls: a place is free again a second after its call, not at the next full second."""
    assert admitted([0.0, 0.25, 0.5, 0.5, 0.75, 0.99]) == [True] * 5 + [False]
    assert admitted([0.5, 0.5, 0.5, 0.5, 0.5, 1.0, 1.49, 1.5]) == [True] * 5 + [False, False, True]


def test_refused_calls_count_where_the_switch_says_so():
    """By default a refused call takes no place; with the switch, who hammers stays out."""
    hammered = [0.0, 0.0, 0.6, 1.2]
    assert admitted(hammered, rate=1) == [True, False, False, True]
    assert admitted(hammered, rate=1, refused_count=True) == [True, False, False, False]


@given(st.lists(st.floats(0, 10), max_size=60), st.integers(1, 6))
def test_no_rolling_second_ever_holds_more(arrivals, rate):
    """However calls arrive, and in whichever order threads bring them, no second admits more than the rate."""
    limiter = Limiter(rate)
    taken = [limiter.admit(ORG, at, refused_count=False) for at in arrivals]
    times = [at for was_admitted, at in taken if was_admitted]
    assert times == sorted(times)
    assert all(sum(start - 1.0 < at <= start for at in times) <= rate for start in times)


@given(st.lists(st.floats(0, 10), max_size=60))
def test_organisations_do_not_share_a_window(arrivals):
    """One organisation's calls leave another's places alone."""
    limiter, alone = Limiter(3), Limiter(3)
    for at in sorted(arrivals):
        limiter.admit("another", at, refused_count=True)
        assert limiter.admit(ORG, at, refused_count=False) == alone.admit(ORG, at, refused_count=False)


@pytest.fixture
def strict():
    """A simulator with Deel's own limit."""
    with Simulator(rate=5) as deel:
        yield deel


def burst(deel, tokens, path="/people/me"):
    """One call with each token, all at once."""
    ready = threading.Barrier(len(tokens))

    def call(token):
        with httpx.Client(timeout=5, verify=False, headers={"Authorization": f"Bearer {token}"}) as client:
            ready.wait()
            return client.get(deel.url + path)

    with ThreadPoolExecutor(len(tokens)) as pool:
        return list(pool.map(call, tokens))


def test_concurrent_calls_past_the_limit_are_refused_exactly(strict):
    """Twelve at once: five pass, seven do not, whichever threads they came in."""
    statuses = Counter(answer.status_code for answer in burst(strict, [strict.org_token] * 12))
    assert statuses == {200: 5, 429: 7}
    assert strict.ledger.refused() == 7
    assert strict.ledger.worst_second() == 5
    assert strict.ledger.count() == 12


def test_worker_tokens_count_with_the_organisations(strict):
    """All tokens of an organisation share its five, worker tokens too; another organisation has its own."""
    strict.has_contract("c-1", with_profile=True)
    worker = strict.supersede("c-1")
    other = strict.add_token({"people:read"}, organization_id="another")
    answers = burst(strict, [strict.org_token] * 4 + [worker] * 4 + [other] * 5)
    statuses = Counter(answer.status_code for answer in answers)
    assert statuses == {200: 10, 429: 3}
    assert [answer.status_code for answer in answers[8:]] == [200] * 5
    assert strict.ledger.worst_second() == 5


def test_a_refusal_has_deels_body_and_no_header(strict):
    """429 in the shape of Deel's rate limits page; Retry-After only where the switch says so."""
    refusals = [answer for answer in burst(strict, [strict.org_token] * 6) if answer.status_code == 429]
    (refusal,) = refusals
    message = "Too many requests. Please wait before retrying."
    assert refusal.json() == {"error": "Rate limit exceeded", "status": 429, "message": message}
    assert "retry-after" not in refusal.headers
    strict.policy.retry_after_s = 2
    (again, *_) = [answer for answer in burst(strict, [strict.org_token] * 6) if answer.status_code == 429]
    assert again.headers["retry-after"] == "2"


def test_refused_calls_do_nothing(strict):
    """A refused POST has no effect, uses up no fault, and shows as refused in the ledger."""
    strict.has_contract("c-1")
    burst(strict, [strict.org_token] * 5)
    strict.fails("POST /eor/worker", status=500)
    answer = httpx.post(
        f"{strict.url}/eor/worker",
        json={"data": {"contract_id": "c-1"}},
        headers={"Authorization": f"Bearer {strict.org_token}"},
    )
    assert answer.status_code == 429
    assert strict.profiles_of("c-1") == []
    (call,) = strict.ledger.calls("POST /eor/worker")
    assert (call.refused, call.counted, call.fault) == (True, False, None)


@pytest.mark.parametrize(("count", "passes"), [(True, 4), (False, 5)])
def test_dead_tokens_count_where_the_switch_says_so(strict, count, passes):
    """auth_failures_count: a call with a token that is known and dead takes a place, or none."""
    strict.policy.auth_failures_count = count
    dead = strict.add_token({"people:read"})
    strict.revoke_token(dead)
    assert burst(strict, [dead])[0].status_code == 401
    statuses = Counter(answer.status_code for answer in burst(strict, [strict.org_token] * 6))
    assert statuses[200] == passes
