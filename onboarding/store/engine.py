"""The store: one engine, transactions that are tried again where that is safe, one error when it is away."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeVar

import structlog
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_random_exponential

from onboarding.failpoints import fail_point

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.engine.interfaces import DBAPIConnection

T = TypeVar("T")
log = structlog.get_logger(__name__)

# Source: PostgreSQL's table of SQLSTATEs. 40: serialization failure, deadlock. 55P03: lock_timeout ran out.
# 57014: statement_timeout. 08, 57P: the connection or the server went away. 53: disk full, out of memory,
# too many connections: it can pass, but not within a second. 25P03: our own idle_in_transaction_session_timeout, on a
# process that stood still. 25006: a standby that is not yet the primary.
AGAIN_AT_ONCE = ("40", "55P03", "08", "57P", "25P03")
UNAVAILABLE = ("53", "57014", "58", "25006")
_PASSING_WORDS = ("starting up", "shutting down", "recovery", "too many", "reserved", "terminating")
# at READ COMMITTED each statement sees a snapshot of its own anyway: without a transaction, two round trips less
_ALONE: dict[str, Any] = {"isolation_level": "AUTOCOMMIT"}
_READING: dict[str, dict[str, Any]] = {"sqlite": {"read_only": True}, "postgresql": _ALONE}
_WRITING_ONE: dict[str, dict[str, Any]] = {"sqlite": {}, "postgresql": _ALONE}


class StoreUnavailable(Exception):  # noqa: N818 - a state of the world, named as it is
    """The store cannot be reached or cannot write: nothing was written; try later."""


class StoreRefuses(StoreUnavailable):
    """The server is there and does not let us in: a wrong user, password or database. Waiting mends nothing."""


class Store:
    """Runs statements in short transactions. Thread-safe; to be made anew after a fork.

    `write` and `read` take a function of a connection and may call it more than once: it must have no effect
    but through the connection.
    """

    def __init__(self, url: str, *, patience_s: float = 5.0) -> None:
        self.engine = make_engine(url)
        self._reader = self.engine.execution_options(**_READING[self.engine.dialect.name])
        self._alone = self.engine.execution_options(**_WRITING_ONE[self.engine.dialect.name])
        self._retrying = Retrying(
            retry=retry_if_exception(_passing),
            stop=stop_after_delay(patience_s),
            wait=wait_random_exponential(multiplier=0.05, max=1.0),
            reraise=True,
        )

    def write(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in one transaction and commit it.

        Raises StoreUnavailable when the store stays away for longer than the patience.
        """

        def committing(db: Connection) -> T:
            result = work(db)
            fail_point("store.committing")
            return result

        written = self._run(committing, self.engine)
        fail_point("store.committed")
        return written

    def write_one(self, work: Callable[[Connection], T]) -> T:
        """Run `work`, which writes by one statement (and may read): a transaction by itself, in one round trip.

        Raises StoreUnavailable when the store stays away for longer than the patience.
        """
        fail_point("store.committing")
        written = self._run(work, self._alone)
        fail_point("store.committed")
        return written

    def read(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in one transaction that takes no write lock."""
        return self._run(work, self._reader)

    def close(self) -> None:
        """Give the connections back."""
        self.engine.dispose()

    def _run(self, work: Callable[[Connection], T], engine: Engine) -> T:
        try:
            for attempt in self._retrying:
                with attempt, engine.begin() as db:
                    result = work(db)
            return result
        except (DBAPIError, PoolTimeoutError) as error:
            refusal = _refusal(error)
            if refusal is not None:
                raise StoreRefuses(refusal) from None
            if _passing(error) or _state(error).startswith(UNAVAILABLE) or _sqlite_full(error):
                # the driver's text can quote parameters: it goes no further
                raise StoreUnavailable(f"{type(error).__name__} {_state(error)}".strip()) from None
            raise


def make_engine(url: str) -> Engine:
    """An engine for SQLite or PostgreSQL, set as the design says. hide_parameters: no value in an error's text."""
    if make_url(url).get_backend_name() == "sqlite":
        engine = create_engine(url, hide_parameters=True, connect_args={"timeout": 10, "isolation_level": None})
        event.listen(engine, "connect", _set_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    return create_engine(
        url,
        hide_parameters=True,
        isolation_level="READ COMMITTED",  # claims and keys rely on it, whatever the server's default is
        pool_size=5,
        max_overflow=10,
        pool_timeout=5,
        pool_pre_ping=False,  # a dead connection shows at its first statement, and `_run` tries again
        connect_args={
            "connect_timeout": 5,
            "application_name": "onboarding",
            "options": "-c statement_timeout=15000 -c lock_timeout=5000 -c idle_in_transaction_session_timeout=15000"
            " -c timezone=UTC",
            "tcp_user_timeout": 15000,
        },
    )


def _set_sqlite(connection: DBAPIConnection, _record: Any) -> None:
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=10000", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(db: Connection) -> None:
    # IMMEDIATE takes the write lock at once: a transaction that reads first and writes later would fail
    # with "database is locked" instead of waiting
    read_only = db.get_execution_options().get("read_only", False)
    db.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")


def _state(error: BaseException) -> str:
    return str(getattr(getattr(error, "orig", None), "sqlstate", None) or "")


def _refusal(error: BaseException) -> str | None:
    """PostgreSQL's own words where it refused the connection for good: such an error has no SQLSTATE.

    They name user, database or host, and no password.
    """
    if _state(error) or not isinstance(error, OperationalError):
        return None
    fatal = re.search(r"FATAL: +(.+)", str(error.orig))
    if fatal is None or any(word in fatal[1] for word in _PASSING_WORDS):
        return None
    return fatal[1].strip()


def _passing(error: BaseException) -> bool:
    """Whether the same transaction may well succeed a moment later."""
    if isinstance(error, PoolTimeoutError):
        return True
    if not isinstance(error, DBAPIError):
        return False
    if _state(error):
        return _state(error).startswith(AGAIN_AT_ONCE)
    if isinstance(error.orig, Exception) and type(error.orig).__module__.startswith("sqlite3"):
        return "locked" in str(error.orig) or "busy" in str(error.orig)
    return isinstance(error, OperationalError | InterfaceError)  # no state: it never reached the server


def _sqlite_full(error: BaseException) -> bool:
    words = str(getattr(error, "orig", ""))
    return any(word in words for word in ("full", "unable to open", "disk I/O", "readonly"))
