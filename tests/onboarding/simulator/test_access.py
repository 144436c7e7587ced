"""Who may call what: paths, versions, tokens, scopes, organisations."""

from __future__ import annotations

import httpx
import pytest

WORKER_LESS = [
    "POST /eor/worker",
    "POST /workers/session",
    "DELETE /workers/x/session",
    "GET /contracts",
    "GET /contracts/c-1",
    "GET /people",
    "GET /organizations",
]


@pytest.mark.parametrize("base", ["url", "unversioned_url"])
@pytest.mark.parametrize("version", [{}, {"X-Version": "2026-01-01"}])
def test_both_base_paths_and_the_version_header_lead_in(deel, base, version):
    """/rest/v2 and /rest are the same API, with or without X-Version."""
    headers = {"Authorization": f"Bearer {deel.org_token}", **version}
    assert httpx.get(f"{getattr(deel, base)}/organizations", headers=headers).status_code == 200


def test_an_unknown_version_is_refused(ask):
    """X-Version names a version that exists, or the call is 400."""
    assert ask("GET /organizations", headers={"X-Version": "1999-01-01"}).status_code == 400


@pytest.mark.parametrize("what", ["GET /nix", "PUT /people/me", "POST /contracts", "GET /people/me/x"])
def test_an_unknown_path_is_404(ask, what):
    """A path or method that Deel does not have is 404, in its own shape."""
    answer = ask(what)
    assert (answer.status_code, answer.json()) == (404, {"errors": [{"message": "path not found"}]})


def test_outside_the_base_paths_there_is_nothing(deel):
    """Only /rest and /rest/v2 are served."""
    assert httpx.get(deel.url.replace("/rest/v2", "/people/me")).status_code == 404


def test_me_is_not_a_person_called_me(ask):
    """/people/me wins over /people/{hris_profile_id}."""
    assert ask("GET /people/me").json()["profile_type"] == "service_account"


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer nix", "Basic nix"])
def test_a_missing_or_unknown_token_is_401(ask, header):
    """No call is answered without a token that Deel knows."""
    answer = ask("GET /people", headers={"Authorization": header})
    assert answer.status_code == 401
    assert answer.json()["request"]["status"] == 401


def test_each_error_has_a_request_id_of_its_own(ask, deel):
    """api_req_id is fresh for each call, and the ledger's."""
    ids = [ask("GET /people", token="nix").json()["request"]["api_req_id"] for _ in range(2)]
    assert ids == [call.request_id for call in deel.ledger]
    assert ids[0] != ids[1]


def test_a_revoked_token_is_401_until_it_is_restored(deel, ask):
    """revoke_token and restore_token switch a token of an organisation off and on."""
    deel.revoke_token(deel.org_token)
    assert ask("GET /people/me").status_code == 401
    deel.restore_token(deel.org_token)
    assert ask("GET /people/me").status_code == 200


@pytest.mark.parametrize(
    ("what", "scope"),
    [
        ("POST /eor/worker", "people:write"),
        ("POST /workers/session", "admin:worker"),
        ("DELETE /workers/x/session", "admin:worker"),
        ("GET /contracts", "contracts:read"),
        ("GET /contracts/c-1", "contracts:read"),
        ("GET /people", "people:read"),
        ("GET /people/x", "people:read"),
        ("GET /people/me", "people:read"),
        ("GET /organizations", "organizations:read"),
    ],
)
def test_each_route_wants_its_scope(deel, ask, what, scope):
    """Without the scope 403, in words that name it; with it alone, anything else."""
    everything = {"people:write", "admin:worker", "contracts:read", "people:read", "organizations:read"}
    refused = ask(what, {}, token=deel.add_token(everything - {scope}))
    assert refused.status_code == 403
    assert scope in refused.text
    assert ask(what, {}, token=deel.add_token({scope})).status_code in {200, 400, 404}


def test_the_guides_scope_set_suffices_where_the_switch_says_so(deel, ask):
    """enforce_people_write off: POST /eor/worker takes a token made by the guide alone."""
    deel.has_contract("c-1")
    token = deel.add_token({"contracts:read", "admin:worker"})
    assert ask("POST /eor/worker", {"contract_id": "c-1"}, token=token).status_code == 403
    deel.policy.enforce_people_write = False
    assert ask("POST /eor/worker", {"contract_id": "c-1"}, token=token).status_code == 201


def test_worker_tokens_must_be_enabled(deel, ask, worker):
    """admin_scopes_enabled off: both session routes are 403 whatever the token's scopes."""
    profile = worker()
    deel.policy.admin_scopes_enabled = False
    for answer in (
        ask("POST /workers/session", {"profile_id": profile}),
        ask(f"DELETE /workers/{profile}/session"),
    ):
        assert answer.status_code == 403
        assert "admin:worker" in answer.text
    assert ask("GET /people").status_code == 200


def test_worker_tokens_may_be_enabled_for_one_organisation_only(deel, ask, worker, issue):
    """admin_scopes_enabled names those that have them: it is a flag of the organisation's."""
    theirs = "11111111-1111-4111-8111-111111111111"
    mine, other = worker("c-1"), worker("c-2", organization_id=theirs)
    token = deel.add_token({"admin:worker"}, organization_id=theirs)
    deel.policy.admin_scopes_enabled = frozenset({deel.organization_id})
    issue(mine)
    assert ask("POST /workers/session", {"profile_id": other}, token=token).status_code == 403


@pytest.mark.parametrize("what", WORKER_LESS)
def test_a_worker_token_is_no_key_to_the_employers_routes(ask, worker, issue, what):
    """A worker's token on an employer's route is 403."""
    assert ask(what, {}, token=issue(worker())).status_code == 403


def test_a_worker_sees_itself_and_nobody_else(ask, worker, issue):
    """GET /people/{id} with a worker token: its own id 200, another's 403."""
    ada, bob = worker("c-1"), worker("c-2")
    token = issue(ada)
    assert ask(f"GET /people/{ada}", token=token).json()["data"]["id"] == ada
    assert ask(f"GET /people/{bob}", token=token).status_code == 403


def test_another_organisations_ids_are_unknown(deel, ask, worker):
    """What belongs to another organisation is 404, and in no list."""
    theirs = "11111111-1111-4111-8111-111111111111"
    profile = worker("c-1", organization_id=theirs)
    assert ask("GET /contracts/c-1").status_code == 404
    assert ask("POST /eor/worker", {"contract_id": "c-1"}).status_code == 404
    assert ask("POST /workers/session", {"profile_id": profile}).status_code == 404
    assert ask(f"DELETE /workers/{profile}/session").status_code == 404
    assert ask(f"GET /people/{profile}").status_code == 404
    assert ask("GET /contracts").json()["data"] == ask("GET /people").json()["data"] == []

    token = deel.add_token({"contracts:read", "organizations:read"}, organization_id=theirs)
    assert ask("GET /contracts/c-1", token=token).status_code == 200
    assert ask("GET /organizations", token=token).json()["data"][0]["id"] == theirs


def test_a_switch_that_does_not_exist_is_refused(deel):
    """A misspelt switch, or a value that means nothing, fails at once instead of testing nothing."""
    with pytest.raises(ValueError):
        deel.policy.repeat_workers = "400"
    with pytest.raises(ValueError):
        deel.policy.repeat_worker = "409"
