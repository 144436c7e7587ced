"""Profiles and tokens: made, repeated, superseded, expired, deleted."""

from __future__ import annotations

import re
import time
from datetime import datetime, timedelta

import pytest

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
NOBODY = "00000000-0000-4000-8000-000000000000"


def create(ask, contract="c-1", **more):
    return ask("POST /eor/worker", {"contract_id": contract}, **more)


def test_a_profile_has_three_ids_and_shows_everywhere(deel, ask):
    """Three different uuids come back; the HRIS one is then the contract's worker and the person's id."""
    deel.has_contract("c-1", email="ada@example.com")
    before = ask("GET /contracts/c-1").json()["data"]["worker"]
    assert before == {"expected_email": "ada@example.com", "first_name": "Ada", "last_name": "Lovelace"}

    answer = create(ask)

    ids = answer.json()["data"]
    assert answer.status_code == 201
    assert len(set(ids.values())) == 3
    assert all(UUID.fullmatch(value) for value in ids.values())
    assert deel.profiles_of("c-1") == [ids["hris_profile_id"]]
    after = ask("GET /contracts/c-1").json()["data"]["worker"]
    assert (after["id"], after["email"]) == (ids["hris_profile_id"], "ada@example.com")
    assert ask("GET /contracts").json()["data"][0]["worker"]["id"] == ids["hris_profile_id"]
    (person,) = ask("GET /people").json()["data"]
    assert person["id"] == ids["hris_profile_id"]
    assert person["employments"][0]["id"] == "c-1"


def test_created_is_200_where_the_switch_says_so(deel, ask):
    """worker_created_status: the guide's 200 in place of 201."""
    deel.has_contract("c-1")
    deel.policy.worker_created_status = 200
    assert create(ask).status_code == 200


@pytest.mark.parametrize(("policy", "status", "profiles"), [("same", 201, 1), ("400", 400, 1), ("duplicate", 201, 2)])
def test_a_repeat_does_what_the_switch_says(deel, ask, policy, status, profiles):
    """A second POST /eor/worker: the same ids, a refusal, or a second person."""
    deel.has_contract("c-1")
    deel.policy.repeat_worker = policy
    first = create(ask).json()
    second = create(ask)
    assert second.status_code == status
    assert (second.json() == first) is (policy == "same")
    assert len(set(deel.profiles_of("c-1"))) == profiles
    assert len(ask("GET /people").json()["data"]) == profiles


@pytest.mark.parametrize(("body", "status"), [({}, 400), ({"contract_id": 7}, 400), ({"contract_id": "nix"}, 404)])
def test_a_profile_needs_a_contract(ask, body, status):
    """A body without a contract id is 400, an unknown one 404."""
    answer = ask("POST /eor/worker", body)
    assert answer.status_code == status
    if status == 400:
        assert answer.json()["errors"][0]["path"] == "/data/contract_id"
        assert answer.json()["request"]["source"] == "AJV"


def test_only_eor_contracts_get_a_profile(deel, ask):
    """A contract of another type is 400, a business rule without a path."""
    deel.has_contract("c-1", type="milestones")
    answer = create(ask)
    assert answer.status_code == 400
    assert "path" not in answer.json()["errors"][0]
    assert deel.profiles_of("c-1") == []


def test_a_token_opens_the_workers_own_account(deel, ask, worker, issue):
    """GET /people/me with a worker token is that worker, in numbers, without the HRIS profile id."""
    profile = worker(email="ada@example.com")
    me = ask("GET /people/me", token=issue(profile)).json()
    assert me["email"] == "ada@example.com"
    assert isinstance(me["id"], int)
    assert isinstance(me["user_id"], int)
    assert "hris_profile_id" not in me
    assert profile not in str(me)


def test_a_token_looks_like_deels(deel, ask, worker):
    """Three parts like a JWT; it ends in 24 hours, written with milliseconds and Z."""
    answer = ask("POST /workers/session", {"profile_id": worker()}).json()["data"]
    assert re.fullmatch(r"eyJ[\w-]+\.eyJ[\w-]+\.[\w-]+", answer["token"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", answer["expires_at"])
    left = datetime.fromisoformat(answer["expires_at"]) - deel.clock.now()
    assert timedelta(hours=23, minutes=59) < left <= timedelta(hours=24)
    assert deel.live_token("c-1") == answer["token"]


def test_me_is_wrapped_where_the_switch_says_so(deel, ask, worker, issue):
    """me_wrapped: the same body, under `data`."""
    token = issue(worker())
    flat = ask("GET /people/me", token=token).json()
    deel.policy.me_wrapped = True
    assert ask("GET /people/me", token=token).json() == {"data": flat}


def test_another_persons_token(deel, ask, worker, issue):
    """impersonates: the contract's worker token opens somebody else's account."""
    token = issue(worker(email="ada@example.com"))
    deel.impersonates("c-1", email="eve@example.com")
    assert ask("GET /people/me", token=token).json()["email"] == "eve@example.com"


@pytest.mark.parametrize(
    ("fields", "sent"),
    [
        (("profile_id",), "profile_id"),
        (("profile_id", "hris_profile_id"), "hris_profile_id"),
        (("profile_id", "hris_profile_id"), "profile_id"),
        (("profile_id", "contract_id"), "contract_id"),
    ],
)
def test_the_sessions_field_is_a_switch(deel, ask, worker, fields, sent):
    """session_fields: any of them opens a session."""
    value = {"contract_id": "c-1"}.get(sent, worker())
    deel.policy.session_fields = fields
    assert ask("POST /workers/session", {sent: value}).status_code == 201


@pytest.mark.parametrize(
    ("fields", "sent"),
    [
        (("profile_id",), "hris_profile_id"),
        (("profile_id",), "contract_id"),
        (("hris_profile_id",), "profile_id"),
    ],
)
def test_another_field_is_400_and_names_the_right_one(deel, ask, worker, fields, sent):
    """A field that is not among session_fields is not looked at; the error names the first that is."""
    value = {"contract_id": "c-1"}.get(sent, worker())
    deel.policy.session_fields = fields
    answer = ask("POST /workers/session", {sent: value})
    assert answer.status_code == 400
    (error,) = answer.json()["errors"]
    assert error == {"path": f"/data/{fields[0]}", "message": f"Must have required property '{fields[0]}'"}


@pytest.mark.parametrize("value", ["prf_xyz789uvw321", "", 7, None])
def test_what_is_no_uuid_is_400(ask, value):
    """The schema validator refuses what is no uuid, naming the field."""
    answer = ask("POST /workers/session", {"profile_id": value})
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["path"] == "/data/profile_id"


def test_the_other_profile_id_is_404(deel, ask):
    """The `profile_id` that POST /eor/worker answers with is not what a session wants."""
    deel.has_contract("c-1")
    wrong = create(ask).json()["data"]["profile_id"]
    assert ask("POST /workers/session", {"profile_id": wrong}).status_code == 404
    assert ask("POST /workers/session", {"profile_id": NOBODY}).status_code == 404


def test_a_new_token_kills_the_old(deel, ask, worker, issue):
    """One live token per worker: the second supersedes the first at once."""
    profile = worker()
    first, second = issue(profile), issue(profile)
    assert ask("GET /people/me", token=first).status_code == 401
    assert ask("GET /people/me", token=second).status_code == 200
    assert deel.live_token("c-1") == second
    assert deel.tokens_issued_for("c-1") == 2


def test_the_old_token_may_linger(deel, ask, worker, issue):
    """supersede_lag_s: the old token dies so much later, on Deel's clock."""
    deel.policy.supersede_lag_s = 60
    profile = worker()
    first, second = issue(profile), issue(profile)
    assert ask("GET /people/me", token=first).status_code == 200
    assert deel.live_token("c-1") == second
    deel.clock.advance(61)
    assert ask("GET /people/me", token=first).status_code == 401
    assert ask("GET /people/me", token=second).status_code == 200


def test_a_second_token_may_be_refused(deel, ask, worker, issue):
    """second_session="refuse": 400 while one lives, and that one lives on."""
    deel.policy.second_session = "refuse"
    profile = worker()
    first = issue(profile)
    assert ask("POST /workers/session", {"profile_id": profile}).status_code == 400
    assert ask("GET /people/me", token=first).status_code == 200
    ask(f"DELETE /workers/{profile}/session")
    assert issue(profile) != first


def test_a_token_expires_when_the_clock_says_so(deel, ask, worker, issue):
    """24 hours on Deel's clock, which a test moves."""
    token = issue(worker())
    deel.clock.advance(24 * 3600 - 60)
    assert ask("GET /people/me", token=token).status_code == 200
    deel.clock.advance(60)
    assert ask("GET /people/me", token=token).status_code == 401
    assert deel.live_token("c-1") is None


@pytest.mark.parametrize("repeat", [404, 204])
def test_a_deleted_token_is_dead(deel, ask, worker, issue, repeat):
    """DELETE answers 204 with nothing in it; again, as the switch says."""
    deel.policy.delete_repeat_status = repeat
    deel.policy.supersede_lag_s = 60  # a lingering token dies with the live one
    profile = worker()
    tokens = [issue(profile), issue(profile)]
    first = ask(f"DELETE /workers/{profile}/session")
    assert (first.status_code, first.content) == (204, b"")
    assert "content-length" not in first.headers
    assert [ask("GET /people/me", token=token).status_code for token in tokens] == [401, 401]
    assert ask(f"DELETE /workers/{profile}/session").status_code == repeat
    assert ask(f"DELETE /workers/{NOBODY}/session").status_code == 404


def test_deleting_may_want_another_id(deel, ask, worker, issue):
    """delete_wants: the id of GET /people's `worker_id`, and the HRIS profile's is then unknown; the token lives."""
    profile = worker()
    token = issue(profile)
    deel.policy.delete_wants = "worker_id"
    assert ask(f"DELETE /workers/{profile}/session").status_code == 404
    assert ask("GET /people/me", token=token).status_code == 200
    number = ask(f"GET /people/{profile}").json()["data"]["worker_id"]
    assert ask(f"DELETE /workers/{number}/session").status_code == 204
    assert ask("GET /people/me", token=token).status_code == 401


def test_a_body_that_is_nested_too_deep_is_no_body(ask):
    """400 as for any other that is none, and the simulator goes on."""
    deep = b'{"data":' + b"[" * 100_000
    assert ask("POST /workers/session", content=deep).status_code == 400


def test_a_stranger_kills_our_token(deel, ask, worker, issue):
    """supersede: somebody else's token lives, ours is dead, and theirs is not counted as ours."""
    ours = issue(worker())
    theirs = deel.supersede("c-1")
    assert ask("GET /people/me", token=ours).status_code == 401
    assert ask("GET /people/me", token=theirs).status_code == 200
    assert deel.live_token("c-1") == theirs
    assert deel.tokens_issued_for("c-1") == 1


def test_a_stranger_comes_right_behind(deel, ask, worker, issue):
    """supersedes_after_issue: our next tokens are dead on arrival, the one after lives."""
    profile = worker()
    deel.supersedes_after_issue("c-1", times=2)
    statuses = [ask("GET /people/me", token=issue(profile)).status_code for _ in range(3)]
    assert statuses == [401, 401, 200]
    assert deel.tokens_issued_for("c-1") == 3


def test_a_stranger_needs_a_profile_too(deel):
    """supersede before there is a profile is a mistake in the test, and says so."""
    deel.has_contract("c-1")
    with pytest.raises(LookupError, match="no profile"):
        deel.supersede("c-1")


def test_the_clock_goes_on_by_itself(deel):
    """The clock runs, in UTC, and advance adds to it."""
    before = deel.clock.now()
    time.sleep(0.002)
    assert timedelta(0) < deel.clock.now() - before < timedelta(seconds=5)
    deel.clock.advance(3600)
    assert deel.clock.now() - before > timedelta(hours=1)
    assert before.utcoffset() == timedelta(0)
