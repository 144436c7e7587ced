"""HRIS messages of every shape -> one event."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onboarding.events import MAX_ELEMENTS, Ending, Event, Ignored, Why, read
from tests.onboarding.hris_messages import (
    ATTRIBUTES,
    CLOUD_EVENT,
    EMAIL,
    KEYS,
    ORGANIZATION,
    PLAIN,
    PROFILE,
    STRUCTURED,
    WEBHOOK,
    binary,
    message,
    only,
    signed,
    webhook,
)

# --- the shapes


def test_a_webhook_of_deels_is_read_as_it_is():
    """Contract and organisation are found where Deel puts them; without a signature nothing else is believed."""
    event = only(WEBHOOK)

    assert event == Event(event.dedup_key, "deel", "contract.created", "abc12de", ORGANIZATION, False, None)


def test_the_envelope_of_the_newer_guide_is_read_too():
    """`event_id` in meta, `contract_id` in each element of an array."""
    meta = {"event_type": "contract.created", "organization_id": "org_abc123", "event_id": "evt_1"}
    event = only({"data": {"meta": meta, "resource": [{"contract_id": "ctr_1", "worker_email": EMAIL}]}})

    assert (event.contract_id, event.organization_id) == ("ctr_1", "org_abc123")


def test_the_plain_form_needs_type_and_contract_only():
    """Organisation and id are optional."""
    event = only({"type": "contract.created", "contract_id": "c-1"})

    assert event == Event(event.dedup_key, "plain", "contract.created", "c-1", None, False, None)


def test_the_plain_forms_id_is_never_the_contracts():
    """It is the event's."""
    assert only({"type": "contract.created", "id": "evt-1"}).why is Why.NO_CONTRACT_ID


@pytest.mark.parametrize("content_type", [STRUCTURED, f"{STRUCTURED}; charset=utf-8", None, "application/json"])
def test_a_structured_cloud_event_is_known_by_content_type_or_specversion(content_type):
    """Either is enough."""
    event = only(CLOUD_EVENT, content_type=content_type)

    assert (event.source, event.contract_id, event.organization_id) == ("cloudevents", "c-1", "org-1")


def test_the_content_type_decides_between_structured_and_binary():
    """As the AMQP binding says: attributes in the headers do not count then."""
    event = only(CLOUD_EVENT, content_type=STRUCTURED, headers={"cloudEvents:specversion": "1.0"})

    assert event.contract_id == "c-1"


@pytest.mark.parametrize("prefix", ["cloudEvents:", "cloudEvents_", "CLOUDEVENTS_"])
@pytest.mark.parametrize("as_bytes", [False, True])
def test_a_binary_cloud_event_has_its_attributes_in_the_headers(prefix, as_bytes):
    """Under both prefixes of the AMQP binding; client libraries give values as str or bytes."""
    attributes = {name: value.encode() if as_bytes else value for name, value in ATTRIBUTES.items()}
    event = only(binary(attributes, b'{"contract_id": "c-1"}', prefix, content_type="application/json"))

    assert (event.source, event.type, event.contract_id) == ("cloudevents", "contract.created", "c-1")


def test_structured_and_binary_forms_of_one_cloud_event_are_one_event():
    """A sender may change its mode without its events being taken twice."""
    body = json.dumps(CLOUD_EVENT["data"]).encode()

    assert only(binary(ATTRIBUTES, body)) == only(CLOUD_EVENT)


@pytest.mark.parametrize("data", [None, {}, {"contract_id": ""}, {"organization_id": "org-1"}])
def test_the_subject_is_the_contract_where_data_names_none(data):
    """With data of no use, and with none at all."""
    assert only(CLOUD_EVENT | {"data": data, "subject": "c-9"}).contract_id == "c-9"
    assert only(binary(ATTRIBUTES | {"subject": "c-9"})).contract_id == "c-9"


@pytest.mark.parametrize("data", [{"contract_id": "c-1"}, {"id": "c-1", "type": "eor"}])
def test_data_wins_over_the_subject(data):
    """Data in the plain form's fields, and data that is Deel's resource."""
    assert only(CLOUD_EVENT | {"data": data, "subject": "c-9"}).contract_id == "c-1"


@pytest.mark.parametrize(
    "document",
    [
        CLOUD_EVENT | {"specversion": "0.3"},
        CLOUD_EVENT | {"specversion": 1.0},
        CLOUD_EVENT | {"data": "c-1"},
        PLAIN,
        {name: value for name, value in CLOUD_EVENT.items() if name != "type"},
    ],
)
def test_what_is_no_cloud_event_1_0_is_dead(document):
    """Another version's fields may mean something else."""
    answer = only(document, content_type=f"{STRUCTURED}; charset=utf-8")

    assert (answer.source, answer.why) == ("cloudevents", Why.WRONG_SHAPE)


@pytest.mark.parametrize(
    "document",
    [
        *(None, 5, "contract.created", [], [PLAIN], {}, {"data": None}, {"data": {"id": "c-1"}}, {"id": "c-1"}),
        *({"data": {"meta": "x", "resource": {}}}, {"contract_id": "c-1"}, webhook(meta={"event_type": ""})),
        *(webhook(resource=[]), webhook(resource="abc"), webhook(meta={"event_type": 3})),
    ],
)
def test_any_other_json_is_of_the_wrong_shape(document):
    """JSON, but nothing that an HRIS sends; or no event type anywhere."""
    assert only(document).why is Why.WRONG_SHAPE


# --- types


def test_the_bodys_type_wins_over_the_routing_key():
    """Whatever the message was published under."""
    assert isinstance(only(WEBHOOK, routing_key="contract.terminated"), Event)
    assert only(webhook(meta={"event_type": "eor.quote.created"}), routing_key="contract.created").why is (
        Why.TYPE_NOT_USED
    )


@pytest.mark.parametrize(
    "document",
    [webhook(meta={"event_type": ""}), PLAIN | {"type": None}, CLOUD_EVENT | {"type": ""}, {"contract_id": "c-1"}],
)
def test_the_routing_key_serves_where_the_body_has_no_type(document):
    """If it is one of Deel's types; else nobody knows what the message says."""
    assert isinstance(only(document, routing_key="contract.created"), Event)
    assert isinstance(only(document, routing_key="contract.terminated"), Ending)
    assert only(document, routing_key="contract.amended").why is Why.TYPE_NOT_USED
    assert only(document, routing_key="onboarding.intake").why is Why.WRONG_SHAPE
    assert only(document, routing_key="it-\n").why is Why.WRONG_SHAPE


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("contract.amended", Why.TYPE_NOT_USED),
        ("employee.created.direct", Why.TYPE_NOT_USED),
        ("worker.created", Why.TYPE_NOT_USED),
        ("it-asset.assigned", Why.TYPE_NOT_USED),
        ("time-off.requested", Why.TYPE_NOT_USED),
        ("contract.signed", Why.UNKNOWN_TYPE),
        ("Contract.Created", Why.UNKNOWN_TYPE),
        ("contract.created.", Why.UNKNOWN_TYPE),
    ],
)
def test_other_types_start_nothing(name, why):
    """Deel's other events are known and not used; any other name is unknown. Both are kept as ignored."""
    for document in (webhook(meta={"event_type": name}), PLAIN | {"type": name}, CLOUD_EVENT | {"type": name}):
        answer = only(document)
        assert isinstance(answer, Ignored)
        assert (answer.type, answer.why) == (name, why)


@pytest.mark.parametrize("name", ["contract created", EMAIL, "x" * 129, "contract.created\n", "\ud800", 7, True, ["a"]])
def test_a_type_that_is_no_word_is_dead(name):
    """It would stand in a column and in log lines."""
    assert only(PLAIN | {"type": name}, routing_key="contract.created").why is Why.WRONG_SHAPE


@pytest.mark.parametrize("flag", [True, "true", "True", "TRUE", "1", 1, "yes", ["?"]])
def test_a_simulated_delivery_starts_nothing(flag):
    """Whatever it looks like otherwise, and even if it is signed: anything but a clear no is a yes."""
    answer = only(signed(webhook(meta={"is_simulation": flag})))

    assert isinstance(answer, Ignored)
    assert (answer.why, answer.contract_id) == (Why.SIMULATION, "abc12de")


@pytest.mark.parametrize("flag", [False, None, "", "false", "False", "0", 0])
def test_a_delivery_that_is_no_simulation_is_an_event(flag):
    """Deel may say so, or say nothing."""
    assert isinstance(only(webhook(meta={"is_simulation": flag})), Event)


# --- ids


def test_the_contract_id_is_where_the_type_has_it():
    """`id` is a contract's in the contract's own events only; elsewhere it is another thing's."""
    quote = webhook(meta={"event_type": "eor.quote.created"})
    quote["data"]["resource"] = {"id": "quote-1", "contract_id": "c-2"}
    tax = webhook(meta={"event_type": "gp.payslips.available"})
    tax["data"]["resource"] = {"id": "slip-1", "contract_oid": "c-3"}
    profile = webhook(meta={"event_type": "worker.v2.created"})
    profile["data"]["resource"] = {"id": PROFILE}

    assert [only(each).contract_id for each in (quote, tax, profile)] == ["c-2", "c-3", None]
    assert only(webhook(resource={"contract_id": "c-4"})).contract_id == "c-4"


@pytest.mark.parametrize(("raw", "text"), [("abc12de", "abc12de"), (112546, "112546"), (0, "0"), ("a._~-Z", "a._~-Z")])
def test_ids_are_taken_as_they_stand(raw, text):
    """Text or whole numbers: older webhooks have both."""
    event = only(webhook(resource={"id": raw}, meta={"organization_id": raw}))

    assert (event.contract_id, event.organization_id) == (text, text)


NO_IDS = [
    True,
    False,
    1.0,
    [],
    ["c-1"],
    {},
    " c-1",
    "c-1\n",
    "c/1",
    "..",
    ".",
    "a" * 129,
    EMAIL,
    "\ud800",
    "é",
    10**200,
]


@pytest.mark.parametrize("raw", NO_IDS)
def test_an_id_that_is_none_is_dead(raw):
    """Never trimmed, never guessed: the id becomes a part of a URL that changes somebody's account."""
    assert only(webhook(resource={"id": raw})).why is Why.BAD_CONTRACT_ID
    assert only(PLAIN | {"contract_id": raw}).why is Why.BAD_CONTRACT_ID
    assert only(PLAIN | {"organization_id": raw}).why is Why.BAD_ORGANIZATION_ID
    assert only(webhook(meta={"organization_id": raw})).why is Why.BAD_ORGANIZATION_ID


@pytest.mark.parametrize("raw", [None, ""])
def test_nothing_and_empty_text_are_absence(raw):
    """Deel writes "" where others write null."""
    assert only(webhook(resource={"id": raw})).why is Why.NO_CONTRACT_ID
    assert only(PLAIN | {"contract_id": raw}).why is Why.NO_CONTRACT_ID
    assert only(PLAIN | {"organization_id": raw}).organization_id is None
    assert only(webhook(meta={"organization_id": raw})).organization_id is None


@pytest.mark.parametrize("raw", [*NO_IDS, None, ""])
def test_a_bad_id_does_not_matter_to_an_event_that_starts_nothing(raw):
    """It is ignored with no id, rather than kept for an engineer."""
    answer = only(PLAIN | {"type": "contract.amended", "contract_id": raw})

    assert (answer.why, answer.contract_id) == (Why.TYPE_NOT_USED, None)


# --- arrays


def test_each_element_of_an_array_stands_for_itself():
    """A bad one is dead, the others go on."""
    answers = read(message(webhook(resource=[{"id": "c-1"}, 5, {}, {"id": "c/2"}, {"id": "c-3"}])), KEYS)

    assert [getattr(each, "contract_id", None) or each.why for each in answers] == [
        *("c-1", Why.WRONG_SHAPE, Why.NO_CONTRACT_ID, Why.BAD_CONTRACT_ID, "c-3")
    ]
    assert len({each.dedup_key for each in answers}) == 5


def test_too_many_elements_are_dead_as_a_whole():
    """One small message must not become a hundred thousand rows."""
    most = webhook(resource=[{"id": f"c-{n}"} for n in range(MAX_ELEMENTS)])

    assert len(read(message(most), KEYS)) == MAX_ELEMENTS
    most["data"]["resource"].append({"id": "c"})
    assert only(most).why is Why.TOO_MANY


@settings(deadline=None)  # promises are about answers, not about how busy the machine is
@given(st.permutations([{"id": "c-1"}, {"id": "c-2"}, {"id": "c-3"}, {"id": 4}]))
def test_the_order_of_an_array_does_not_matter(elements):
    """An event with an id has the same keys in whatever order Deel lists its resources."""
    meta = {"event_id": "evt-1"}
    listed = webhook(meta=meta, resource=[{"id": "c-1"}, {"id": "c-2"}, {"id": "c-3"}, {"id": 4}])

    assert set(read(message(webhook(meta=meta, resource=elements)), KEYS)) == set(read(message(listed), KEYS))


# --- what to do


def test_each_why_says_what_to_do():
    """One line, a sentence."""
    assert all(why.advice.endswith(".") and "\n" not in why.advice for why in Why)
    assert len({why.advice for why in Why}) == len(Why)
