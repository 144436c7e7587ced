"""Idempotency-Key: one effect per key, for a day."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

SLOW_S = 0.5


def test_a_replay_is_the_first_answer_again(deel, ask, worker):
    """Same status and body, nothing done, and the header that tells the first call's id."""
    profile = worker()
    first, second = (ask("POST /workers/session", {"profile_id": profile}, key="k") for _ in range(2))
    assert (second.status_code, second.json()) == (first.status_code, first.json())
    assert deel.tokens_issued_for("c-1") == 1
    calls = deel.ledger.calls("POST /workers/session")
    assert [call.replayed for call in calls] == [False, True]
    assert [call.idempotency_key for call in calls] == ["k", "k"]
    assert "x-original-request-id" not in first.headers
    assert second.headers["x-original-request-id"] == calls[0].request_id


def test_a_replay_gives_a_dead_token_too(deel, ask, worker):
    """The trap: the key answers with the old token although it has been superseded since."""
    profile = worker()
    first = ask("POST /workers/session", {"profile_id": profile}, key="k").json()
    deel.supersede("c-1")
    again = ask("POST /workers/session", {"profile_id": profile}, key="k").json()
    assert again == first
    assert ask("GET /people/me", token=again["data"]["token"]).status_code == 401


def test_another_key_is_another_call(deel, ask, worker, issue):
    """Keys differ, calls differ; no key, no memory."""
    profile = worker()
    assert len({issue(profile, key="a"), issue(profile, key="b"), issue(profile), issue(profile)}) == 4


def test_a_key_is_forgotten_after_a_day(deel, ask, worker, issue):
    """24 hours on Deel's clock."""
    profile = worker()
    first = issue(profile, key="k")
    deel.clock.advance(24 * 3600 - 60)
    assert issue(profile, key="k") == first
    deel.clock.advance(60)
    assert issue(profile, key="k") != first


def test_a_key_belongs_to_an_organisation(deel, ask, worker):
    """Two organisations may use the same key."""
    other = deel.add_token({"admin:worker"}, organization_id="another")
    mine, theirs = worker("c-1"), worker("c-2", organization_id="another")
    first = ask("POST /workers/session", {"profile_id": mine}, key="k")
    second = ask("POST /workers/session", {"profile_id": theirs}, key="k", token=other)
    assert first.json() != second.json()
    assert deel.tokens_issued_for("c-2") == 1


def test_failures_are_not_kept(deel, ask):
    """Only a 2xx is the key's answer: a 404, an injected 500 and a cut before the work are tried anew."""
    assert ask("POST /eor/worker", {"contract_id": "c-1"}, key="k").status_code == 404
    deel.has_contract("c-1")
    deel.fails("POST /eor/worker")
    assert ask("POST /eor/worker", {"contract_id": "c-1"}, key="k").status_code == 500
    assert ask("POST /eor/worker", {"contract_id": "c-1"}, key="k").status_code == 201


def test_a_lost_answer_is_found_again(deel, ask, worker, issue):
    """The connection was cut after the work: the same key gets the same token, not a second one."""
    profile = worker()
    deel.cuts_connection(after="POST /workers/session")
    with pytest.raises(httpx.RemoteProtocolError):
        issue(profile, key="k")
    assert issue(profile, key="k") == deel.live_token("c-1")
    assert deel.tokens_issued_for("c-1") == 1


def test_a_twin_has_to_wait(deel, ask, worker):
    """The same key while its first call is under way: 429 with Retry-After; then a replay."""
    profile = worker()
    deel.is_slow("POST /workers/session", SLOW_S)

    def post(_n):
        return ask("POST /workers/session", {"profile_id": profile}, key="k")

    with ThreadPoolExecutor(2) as pool:
        twins = sorted(pool.map(post, range(2)), key=lambda answer: answer.status_code)
    assert [answer.status_code for answer in twins] == [201, 429]
    assert int(twins[1].headers["retry-after"]) >= 1
    assert post(0).json() == twins[0].json()
    assert deel.tokens_issued_for("c-1") == 1
    assert deel.ledger.refused() == 0


def test_a_key_has_a_length(deel, ask, worker, issue):
    """64 characters pass, 65 are 400 and do nothing."""
    profile = worker()
    assert ask("POST /workers/session", {"profile_id": profile}, key="k" * 65).status_code == 400
    assert deel.tokens_issued_for("c-1") == 0
    issue(profile, key="k" * 64)


def test_keys_are_for_post_alone(ask, worker, issue):
    """DELETE and GET take no notice of a key."""
    profile = worker()
    issue(profile)
    answers = [ask(f"DELETE /workers/{profile}/session", key="k").status_code for _ in range(2)]
    assert answers == [204, 404]


def test_idempotency_can_be_switched_off(deel, worker, issue):
    """idempotency=False: Deel takes no notice of the header."""
    deel.policy.idempotency = False
    profile = worker()
    assert issue(profile, key="k") != issue(profile, key="k")


def test_a_key_outlives_a_stop_in_the_middle(deel, ask, worker, issue):
    """Deel went down during the call: the key is free afterwards, and nothing was done."""
    profile = worker()
    deel.is_slow("POST /workers/session", 30)
    with ThreadPoolExecutor(1) as pool:
        lost = pool.submit(issue, profile, key="k")
        while not deel._pipeline.keys._seen:
            time.sleep(0.001)
        deel.stop()
        assert isinstance(lost.exception(5), httpx.RemoteProtocolError)
    deel.start()
    assert deel.tokens_issued_for("c-1") == 0
    assert issue(profile, key="k") == deel.live_token("c-1")
