"""Which issue may be asked for: no replay, redelivery or race kills a token that works."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, update

from onboarding.runs import IssuedToken
from onboarding.store import data_keys, tokens
from onboarding.store.engine import Store
from onboarding.store.sql import from_now
from onboarding.store.tables import data_keys as data_keys_table
from onboarding.store.tables import runs, worker_tokens
from onboarding.store.tokens import Intended, Kept
from onboarding.vault import Keyring, VaultError
from tests.onboarding.store.rows import KEYRING, ORG, add_run, secret

DAY = timedelta(hours=24)


def intend(store: Store, run_id: str = "run-1", fence: int = 0):
    return store.write(lambda db: tokens.intend(db, run_id, fence, ORG, "p-1"))


def keep(store: Store, number: int, token: str = "t", life: timedelta = DAY) -> bool:
    issued = IssuedToken(number, secret(f"{token}-{number}"), datetime.now(UTC) + life)
    return store.write(lambda db: tokens.keep(db, KEYRING, "p-1", issued))


def live(store: Store, profile: str = "p-1"):
    return store.read(lambda db: tokens.live(db, KEYRING, profile))


def ask_reissue(store: Store, run_id: str = "run-1") -> None:
    store.write(lambda db: db.execute(update(runs).where(runs.c.id == run_id).values(reissue_asked=True)))


@pytest.fixture(autouse=True)
def _a_run(store: Store) -> None:
    add_run(store)


def test_an_unanswered_issue_is_asked_for_again_under_its_number(store: Store):
    """After a timeout the same number, hence the same Idempotency-Key, hence the same token."""
    assert [intend(store) for _ in range(3)] == [Intended(1, "run-1", wished=False)] * 3


def test_a_live_token_is_kept(store: Store):
    """A redelivered issue_token makes no call."""
    intend(store)
    assert keep(store, 1)
    assert isinstance(intend(store), Kept)


def test_a_token_with_little_life_left_is_replaced(store: Store):
    """Half an hour is no use to an app: the next number."""
    intend(store)
    keep(store, 1, life=timedelta(minutes=30))
    assert intend(store) == Intended(2, "run-1", wished=False)


def test_a_dead_token_is_replaced_and_a_later_one_is_not_buried(store: Store):
    """Burying names the issue that was refused: the token that replaced it lives."""
    intend(store)
    keep(store, 1)
    store.write(lambda db: tokens.bury(db, "p-1", 1))
    assert live(store) is None
    assert intend(store) == Intended(2, "run-1", wished=False)
    keep(store, 2)
    store.write(lambda db: tokens.bury(db, "p-1", 1))
    assert live(store).token.get_secret_value() == "t-2"


def test_a_wish_for_a_new_token_is_spent_once(store: Store):
    """--reissue takes the next number; a crash after the intent asks for that number, not for one more."""
    intend(store)
    keep(store, 1)
    ask_reissue(store)
    assert [intend(store), intend(store)] == [Intended(2, "run-1", wished=wish) for wish in (True, False)]
    keep(store, 2)
    assert isinstance(intend(store), Kept)


def test_two_runs_of_one_worker_share_its_token(store: Store):
    """A worker with two contracts has one token: the second run keeps it, and joins an unanswered issue."""
    add_run(store, "run-2")
    assert intend(store, "run-1") == Intended(1, "run-1", wished=False)
    assert intend(store, "run-2") == Intended(1, "run-1", wished=False)
    keep(store, 1)
    assert isinstance(intend(store, "run-2"), Kept)


def test_many_at_once_agree_on_one_issue(store: Store):
    """Whatever the interleaving, one number and one key."""
    for number in range(2, 6):
        add_run(store, f"run-{number}")
    with ThreadPoolExecutor(5) as pool:
        intents = set(pool.map(lambda number: intend(store, f"run-{number}"), range(1, 6)))
    assert len(intents) == 1


def test_a_stale_claim_may_not_intend(store: Store):
    """The fence guards the number, too."""
    assert intend(store, fence=7) is None
    assert store.read(lambda db: db.execute(select(worker_tokens)).all()) == []


def test_an_answer_to_an_older_issue_is_not_kept(store: Store):
    """A late answer must not replace the token that came after it."""
    intend(store)
    keep(store, 1)
    ask_reissue(store)
    intend(store)
    assert not keep(store, 1, token="late")
    assert live(store) is None
    keep(store, 2)
    assert live(store).token.get_secret_value() == "t-2"


def test_an_expired_token_leaves_the_vault(store: Store):
    """The moment it expires it is not handed out, and upkeep destroys it."""
    intend(store)
    keep(store, 1, life=timedelta(seconds=-1))
    assert live(store) is None
    assert store.write(tokens.forget_expired) == 1
    assert store.read(lambda db: db.execute(select(worker_tokens.c.sealed)).scalar_one()) is None


def test_a_token_moved_to_another_row_does_not_open(store: Store):
    """Neither under another profile nor under another issue number."""
    intend(store)
    keep(store, 1)
    store.write(lambda db: db.execute(update(worker_tokens).values(stored_issue=2, issue_number=2)))
    with pytest.raises(VaultError):
        live(store)
    store.write(lambda db: db.execute(update(worker_tokens).values(stored_issue=1, issue_number=1)))
    assert live(store) is not None
    store.write(lambda db: db.execute(update(worker_tokens).values(hris_profile_id="p-2")))
    store.write(lambda db: data_keys.get_or_make(db, KEYRING, f"worker:{ORG}:p-2"))
    with pytest.raises(VaultError):
        live(store, "p-2")
    stolen = update(data_keys_table).where(data_keys_table.c.subject == f"worker:{ORG}:p-1")
    store.write(lambda db: db.execute(data_keys_table.delete().where(data_keys_table.c.subject.endswith("p-2"))))
    store.write(lambda db: db.execute(stolen.values(subject=f"worker:{ORG}:p-2")))
    with pytest.raises(VaultError):
        live(store, "p-2")


def test_rotation_lets_the_old_key_go(store: Store):
    """After rewrapping, the new key alone opens what the old one wrapped."""
    intend(store)
    keep(store, 1)
    both = Keyring.from_setting("k2:" + "B" * 42 + "A=," + "k1:" + "A" * 43 + "=")
    while store.write(lambda db: data_keys.rewrap(db, both, 1)).rewrapped:
        pass
    alone = Keyring.from_setting("k2:" + "B" * 42 + "A=")
    assert store.read(lambda db: tokens.live(db, alone, "p-1")).token.get_secret_value() == "t-1"
    with pytest.raises(VaultError):
        store.read(lambda db: tokens.live(db, KEYRING, "p-1"))


def test_nothing_readable_lies_in_the_row(store: Store):
    """A dump of the table shows no token."""
    intend(store)
    keep(store, 1, token="canary")
    row = store.read(lambda db: db.execute(select(worker_tokens)).one())
    assert b"canary" not in row.sealed
    assert row.expires_at > datetime.now(UTC)
    store.write(lambda db: db.execute(update(worker_tokens).values(expires_at=from_now(-5))))
    assert live(store) is None
