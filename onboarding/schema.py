"""Whether the store has the tables that this release needs: asked by every process before it takes up work."""

from __future__ import annotations

import logging

from onboarding.store import migrate
from onboarding.store.engine import Store

logging.getLogger("alembic").setLevel(logging.WARNING)  # at each look it tells which kind of database it sees
UPGRADE = "onboarding db upgrade"


class SchemaMissing(Exception):  # noqa: N818 - a state of the world, named as it is
    """The store answers, and lacks tables that this release needs."""


def check(store: Store) -> None:
    """Raises SchemaMissing, or StoreUnavailable while the store is away.

    Revisions are numbered, and a newer one serves the release before.
    """
    current, head = migrate.current(store), migrate.head()
    if current is None:
        raise SchemaMissing("The store has no tables yet.")
    if current < head:
        raise SchemaMissing(f"The store's schema is of an older release: it is at {current}, this one needs {head}.")
