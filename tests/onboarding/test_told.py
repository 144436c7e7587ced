"""What a signed webhook tells of a contract and its worker."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from onboarding.told import Told, address, facts

PROFILE = "5f4e1f77-0f1c-4f6d-8b0f-1b1b4b1b1b1b"


def addresses(resource):
    return [email.get_secret_value() for email in facts(resource).emails]


@pytest.mark.parametrize(
    "resource",
    [
        {"worker": {"email": "ana@example.com"}},
        {"worker": {"expected_email": "ana@example.com"}},
        {"invitations": {"client_email": "boss@example.com", "worker_email": "ana@example.com"}},
        {"employee": {"email": "ana@example.com"}},
        {"worker_email": "ana@example.com"},
        {"worker": {"email": "Ana@Example.COM", "expected_email": "ana@example.com"}},
    ],
)
def test_the_workers_address_is_found_wherever_deel_puts_it(resource):
    """Each address once, in lower case; the client's is never the worker's."""
    assert addresses(resource) == ["ana@example.com"]


def test_the_likeliest_address_comes_first():
    """What the worker's account has, before what was expected, before the invitation."""
    worker = {"email": "1@example.com", "expected_email": "2@example.com"}

    assert addresses({"invitations": {"worker_email": "3@example.com"}, "worker": worker}) == [
        *("1@example.com", "2@example.com", "3@example.com")
    ]


def test_an_alternate_address_is_not_believed():
    """Nobody has verified it."""
    assert addresses({"worker": {"alternate_email": [{"email": "eve@example.com", "isVerified": False}]}}) == []


@pytest.mark.parametrize(
    "value",
    [
        *(None, "", 5, True, ["ana@example.com"], "ana", "@example.com", "ana@", "ana@example", "ana@.com", "ana@a..b"),
        *("a@b@example.com", " ana@example.com", "ana@example.com\n", "Ana <ana@example.com>", "a,b@example.com"),
        *("ana@example.com.", "ana\u200b@example.com", "\ud800@example.com", "a\x00@example.com", "a" * 250 + "@b.cd"),
    ],
)
def test_what_is_no_address_is_missing(value):
    """The event goes on without it."""
    assert facts({"type": "eor", "worker": {"email": value}}) == Told(contract_type="eor")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("\u212aim@example.com", "kim@example.com"),  # the Kelvin sign: str.lower makes it k
        ("stra\u00dfe@example.com", "strasse@example.com"),  # sharp s: str.casefold makes it ss
        ("\u0130da@example.com", "i\u0307da@example.com"),  # I with a dot: str.lower makes it two characters
        ("\uff41na@example.com", "ana@example.com"),  # a full-width a: NFKC makes it a
    ],
)
def test_no_trick_of_unicode_makes_two_addresses_one(one, other):
    """Equality is what proves a worker's identity."""
    assert address(one) != address(other)


@settings(deadline=None)  # promises are about answers, not about how busy the machine is
@given(st.emails())
def test_an_address_is_its_own_form(email):
    """Writing it twice changes nothing, and the case of ASCII letters does not matter."""
    written = address(email)
    if written is not None:
        assert address(written.get_secret_value()) == written
        assert address(email.swapcase() if email.isascii() else email) == written


@pytest.mark.parametrize(("raw", "kept"), [("eor", "eor"), ("hris_direct_employee", "hris_direct_employee")])
def test_the_contracts_type_is_kept(raw, kept):
    """As Deel writes it."""
    assert facts({"type": raw}).contract_type == kept


@pytest.mark.parametrize("raw", ["", None, 5, "EOR", "eor ", "x" * 41, "ana@example.com", ["eor"]])
def test_a_type_that_is_none_is_missing(raw):
    """It is fetched then."""
    assert facts({"type": raw}).contract_type is None


@pytest.mark.parametrize(("raw", "kept"), [(PROFILE, PROFILE), (PROFILE.upper(), PROFILE)])
def test_the_workers_id_is_the_profiles(raw, kept):
    """In lower case, as Deel writes it elsewhere."""
    assert facts({"worker": {"id": raw}}).hris_profile_id == kept


@pytest.mark.parametrize("raw", ["", None, 5, "prf_1", f"{{{PROFILE}}}", PROFILE.replace("-", ""), f"{PROFILE}\n"])
def test_a_profile_id_that_is_no_uuid_is_missing(raw):
    """It would be taken for the profile without a look at Deel."""
    assert facts({"worker": {"id": raw}}).hris_profile_id is None


@pytest.mark.parametrize("resource", [None, 5, "x", [], {}, {"worker": None}, {"worker": []}, {"invitations": "x"}])
def test_a_resource_of_another_shape_tells_nothing(resource):
    """And raises nothing."""
    assert facts(resource) == Told()


def test_what_is_told_shows_nobody():
    """It may end in a log line."""
    told = facts({"worker": {"email": "ana@example.com"}})

    assert told.emails == (SecretStr("ana@example.com"),)
    assert "ana" not in repr(told)
