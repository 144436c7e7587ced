import base64
import pickle
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import SecretStr

from onboarding.vault import DataKey, KeyMissing, Keyring, Tampered, WrappedKey, open_sealed, seal

PLACE = ("org-1", "profile-1", 1, "token")
TOKEN = SecretStr("worker-token-7d1f")
OLD = "old:" + base64.b64encode(b"o" * 32).decode()
NEW = "new:" + base64.b64encode(b"n" * 32).decode()

PARTS = st.text() | st.integers()
PLACES = st.lists(PARTS, min_size=1, max_size=5).map(tuple)


@pytest.fixture(scope="module")
def ring() -> Keyring:
    return Keyring.from_setting(OLD)


@pytest.fixture(scope="module")
def data_key(ring: Keyring) -> DataKey:
    return ring.new_data_key("worker-1")[0]


@given(text=st.text(st.characters()), place=PLACES)
def test_what_is_sealed_opens_in_its_place(data_key, text, place):
    """Any text comes back as it was, wherever it is kept."""
    assert open_sealed(data_key, place, seal(data_key, place, SecretStr(text))).get_secret_value() == text


@pytest.mark.parametrize(
    "elsewhere",
    [
        ("org-2", "profile-1", 1, "token"),
        ("org-1", "profile-2", 1, "token"),
        ("org-1", "profile-1", 2, "token"),
        ("org-1", "profile-1", "1", "token"),
        ("org-1", "profile-1", 1, "email"),
        ("org-1profile-1", "", 1, "token"),
        ("org-1", "profile-1", 1, "token", ""),
    ],
)
def test_a_ciphertext_opens_in_no_other_place(data_key, elsewhere):
    """Moved to another organisation, profile, issue or column it does not open."""
    with pytest.raises(Tampered):
        open_sealed(data_key, elsewhere, seal(data_key, PLACE, TOKEN))


@given(here=PLACES, there=PLACES)
def test_no_two_places_are_the_same(data_key, here, there):
    """Whatever characters their parts hold, two places never share their associated data."""
    assume(list(map(repr, here)) != list(map(repr, there)))

    with pytest.raises(Tampered):
        open_sealed(data_key, there, seal(data_key, here, TOKEN))


def test_another_data_key_does_not_open_it(ring, data_key):
    """Nor does the same key under another id: a row's key id cannot be rewritten."""
    blob = seal(data_key, PLACE, TOKEN)

    for other in (ring.new_data_key("worker-1")[0], replace(data_key, id="0" * 16)):
        with pytest.raises(Tampered, match=r"^token does not open"):
            open_sealed(other, PLACE, blob)


def test_every_single_flipped_bit_is_noticed(ring, data_key):
    """In the version, the nonce, the text or the tag, of values and of wrapped keys alike: all were tried."""
    _, wrapped = ring.new_data_key("worker-1")

    for blob in flipped(seal(data_key, PLACE, TOKEN)):
        with pytest.raises(Tampered):
            open_sealed(data_key, PLACE, blob)
    for blob in flipped(wrapped.blob):
        with pytest.raises(Tampered):
            ring.unwrap(replace(wrapped, blob=blob))


def flipped(blob: bytes) -> list[bytes]:
    number = int.from_bytes(blob)
    return [(number ^ (1 << bit)).to_bytes(len(blob)) for bit in range(len(blob) * 8)]


def test_every_cut_is_noticed(data_key):
    """However short a ciphertext was cut, the empty one included."""
    blob = seal(data_key, PLACE, TOKEN)

    for length in range(len(blob)):
        with pytest.raises(Tampered):
            open_sealed(data_key, PLACE, blob[:length])


def test_a_wrapped_key_opens_for_its_own_subject_and_id(ring):
    """A worker's data key moved to another worker's row does not open."""
    key, wrapped = ring.new_data_key("worker-1")

    assert ring.unwrap(wrapped) == key
    for moved in (replace(wrapped, subject="worker-2"), replace(wrapped, id="0" * 16)):
        with pytest.raises(Tampered, match=r"^the data key does not open"):
            ring.unwrap(moved)


def test_a_wrapped_key_opens_under_its_own_master_key_id():
    """The id of the key that wrapped it is part of it: two names for one key are two keys."""
    both = Keyring.from_setting(f"{OLD},again:{OLD.partition(':')[2]}")
    _, wrapped = both.new_data_key("worker-1")

    with pytest.raises(Tampered):
        both.unwrap(replace(wrapped, master_key_id="again"))


def test_a_missing_key_is_named(ring):
    """The error says which key id to put back, and where."""
    _, wrapped = ring.new_data_key("worker-1")

    with pytest.raises(KeyMissing, match=r"ONBOARDING_VAULT_KEYS lacks key id old: put that key back"):
        Keyring.from_setting(NEW).unwrap(wrapped)


def test_rotation_keeps_every_token():
    """New key first, old one behind it: all opens; wrapped again, the old key can go; no value was touched."""
    key, wrapped = Keyring.from_setting(OLD).new_data_key("worker-1")
    blob = seal(key, PLACE, TOKEN)
    both = Keyring.from_setting(f"{NEW},{OLD}")

    assert open_sealed(both.unwrap(wrapped), PLACE, blob) == TOKEN
    again = both.rewrap(wrapped)

    assert (again.id, again.subject, again.master_key_id) == (wrapped.id, wrapped.subject, "new")
    assert open_sealed(Keyring.from_setting(NEW).unwrap(again), PLACE, blob) == TOKEN


def test_a_key_without_an_id_gets_the_same_one_everywhere():
    """The id is made from the key, so that all processes agree on it; the key cannot be read from it."""
    key = base64.b64encode(b"k" * 32).decode()

    assert Keyring.from_setting(key).first == Keyring.from_setting(f" {key} ,").first == "5e318f8c"


@pytest.mark.parametrize("setting", ["", ",", "canary", "a:canary", "a:Y2FuYXJ5", f"{OLD},{OLD}", f"ca nary:{OLD[4:]}"])
def test_a_bad_setting_is_refused_without_being_shown(setting):
    """Each fault is a ValueError that repeats no part of the setting."""
    with pytest.raises(ValueError) as caught:
        Keyring.from_setting(setting)

    assert not any(part in str(caught.value) for part in ("canary", "ca nary", "Y2Fu", OLD[4:]))


def test_nothing_about_a_key_is_printed_or_pickled(ring):
    """Neither repr nor str nor an error's text shows a key, and pickle refuses it."""
    key, wrapped = ring.new_data_key("worker-1")
    raw = key.key.get_secret_value()

    for thing in (key, ring, wrapped, vars(key), vars(ring)):
        for secret in (raw, b"o" * 32):
            assert repr(secret)[2:-1] not in f"{thing!r} {thing!s}"
    for thing in (key, ring):
        with pytest.raises(TypeError, match="is not pickled"):
            pickle.dumps(thing)
    assert pickle.loads(pickle.dumps(wrapped)) == wrapped


def test_a_ciphertext_shows_no_plaintext_and_is_never_the_same_twice(data_key):
    """Each sealing draws a nonce of its own."""
    blobs = [seal(data_key, PLACE, TOKEN) for _ in range(2000)]

    assert len({blob[1:13] for blob in blobs}) == len(blobs)
    assert not any(TOKEN.get_secret_value().encode() in blob for blob in blobs)


def test_each_subject_gets_a_key_of_its_own(ring):
    """To drop one worker's data key is to lose nobody else's token."""
    made = [ring.new_data_key("worker-1") for _ in range(50)]

    assert len({key.id for key, _ in made}) == len({key.key.get_secret_value() for key, _ in made}) == 50
    assert all(isinstance(wrapped, WrappedKey) and key.id == wrapped.id for key, wrapped in made)
