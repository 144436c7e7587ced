"""Service keys in the store: a digest, a rate that all processes count together, a revocation that holds."""

from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from sqlalchemy import select, update

from onboarding import service_keys as keys
from onboarding.masking import mask
from onboarding.service_keys import Scope
from onboarding.store import service_keys
from onboarding.store.engine import Store
from onboarding.store.tables import service_keys as table


def add(store: Store, name: str = "app", per_minute: int = 600, new: keys.NewKey | None = None) -> keys.NewKey:
    made = new or keys.make()
    values: dict[str, Any] = {"scope": Scope.TOKEN, "organization_id": None, "per_minute": per_minute}
    assert store.write(lambda db: service_keys.add(db, made, name=name, **values))
    return made


def take(store: Store, key: keys.NewKey) -> bool:
    return store.write(lambda db: service_keys.take(db, key.id))


def test_the_store_keeps_a_digest_and_nothing_of_the_key(store: Store):
    """Which tells nothing of 256 random bits; and masking knows a key's shape."""
    new = add(store)
    text = new.key.get_secret_value()
    row = store.read(lambda db: db.execute(select(table)).one())
    secret = text.rpartition(f"{new.id}_")[2]
    assert secret not in str(tuple(row))
    assert (keys.id_in(text), keys.is_key(text, row.digest)) == (new.id, True)
    assert not keys.is_key(text[:-1] + ("A" if text[-1] != "A" else "B"), row.digest)
    assert len(secret) == 43
    assert secret not in str(mask(f"it said {text}, twice"))
    assert secret not in str(mask(text))
    assert "aaaa" not in str(mask(f"a key without any chance in it: onb_{new.id}_{'a' * 43}"))
    assert re.fullmatch("[0-9a-f]{12}", new.id)


def test_a_name_is_given_once(store: Store):
    """Also after the key was revoked: audit lines go by it. The same one again, as after a lost commit, is no other."""
    new = add(store)
    add(store, new=new)
    store.write(lambda db: service_keys.revoke(db, "app"))
    assert not store.write(
        lambda db: service_keys.add(db, keys.make(), name="app", scope=Scope.TOKEN, organization_id=None, per_minute=1)
    )
    assert len(store.read(service_keys.listing)) == 1


def test_however_many_ask_at_once_a_rate_is_kept(store: Store):
    """Ten seconds' worth, and what has come due since; its last use shows."""
    key = add(store, per_minute=60)
    began = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        taken = sum(pool.map(lambda _: take(store, key), range(60)))
    assert 10 <= taken <= 11 + int(time.monotonic() - began) + 1
    row = store.read(lambda db: service_keys.find(db, key.id))
    assert row is not None
    assert row.last_used_at >= row.created_at
    assert 0 < row.early_s <= 1


def test_a_clock_that_was_set_back_locks_nobody_out(store: Store):
    """What was written before is further ahead than any request can get."""
    key = add(store, per_minute=1)
    store.write(lambda db: db.execute(update(table).values(due_at=table.c.due_at + 4e9)))
    assert take(store, key)
    assert not take(store, key)


def test_a_revoked_key_takes_nothing(store: Store):
    """Revoking it again does not change when it was."""
    key = add(store)
    first = store.write(lambda db: service_keys.revoke(db, "app"))
    second = store.write(lambda db: service_keys.revoke(db, "app"))
    assert first is not None
    assert second is not None
    assert first.revoked_at == second.revoked_at is not None
    assert not take(store, key)
    assert store.write(lambda db: service_keys.revoke(db, "nobody")) is None
