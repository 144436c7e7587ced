"""Events as people watch them arrive, and how many of the runs' contracts a webhook told of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Connection, Integer, and_, bindparam, case, func, or_, select

from onboarding.envelopes import Source
from onboarding.store.sql import clock, from_now
from onboarding.store.tables import events, runs

DAYS: Final = 30
MOST: Final = 1000

_COLUMNS: Final = (*(column for column in events.c if column is not events.c.dedup_key), clock().label("now"))
_SINCE: Final = (
    select(*_COLUMNS).where(events.c.id > bindparam("seen", type_=Integer)).order_by(events.c.id).limit(MOST)
)
_LATEST: Final = select(*_COLUMNS).order_by(events.c.id.desc()).limit(bindparam("most", type_=Integer))

# a consent tells of the worker, not that there is a contract
_OF_CONTRACTS: Final = or_(events.c.type.is_(None), events.c.type.not_like("worker.consent.%"))
_BY_WEBHOOK: Final = and_(events.c.source != Source.BACKFILL, _OF_CONTRACTS)
_MADE_IT: Final = and_(events.c.disposition == "accepted", events.c.reason.is_(None))


def _any_of(condition: Any, name: str) -> Any:
    return func.max(case((condition, 1), else_=0)).label(name)


_OF_RUN: Final = (
    select(
        events.c.run_id,
        _any_of(_MADE_IT, "made"),
        _any_of(_MADE_IT & _BY_WEBHOOK, "by_webhook"),
        _any_of(_BY_WEBHOOK, "told"),
    )
    .where(events.c.received_at > from_now(-DAYS * 86_400.0), events.c.run_id.is_not(None))
    .group_by(events.c.run_id)
    .subquery()
)
_HOW: Final = case(
    (_OF_RUN.c.by_webhook == 1, "told_by_webhook"),
    (_OF_RUN.c.told == 1, "told_late"),
    else_="found_by_poll_only",
).label("how")
_COMPLETENESS: Final = (
    select(runs.c.organization_id, _HOW, func.count().label("contracts"))
    .join_from(_OF_RUN, runs, runs.c.id == _OF_RUN.c.run_id)
    .where(_OF_RUN.c.made == 1)
    .group_by(runs.c.organization_id, _HOW)
    .order_by(runs.c.organization_id)
)
HOWS: Final = ("told_by_webhook", "told_late", "found_by_poll_only")


def last_id(db: Connection) -> int:
    """The number of the event that was filed last; 0: none."""
    return int(db.execute(select(func.coalesce(func.max(events.c.id), 0))).scalar_one())


def since(db: Connection, number: int) -> Sequence[Any]:
    """Events behind that one, oldest first, a thousand at most; each with the database's `now`."""
    return db.execute(_SINCE, {"seen": number}).all()


def latest(db: Connection, most: int) -> Sequence[Any]:
    """The last so many, oldest first."""
    return list(reversed(db.execute(_LATEST, {"most": most}).all()))


def completeness(db: Connection) -> dict[str, dict[str, int]]:
    """Of the runs that events of the last 30 days made: by organisation, how each came to be known, as counts."""
    found: dict[str, dict[str, int]] = {}
    for row in db.execute(_COMPLETENESS):
        found.setdefault(row.organization_id, dict.fromkeys(HOWS, 0))[row.how] = row.contracts
    return found
