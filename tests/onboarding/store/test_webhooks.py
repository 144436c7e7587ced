"""Which subscriptions ought to be at Deel, and what the last look found."""

from __future__ import annotations

from typing import Any

from onboarding.deel_wanted import Trouble, Wanted
from onboarding.store import webhooks
from onboarding.store.engine import Store

WANTED = Wanted("onboarding", "https://hooks.example.com/webhooks/deel", ("contract.created", "worker.v2.created"))


def only(store: Store) -> Any:
    (row,) = store.read(webhooks.expected)
    return row


def test_what_is_expected_is_written_once_and_renewed(store: Store):
    """Of one label there is one, the newest; and it comes back as it went in."""
    store.write(lambda db: webhooks.expect(db, "org-1", Wanted("onboarding", "https://old.example", ()), "sub-0"))
    store.write(lambda db: webhooks.expect(db, "org-1", WANTED, "sub-1"))
    row = only(store)
    assert (webhooks.wanted_of(row), row.deel_id, row.trouble) == (WANTED, "sub-1", None)


def test_a_trouble_is_new_once(store: Store):
    """Until it is another one, or over: of two looks at one moment, one tells it."""
    store.write(lambda db: webhooks.expect(db, "org-1", WANTED, "sub-1"))
    row = only(store)
    told = []
    for trouble in (None, Trouble.DISABLED, Trouble.DISABLED, Trouble.MISSING, None, None):
        told.append(store.write(lambda db, trouble=trouble: webhooks.saw(db, row, trouble)))
        assert only(store).trouble == trouble
    assert told == [False, True, False, True, True, False]


def test_a_deleted_one_is_expected_no_more(store: Store):
    """By its id: another organisation's stays."""
    store.write(lambda db: webhooks.expect(db, "org-1", WANTED, "sub-1"))
    store.write(lambda db: webhooks.expect(db, "org-2", WANTED, "sub-2"))
    store.write(lambda db: webhooks.forget(db, "org-1", "sub-1"))
    store.write(lambda db: webhooks.forget(db, "org-1", "sub-2"))
    assert only(store).organization_id == "org-2"
