"""What is wired for the steps and kept in the store."""

from __future__ import annotations

from onboarding.store.engine import Store
from onboarding.world import StoredSessionField


def test_the_field_of_a_session_is_remembered_for_all_processes(store: Store):
    """Per token: what Deel took once is what another process, or the next start, begins with."""
    first = StoredSessionField(store, "fingerprint", "hris_profile_id")
    assert first.get() == "hris_profile_id"
    first.remember("profile_id")

    assert first.get() == "profile_id"
    assert StoredSessionField(store, "fingerprint", "hris_profile_id").get() == "profile_id"
    assert StoredSessionField(store, "another", "hris_profile_id").get() == "hris_profile_id"
