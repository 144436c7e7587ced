"""Contracts and people: pages, filters, and the moment in which a contract cannot be seen yet."""

from __future__ import annotations

import pytest


def pages(ask, **params):
    """Follow the cursor as a careful client does."""
    seen, cursor = [], None
    for _ in range(20):
        body = ask("GET /contracts", params={**params, **({"after_cursor": cursor} if cursor else {})}).json()
        seen.append([row["id"] for row in body["data"]])
        if not body["data"] or not body["page"]["cursor"]:
            return seen
        cursor = body["page"]["cursor"]
    raise AssertionError("the cursor never ended")


def test_contracts_come_in_pages(deel, ask):
    """Each contract once, oldest first; an empty cursor ends it."""
    for n in range(5):
        deel.has_contract(f"c-{n}")
    assert pages(ask, limit=2) == [["c-0", "c-1"], ["c-2", "c-3"], ["c-4"]]
    assert pages(ask, limit=5) == [["c-0", "c-1", "c-2", "c-3", "c-4"]]
    assert pages(ask, limit=2, order_direction="desc") == [["c-4", "c-3"], ["c-2", "c-1"], ["c-0"]]
    assert ask("GET /contracts", params={"limit": 2}).json()["page"]["total_rows"] == 5


def test_the_cursor_may_outlive_the_last_page(deel, ask):
    """end_cursor="last": the last page has a cursor too, and an empty page follows."""
    for n in range(2):
        deel.has_contract(f"c-{n}")
    deel.policy.end_cursor = "last"
    assert pages(ask, limit=2) == [["c-0", "c-1"], []]


def test_a_page_has_a_size_by_itself_and_a_largest(deel, ask):
    """Twenty by default, a hundred at most: who asks for more follows the cursor."""
    for n in range(101):
        deel.has_contract(f"c-{n}")
    assert [len(page) for page in pages(ask)] == [20, 20, 20, 20, 20, 1]
    assert [len(page) for page in pages(ask, limit=1000)] == [100, 1]


@pytest.mark.parametrize("params", [{"limit": "0"}, {"limit": "-1"}, {"limit": "x"}, {"after_cursor": "x!"}])
def test_what_is_no_page_is_400(ask, params):
    """A limit or cursor that means nothing is refused, in the shape of this route."""
    answer = ask("GET /contracts", params=params)
    assert answer.status_code == 400
    assert answer.json()["request"] == {"method": "GET", "status": 400}


@pytest.mark.parametrize(
    ("params", "found"),
    [
        ({"types[]": ["eor"]}, ["a", "b"]),
        ({"types": "milestones"}, ["c"]),
        ({"types[]": ["eor", "milestones"]}, ["a", "b", "c"]),
        ({"statuses[]": ["in_progress"]}, ["b"]),
        ({"external_id": "hr-7"}, ["c"]),
        ({"search": "hOPPer"}, ["b"]),
        ({"types[]": "eor", "statuses[]": "under_review"}, ["a"]),
    ],
)
def test_contracts_are_filtered(deel, ask, params, found):
    """types, statuses, external_id and search narrow the list, with or without brackets."""
    deel.has_contract("a")
    deel.has_contract("b", status="in_progress", first_name="Grace", last_name="Hopper")
    deel.has_contract("c", type="milestones", external_id="hr-7")
    body = ask("GET /contracts", params=params).json()
    assert [row["id"] for row in body["data"]] == found
    assert body["page"]["total_rows"] == len(found)


def test_people_come_by_offset(deel, ask, worker):
    """GET /people pages by offset and limit, and says how many there are."""
    ids = [worker(f"c-{n}") for n in range(3)]
    body = ask("GET /people", params={"offset": 1, "limit": 1}).json()
    assert [person["id"] for person in body["data"]] == ids[1:2]
    assert body["page"] == {"offset": 1, "total_rows": 3, "items_per_page": 1}


@pytest.mark.parametrize(
    ("params", "found"),
    [
        ({"search": "GRACE@"}, ["b"]),
        ({"hiring_statuses[]": "active"}, ["b"]),
        ({"hiring_statuses[]": "onboarding"}, ["a"]),
        ({"hiring_types[]": "eor"}, ["a", "b"]),
        ({"hiring_types[]": "contractor"}, []),
    ],
)
def test_people_are_filtered(deel, ask, worker, params, found):
    """search finds names and e-mails; hiring types and statuses narrow too."""
    worker("a")
    worker("b", email="grace@example.com", status="in_progress")
    people = ask("GET /people", params=params).json()["data"]
    assert [person["employments"][0]["id"] for person in people] == found


def test_a_new_contract_cannot_be_seen_at_once(deel, ask, worker):
    """visible_after_s: 404, in no list and good for nothing, until Deel's clock has moved on."""
    profile = worker("c-1", visible_after_s=30)
    assert ask("GET /contracts/c-1").status_code == 404
    assert ask("GET /contracts").json()["data"] == ask("GET /people").json()["data"] == []
    assert ask("POST /eor/worker", {"contract_id": "c-1"}).status_code == 404
    assert ask("POST /workers/session", {"profile_id": profile}).status_code == 404
    deel.clock.advance(31)
    assert ask("GET /contracts/c-1").status_code == 200
    assert len(ask("GET /contracts").json()["data"]) == len(ask("GET /people").json()["data"]) == 1


def test_a_contract_may_name_no_email(deel, ask):
    """email="": the worker has names only. Without the argument every contract has an e-mail of its own."""
    deel.has_contract("c-1", email="")
    assert "expected_email" not in ask("GET /contracts/c-1").json()["data"]["worker"]
    emails = set()
    for contract in ("c-2", "c-3"):
        deel.has_contract(contract)
        emails.add(ask(f"GET /contracts/{contract}").json()["data"]["worker"]["expected_email"])
    assert len(emails) == 2


def test_a_contract_id_is_taken_once(deel):
    """The same contract twice is a mistake in the test, and says so."""
    deel.has_contract("c-1")
    with pytest.raises(ValueError, match="c-1"):
        deel.has_contract("c-1")
