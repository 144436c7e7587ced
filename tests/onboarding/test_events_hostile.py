"""Messages that want to break the reader, and what reading may never do."""

from __future__ import annotations

import gzip
import json
import random
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from onboarding.events import MAX_BODY_BYTES, Event, Message, Why, read
from tests.onboarding.hris_messages import (
    ATTRIBUTES,
    EMAIL,
    KEYS,
    PLAIN,
    STRUCTURED,
    VECTOR_BODY,
    WEBHOOK,
    only,
    signed,
)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", Why.NOT_JSON),
        (b"{", Why.NOT_JSON),
        (b"{}{}", Why.NOT_JSON),
        (b'{"type": NaN}', Why.NOT_JSON),
        (b'{"id": -Infinity}', Why.NOT_JSON),
        (b'{"id": ' + b"9" * 5000 + b"}", Why.NOT_JSON),
        (b'{"type": "\xff"}', Why.NOT_JSON),
        (json.dumps(PLAIN).encode("utf-16"), Why.NOT_JSON),
        (gzip.compress(json.dumps(PLAIN).encode()), Why.NOT_JSON),
        (b'{"type": "contract.created", "contract_id": "c-1", "contract_id": "c-2"}', Why.DUPLICATE_KEYS),
        (b'{"data": {"resource": [{"id": "a", "id": "b"}]}}', Why.DUPLICATE_KEYS),
        (b"[" * 100_000, Why.TOO_DEEP),
        (b"[" * 51 + b"]" * 51, Why.TOO_DEEP),
        (b'{"a":' * 51 + b"1" + b"}" * 51, Why.TOO_DEEP),
        (b"[" * 50 + b"1" + b"]" * 50, Why.WRONG_SHAPE),
        (b" " * (MAX_BODY_BYTES + 1), Why.TOO_LARGE),
        (b" " * MAX_BODY_BYTES, Why.NOT_JSON),
    ],
    ids=range(17),
)
def test_hostile_bytes_are_dead_letters(body, why):
    """Each for its reason; none reaches the caller as an exception."""
    answer = only(body)

    assert (answer.source, answer.why) == ("unknown", why)


def test_a_byte_order_mark_is_forgiven():
    """.NET writes one; the signature is over the bytes as they came."""
    assert only(signed(b"\xef\xbb\xbf" + VECTOR_BODY)).signed


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "latin-1", "GZIP", "?"])
def test_an_encoded_body_is_refused(encoding):
    """As a property or as a header."""
    assert only(PLAIN, content_encoding=encoding).why is Why.UNSUPPORTED_ENCODING
    assert only(PLAIN, headers={"Content-Encoding": encoding.encode()}).why is Why.UNSUPPORTED_ENCODING


@pytest.mark.parametrize("encoding", [None, "", "utf-8", "UTF-8", "binary", "identity"])
def test_encodings_that_change_nothing_are_accepted(encoding):
    """AMQP client libraries write the character set there."""
    assert isinstance(only(PLAIN, content_encoding=encoding), Event)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=8) | st.just(EMAIL),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
FIELD = st.sampled_from(["", "contract.created", "contract.amended", EMAIL, "c-1", "\ud800", 5, True, None]) | JSON
RESOURCE = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("id", "type", "contract_id", "contract_oid", "worker", "worker_email"), FIELD)
)
META = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("event_type", "event_id", "organization_id", "is_simulation"), FIELD)
)
SHAPES = st.one_of(
    st.fixed_dictionaries(
        {"data": st.fixed_dictionaries({"meta": META | FIELD, "resource": st.lists(RESOURCE) | RESOURCE})}
    ),
    st.fixed_dictionaries({}, optional=dict.fromkeys((*PLAIN, "specversion", "subject", "time", "data"), FIELD)),
    JSON,
)
BODIES = st.binary(max_size=64) | SHAPES.map(lambda document: json.dumps(document).encode())
HEADER = FIELD | st.binary(max_size=8) | st.just(datetime(2026, 1, 5, tzinfo=UTC))
NAMES = st.sampled_from(
    [f"cloudEvents:{name}" for name in (*ATTRIBUTES, "subject", "time")]
    + ["x-deel-signature", "X-Deel-Hmac-Label", "content-encoding", "cloudEvents_"]
)
MESSAGES = st.builds(
    Message,
    body=BODIES,
    headers=st.dictionaries(NAMES | st.text(max_size=4), HEADER, max_size=4),
    routing_key=st.sampled_from(["contract.created", "it-x", ""]) | st.text(max_size=8),
    content_type=st.sampled_from([None, STRUCTURED, "application/json"]) | st.text(max_size=8),
    content_encoding=st.none() | st.text(max_size=4),
)


@settings(deadline=None)  # promises are about answers, not about how busy the machine is
@given(MESSAGES, st.booleans())
def test_every_message_has_an_answer_that_is_always_the_same_and_tells_no_address(hostile, is_signed):
    """Never an exception, never nothing; reading is pure; no repr carries an e-mail address."""
    if is_signed:
        hostile = replace(hostile, headers=dict(hostile.headers) | dict(signed(hostile.body).headers))
    answers = read(hostile, KEYS)

    assert answers
    assert answers == read(replace(hostile), KEYS)
    assert all(len(each.dedup_key) <= 76 for each in answers)
    assert all(each.told is None for each in answers if isinstance(each, Event) and not each.signed)
    assert EMAIL not in repr(answers) + repr(replace(hostile, routing_key=""))


def test_mutated_webhooks_are_answered():
    """Two thousand broken copies of a real webhook: with its signature all are dead, without it each has answers."""
    chance, whole = random.Random(20260105), signed(WEBHOOK)
    seen = set()
    for _ in range(2000):
        body = bytearray(whole.body)
        for _ in range(chance.randint(1, 4)):
            place, length = chance.randrange(len(body)), chance.randint(0, 12)
            body[place : place + length] = chance.choice(
                (b"", b'"', b"{", b"[", b"]}", b"\x00", b"\xc3", b"null,", b"1e9")
            )
        mutant = replace(whole, body=bytes(body))
        assert bytes(body) == whole.body or only(mutant).why is Why.BAD_SIGNATURE
        seen |= {getattr(each, "why", "event") for each in read(replace(mutant, headers={}), KEYS)}

    assert {"event", Why.NOT_JSON, Why.BAD_CONTRACT_ID} <= seen


def test_reprs_show_nobody():
    """A signed event, its facts and the message itself may all end in a log line."""
    whole = replace(signed(WEBHOOK), routing_key="contract.created")

    assert repr(whole) == f"Message({len(whole.body)} bytes, routing_key='contract.created')"
    assert only(whole).told.emails == (SecretStr(EMAIL),)
    assert EMAIL not in repr(only(whole)) + str(only(whole).told)
