"""Which target has which message: delivered, refused, or to be tried again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Any

from sqlalchemy import ColumnElement, Connection, bindparam, exists, or_, select, update

from onboarding.store.sql import from_now, seconds
from onboarding.store.tables import notifications
from onboarding.store.upsert import or_ignore

_OPEN = notifications.c.delivered_at.is_(None) & notifications.c.refused_at.is_(None)
_PREPARE = {name: or_ignore(name, notifications, *notifications.c) for name in ("postgresql", "sqlite")}
_OF_MESSAGE = select(notifications).where(notifications.c.message_id == bindparam("message"))
_ROW = update(notifications).where(
    notifications.c.message_id == bindparam("message"), notifications.c.target == bindparam("at_target")
)
_DELIVERED = _ROW.values(tries=notifications.c.tries + 1, delivered_at=from_now())
_REFUSED = _ROW.values(refused_at=from_now())
_FAILED = _ROW.values(tries=notifications.c.tries + 1, next_try_at=from_now(seconds("due_in")))


def prepare(db: Connection, run_id: str, message_id: str, targets: Iterable[str]) -> Sequence[Any]:
    """Write down a message for each target before anything is sent; returns its rows, also those of an earlier try.

    Doing it again changes nothing: id, time and what was delivered stay. One statement, and another that reads
    where it was done before.
    """
    new = [{"message_id": message_id, "target": target, "run_id": run_id} for target in targets]
    made = db.execute(_PREPARE[db.dialect.name], new).all() if new else []
    return made if len(made) == len(new) else db.execute(_OF_MESSAGE, {"message": message_id}).all()


def take_due(db: Connection, message_id: str, for_s: float) -> Sequence[Any]:
    """The open rows whose time has come, for this caller alone: for so many seconds nobody else gets them."""
    due = or_(notifications.c.next_try_at.is_(None), notifications.c.next_try_at <= from_now())
    return db.execute(
        update(notifications)
        .where(notifications.c.message_id == message_id, _OPEN, due)
        .values(next_try_at=from_now(for_s))
        .returning(*notifications.c)
    ).all()


def is_open(db: Connection, message_id: str, targets: Iterable[str]) -> bool:
    """Whether one of these targets may still be tried again."""
    query = select(notifications.c.target).where(notifications.c.message_id == message_id, _OPEN)
    return db.execute(query.where(notifications.c.target.in_(list(targets))).limit(1)).first() is not None


def open_of(run_id: ColumnElement[str]) -> ColumnElement[bool]:
    """Of a query about runs: whether a message of the run was neither delivered nor refused."""
    return exists().where(notifications.c.run_id == run_id, _OPEN)


def delivered(db: Connection, message_id: str, target: str, http_status: int | None) -> None:
    """The target took it."""
    db.execute(_DELIVERED, {"message": message_id, "at_target": target, "http_status": http_status})


def refused(db: Connection, message_id: str, target: str, http_status: int | None) -> None:
    """The target said that it never will: not tried again by itself."""
    db.execute(_REFUSED, {"message": message_id, "at_target": target, "http_status": http_status})


def failed(db: Connection, message_id: str, target: str, http_status: int | None, wait_s: float) -> None:
    """The target did not answer, or with 5xx."""
    row = {"message": message_id, "at_target": target}
    db.execute(_FAILED, row | {"due_in": wait_s, "http_status": http_status})


def reopen(db: Connection, run_id: str) -> None:
    """A replay asks targets that had refused once more."""
    db.execute(update(notifications).where(notifications.c.run_id == run_id).values(refused_at=None, next_try_at=None))


def gone(db: Connection, run_id: str) -> set[str]:
    """Targets that answered 410 to this run's messages: they are not told that it failed because of that."""
    query = select(notifications.c.target).where(
        notifications.c.run_id == run_id,
        notifications.c.refused_at.is_not(None),
        notifications.c.http_status == HTTPStatus.GONE,
    )
    return set(db.execute(query).scalars())


def of_run(db: Connection, run_id: str) -> Sequence[Any]:
    """Every message of a run and target, the oldest first."""
    query = select(notifications).where(notifications.c.run_id == run_id)
    return db.execute(query.order_by(notifications.c.created_at, notifications.c.target)).all()
