"""What a verified webhook becomes on the queue, and the settings that say so."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from onboarding.events import Event, Message, Why, read
from onboarding.settings import load
from onboarding.webhook_sources import PROFILES, WebhookSource, all_of
from onboarding.webhooks_in import MAX_CONTRACTS, UNREADABLE, Nothing, TooMany, to_queue
from tests.onboarding.hris_messages import KEYS, WEBHOOK, signed

BAMBOO = """
[people]
profile = "bamboohr"
keys = { main = "canary-1", next = "canary-2" }
contract_id = "employees.fields.Deel contract"
types = ["Created", "Updated"]
organization_id = "org-7"
"""


def source(toml: str) -> WebhookSource:
    (found,) = load({"ONBOARDING_GATEWAY_SOURCES": toml}).gateway_sources
    return found


def deel() -> WebhookSource:
    (found,) = all_of(KEYS, ())
    return found


def forms(found: list[Message] | Nothing) -> list[Any]:
    assert isinstance(found, list)
    assert all(one.routing_key == "contract.created" and one.headers == {} for one in found)
    return [json.loads(one.body) for one in found]


def bamboo(*employees: Any) -> bytes:
    return json.dumps({"employees": employees}).encode()


def employee(contract: Any, action: str = "Created") -> dict[str, Any]:
    return {"id": "17", "action": action, "fields": {"Deel contract": contract, "workEmail": "ada@example.com"}}


def test_deels_webhook_goes_on_as_it_is():
    """Byte for byte, its type as the routing key, its two headers with it: intake judges the signature once more."""
    genuine = signed(WEBHOOK)
    headers = {name: str(value).encode() for name, value in genuine.headers.items()}
    (made,) = to_queue(deel(), genuine.body, headers | {"host": b"evil", "x-deel-webhook-version": b"1"})  # type: ignore[misc]
    assert (made.body, made.headers) == (genuine.body, genuine.headers)
    assert (made.routing_key, made.content_type) == ("contract.created", "application/json")
    (event,) = read(made, KEYS)
    assert isinstance(event, Event)
    assert event.signed


@pytest.mark.parametrize("body", [b"", b"Ping test", b"\xff", b'{"a":1,"a":2}', b"[" * 99, b"{}"])
def test_what_cannot_be_read_goes_on_too(body: bytes):
    """Deel would only send it again, and stop sending at all: it becomes a dead letter that an engineer finds."""
    (made,) = to_queue(deel(), body, {})  # type: ignore[misc]
    assert (made.body, made.routing_key) == (body, UNREADABLE)


def test_an_hris_that_writes_a_known_shape_needs_no_paths():
    """The plain form, or a CloudEvent, whoever signs it; Deel's headers are not passed on."""
    ours = source('acme = {profile = "hmac", header = "X-Acme", keys = {a = "k"}}')
    assert (ours.scheme.header, ours.reading) == ("x-acme", None)
    body = b'{"type": "contract.created", "contract_id": "c-1", "organization_id": "o-1"}'
    (made,) = to_queue(ours, body, {"x-deel-signature": b"x", "x-deel-hmac-label": b"y"})  # type: ignore[misc]
    assert (made.body, made.headers, made.routing_key) == (body, {}, "contract.created")


def test_an_hris_of_its_own_shape_is_read_by_paths():
    """The contract that it names, in the plain form: nothing of the person leaves for the queue."""
    (form,) = forms(to_queue(source(BAMBOO), bamboo(employee("c-1")), {}))
    assert form == {"type": "contract.created", "contract_id": "c-1", "organization_id": "org-7"}


def test_each_item_of_a_list_stands_for_itself():
    """Its own type, its own contract; one contract named twice is named once."""
    body = bamboo(employee("c-1"), employee("c-2", "Deleted"), employee(3), employee(None), employee("c-1"))
    assert [form["contract_id"] for form in forms(to_queue(source(BAMBOO), body, {}))] == ["c-1", 3]


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"Ping test", Why.NOT_JSON),
        (b'{"employees": [], "employees": []}', Why.NOT_JSON),
        (b'{"text": "Ping test"}', Why.NO_CONTRACT_ID),
        (bamboo(), Why.NO_CONTRACT_ID),
        (bamboo(employee("c-1", "Deleted")), Why.TYPE_NOT_USED),
        (bamboo(employee("")), Why.NO_CONTRACT_ID),
        (bamboo(employee(None)), Why.NO_CONTRACT_ID),
        (bamboo(employee("no id")), Why.BAD_CONTRACT_ID),
        (bamboo(employee({"a": 1})), Why.BAD_CONTRACT_ID),
        (bamboo(employee("ada@example.com")), Why.BAD_CONTRACT_ID),
        (b'{"employees": 1}', Why.NO_CONTRACT_ID),
        (b"[[[1]]]", Why.NO_CONTRACT_ID),
    ],
)
def test_what_names_no_contract_is_nothing(body: bytes, why: Why):
    """An HRIS tells of everybody it employs: that is no dead letter, and its bodies are not kept."""
    assert to_queue(source(BAMBOO), body, {}) == Nothing(why)


def test_a_type_at_the_top_counts_for_all():
    """Where the paths part, the type is said once."""
    ours = source(
        'acme = {profile = "merge", keys = {a = "k"}, contract_id = "data.custom.deel", types = ["Employee.added"]}'
    )
    body = {"hook": {"event": "Employee.added"}, "data": [{"custom": {"deel": "c-1"}}, {"custom": {"deel": "c-2"}}]}
    assert [form["contract_id"] for form in forms(to_queue(ours, json.dumps(body).encode(), {}))] == ["c-1", "c-2"]
    body["hook"] = {"event": "Employee.removed"}
    assert to_queue(ours, json.dumps(body).encode(), {}) == Nothing(Why.TYPE_NOT_USED)


def test_a_webhook_of_a_thousand_contracts_is_too_many():
    """Each is a message: nobody hires so many at once."""
    body = bamboo(*(employee(f"c-{number}") for number in range(MAX_CONTRACTS)))
    assert len(forms(to_queue(source(BAMBOO), body, {}))) == MAX_CONTRACTS
    with pytest.raises(TooMany):
        to_queue(source(BAMBOO), bamboo(*(employee(f"c-{n}") for n in range(MAX_CONTRACTS + 1))), {})


def test_a_source_arrives_whole():
    """Its keys by label, hidden; its paths; its organisation."""
    found = source(BAMBOO)
    assert (found.name, found.organization_id) == ("people", "org-7")
    assert found.scheme == PROFILES["bamboohr"].scheme
    assert found.keys == {"main": SecretStr("canary-1"), "next": SecretStr("canary-2")}
    assert "canary" not in repr(found)


def test_without_a_key_deel_is_no_source():
    """Anybody could write in its name."""
    assert all_of({}, ()) == ()
    assert [each.name for each in all_of(KEYS, (source(BAMBOO),))] == ["deel", "people"]


def test_the_readmes_example_is_right():
    """It can be pasted, and its words are the profiles'."""
    page = (Path(__file__).parents[2] / "README.md").read_text()
    (example,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    found = load({"ONBOARDING_GATEWAY_SOURCES": example}).gateway_sources
    assert [source.name for source in found] == ["middleware", "people", "other"]
    assert [source.reading is None for source in found] == [True, False, True]
    body = bamboo(employee("c-1", "Updated"))
    assert [form["contract_id"] for form in forms(to_queue(found[1], body, {}))] == ["c-1"]
    assert found[2].scheme.sign(b"{}", b"k").startswith(b"sha256=")
    assert all(name in page for name in PROFILES)


def test_sources_lie_in_a_file(tmp_path):
    """As every setting can."""
    path = tmp_path / "sources.toml"
    path.write_text(BAMBOO)
    (found,) = load({"ONBOARDING_GATEWAY_SOURCES_FILE": str(path)}).gateway_sources
    assert found == source(BAMBOO)
