"""How each kind of sender signs, and that nothing else passes for it."""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from standardwebhooks.webhooks import Webhook

from onboarding.signatures import DEEL, Encoding, Scheme, Verdict, judge
from onboarding.webhook_sources import PROFILES
from tests.onboarding.hris_messages import VECTOR_BODY, VECTOR_SIGNATURE

BODY = b'{"test": 2432232314}'
KEY, SEED = "a key", base64.b64encode(b"a key of 24 bytes, about").decode()
NOW = 1_614_265_330
SCHEMES = {
    "deel": DEEL,
    "hmac": Scheme("x-acme", prefix="sha256="),
    **{name: profile.scheme for name, profile in PROFILES.items() if name != "hmac"},
}


def said(scheme: Scheme, headers: dict[str, object], body: bytes = BODY, now: float = NOW, **keys: str) -> Verdict:
    return judge(scheme, body, headers, {label: SecretStr(key) for label, key in keys.items()}, lambda: now)


def mac(content: bytes, algorithm: str = "sha256", key: bytes = KEY.encode()) -> bytes:
    return hmac.new(key, content, getattr(hashlib, algorithm)).digest()


# What each page says, written down once more: not by the code under test. The first two are published vectors.
STAMP = str(NOW)
GENUINE: dict[str, tuple[str, dict[str, object]]] = {
    "standard": (
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        {
            "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
            "webhook-timestamp": STAMP,
            "webhook-signature": "v1a,x v1,AAAA v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        },
    ),
    "finch": (
        SEED,
        {
            "finch-event-id": "msg_1",
            "finch-timestamp": STAMP,
            "finch-signature": b"v1,"
            + base64.b64encode(mac(b"msg_1." + STAMP.encode() + b"." + BODY, key=base64.b64decode(SEED))),
        },
    ),
    "bamboohr": (
        KEY,
        {"x-bamboohr-timestamp": STAMP, "x-bamboohr-signature": mac(BODY + STAMP.encode()).hex()},
    ),
    "hibob": (KEY, {"bob-signature": base64.b64encode(mac(BODY, "sha512")).decode()}),
    "merge": (KEY, {"x-merge-webhook-signature": base64.urlsafe_b64encode(mac(BODY)).decode()}),
    "greenhouse": (KEY, {"signature": f"sha256 {mac(BODY).hex()}"}),
    "hmac": (KEY, {"x-acme": f"sha256={mac(BODY).hex()}"}),
    "deel": (KEY, {"x-deel-signature": mac(b"POST" + BODY).hex(), "x-deel-hmac-label": "new"}),
}
NAMES = sorted(GENUINE)


def test_every_profile_is_tried_here():
    """One that is added needs its page read."""
    assert set(GENUINE) == set(SCHEMES) == {*PROFILES, "deel"}


@pytest.mark.parametrize("name", NAMES)
def test_what_the_sender_signs_is_right(name: str):
    """With its own key, beside another: for a while each sender has two."""
    key, headers = GENUINE[name]
    assert said(SCHEMES[name], headers, old=SEED, new=key) is Verdict.RIGHT


@pytest.mark.parametrize("name", NAMES)
def test_without_its_key_nothing_is_proven(name: str):
    """Another key: wrong. None at all, or no signature: unproven, which is as little."""
    _, headers = GENUINE[name]
    assert said(SCHEMES[name], headers, new=SEED[::-1] if "=" not in SEED else SEED.replace("Y", "Z")) is Verdict.WRONG
    assert said(SCHEMES[name], headers) is Verdict.UNPROVEN
    assert said(SCHEMES[name], {**headers, SCHEMES[name].header: ""}, new=SEED) is Verdict.UNPROVEN
    assert said(SCHEMES[name], {}, new=SEED) is Verdict.UNPROVEN


@pytest.mark.parametrize("name", NAMES)
def test_any_changed_byte_is_seen(name: str):
    """Of the body, of the id, of the time."""
    key, headers = GENUINE[name]
    scheme = SCHEMES[name]
    for place in range(len(BODY)):
        assert said(scheme, headers, BODY[:place] + b"!" + BODY[place + 1 :], new=key) is Verdict.WRONG
    if scheme.id_header:
        assert said(scheme, {**headers, scheme.id_header: "msg_2"}, new=key) is Verdict.WRONG
    if scheme.timestamp_header:
        assert said(scheme, {**headers, scheme.timestamp_header: str(NOW + 1)}, new=key) is Verdict.WRONG


@pytest.mark.parametrize("name", [name for name in NAMES if SCHEMES[name].timestamp_header])
def test_a_recording_is_too_old_after_five_minutes(name: str):
    """And one from the future is as bad; no time at all is none."""
    key, headers = GENUINE[name]
    scheme = SCHEMES[name]
    verdicts = [said(scheme, headers, now=NOW + off, new=key) for off in (-301, -300, 300, 301)]
    assert verdicts == [Verdict.WRONG, Verdict.RIGHT, Verdict.RIGHT, Verdict.WRONG]
    for odd in ("", " 1", "1e9", "-5", "\u0661", "9" * 400, "1614265330.0", None, 7):
        assert said(scheme, {**headers, scheme.timestamp_header: odd}, new=key) is Verdict.WRONG


def test_deels_own_vector():
    """Lower-case hex, "POST" before the body."""
    headers: dict[str, object] = {"x-deel-signature": VECTOR_SIGNATURE, "x-deel-hmac-label": "New Webhook"}
    keys = {"New Webhook": "whsec_test"}
    assert said(DEEL, headers, VECTOR_BODY, **keys) is Verdict.RIGHT
    assert said(DEEL, {**headers, "x-deel-signature": VECTOR_SIGNATURE.upper()}, VECTOR_BODY, **keys) is Verdict.WRONG


def test_finchs_own_vector():
    """Of the tests of Finch's libraries; its key has no prefix."""
    headers: dict[str, object] = {
        "finch-event-id": "msg_2Lh9KRb0pzN4LePd3XiA4v12Axj",
        "finch-timestamp": "1676312382",
        "finch-signature": "v1,m7y0TV2C+hlHxU42wCieApTSTaA8/047OAplBqxIV/s=",
    }
    body = b'{"company_id":"720be419-0293-4d32-a707-32179b0827ab"}'
    key = "5WbX5kEWLlfzsGNjH64I8lOOqUB6e8FH"
    assert said(PROFILES["finch"].scheme, headers, body, now=1676312382, k=key) is Verdict.RIGHT


def test_the_library_that_signs_our_own_webhooks_agrees():
    """What standardwebhooks signs is right here."""
    signature = Webhook(f"whsec_{SEED}").sign("msg_1", datetime.fromtimestamp(NOW, UTC), BODY.decode())
    headers: dict[str, object] = {"webhook-id": "msg_1", "webhook-timestamp": STAMP, "webhook-signature": signature}
    assert said(PROFILES["standard"].scheme, headers, k=f"whsec_{SEED}") is Verdict.RIGHT


def test_padding_says_nothing():
    """Some who write base64url leave it out."""
    _, headers = GENUINE["merge"]
    bare = {name: str(value).rstrip("=") for name, value in headers.items()}
    assert bare != headers
    assert said(SCHEMES["merge"], bare, k=KEY) is Verdict.RIGHT


@pytest.mark.parametrize("encoding", Encoding)
@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_a_plain_header_as_the_settings_describe_it(encoding: Encoding, algorithm: str):
    """Each combination signs and verifies, and none verifies as another."""
    scheme = Scheme("x-acme", algorithm=algorithm, encoding=encoding)  # type: ignore[arg-type]
    made = scheme.sign(BODY, KEY.encode())
    assert said(scheme, {"x-acme": made}, k=KEY) is Verdict.RIGHT
    other = Scheme("x-acme", algorithm="sha256" if algorithm == "sha512" else "sha512", encoding=encoding)
    assert said(other, {"x-acme": made}, k=KEY) is Verdict.WRONG


VALUES = st.one_of(st.none(), st.integers(), st.text(), st.binary(), st.lists(st.text(), max_size=2))


@given(name=st.sampled_from(NAMES), data=st.data())
def test_no_header_raises_or_passes(name: str, data: st.DataObject):
    """Not ASCII, without a comma, huge, of another kind: a verdict, and never the right one."""
    scheme = SCHEMES[name]
    names = [each for each in (scheme.header, scheme.id_header, scheme.timestamp_header, scheme.label_header) if each]
    headers: dict[str, object] = {each: data.draw(VALUES) for each in names}
    body = data.draw(st.binary(max_size=50))
    assert said(scheme, headers, body, k=SEED) is not Verdict.RIGHT


def test_a_long_list_of_signatures_costs_comparisons_only():
    """What the header has room for."""
    headers = {**GENUINE["standard"][1], "webhook-signature": "v1,x " * 6000}
    assert said(SCHEMES["standard"], headers, k=SEED) is Verdict.WRONG
