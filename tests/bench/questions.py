"""What is asked of a store that has grown: how long each answer takes, and by which plan it was found."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, event

from onboarding.cli.chosen import chosen
from onboarding.runs import Reason, State
from onboarding.store import consents, line, org_tokens, organizations, retention, runs, tokens, upkeep
from onboarding.store.engine import Store
from onboarding.store.line import Line
from onboarding.store.retention import Retention
from tests.bench.figures import Figure, percentile
from tests.bench.filling import HELD_UP, IN_LINE, OLDEST_DAYS

LONGEST: Final = 400  # characters of a statement, or of a line of its plan: some name hundreds of ids
TIMES: Final = 20
"""More than psycopg needs to prepare a statement, and PostgreSQL to think of a plan for all parameters."""
LISTED: Final = 51  # `onboarding runs` asks for one more than it shows
AIM_MS: Final = 100.0
STATS_AIM_MS: Final = 1000.0
BATCH_AIM_MS: Final = 500.0


@dataclass(frozen=True)
class Question:
    """Something that the product asks, by the product's own function."""

    what: str
    ask: Callable[[Connection], object]
    aim_ms: float = AIM_MS


@dataclass(frozen=True)
class Answered:
    """How long it took each time, in milliseconds, and the plan of each statement."""

    question: Question
    took_ms: list[float]
    plans: dict[str, list[str]]

    @property
    def figure(self) -> Figure:
        """Judged by the slowest but one: the very first time may wait for the disk."""
        slow, aim = percentile(self.took_ms, 0.95), self.question.aim_ms
        return Figure(self.question.what, f"{slow:.1f} ms", f"< {aim:.0f} ms", slow < aim)


def questions(run_names: list[str]) -> list[Question]:
    """All of them. `run_names`: of a hundred runs, by id or by contract."""
    return [
        Question("onboarding runs", lambda db: runs.listing(db, limit=LISTED)),
        *(
            Question(f"  --state {state}", lambda db, state=state: runs.listing(db, state=state, limit=LISTED))  # type: ignore[misc]
            for state in State
        ),
        *(
            Question(
                f"  --reason {reason}",
                lambda db, reason=reason: runs.listing(db, reason=reason, limit=LISTED),  # type: ignore[misc]
            )
            for reason in (Reason.REQUEST_REJECTED, Reason.NOTIFY_UNAVAILABLE, Reason.CRASH_LOOP)
        ),
        Question("  what is stuck, and why", runs.stuck),
        Question("onboarding replay: the plan of 100 runs", lambda db: chosen(db, run_names)),
        Question("onboarding org list", org_tokens.listing),
        Question("reconciler: organisations with a run due", line.organizations_due),
        Question("  whose turn, 100,000 in line", lambda db: line.take(db, IN_LINE, Line())),
        Question("  room for one more, 100,000 held up", lambda db: line.room(db, HELD_UP, Line())),
        Question("  behind: replays that wait", lambda db: line.waiting_behind(db, HELD_UP)),
        Question("  a clock that jumped back", lambda db: upkeep.mend_clock(db, 60.0)),
        Question("  probes, 100,000 held up", organizations.nudge_probes),
        Question("  consents no longer asked for", consents.nudge_all),
        Question("  tokens that expired", tokens.forget_expired),
        Question("  failures nobody was told of", lambda db: upkeep.untold_failures(db, 100)),
        Question("retention: runs, none of them old", lambda db: retention.retire_runs(db, Retention())),
        Question("  500 runs", lambda db: retention.retire_runs(db, Retention(OLDEST_DAYS - 40)), BATCH_AIM_MS),
        Question("  500 attempts", lambda db: retention.retire_attempts(db, Retention()), BATCH_AIM_MS),
        Question("  500 events", lambda db: retention.retire_events(db, Retention()), BATCH_AIM_MS),
        Question("onboarding stats", runs.stats, STATS_AIM_MS),
    ]


def answer(store: Store, question: Question, times: int = TIMES) -> Answered:
    """Ask so often, on one connection as a worker has it; what is written is rolled back."""
    took = []
    with store.engine.connect() as db:
        for _ in range(times):
            with _undone(db):
                began = time.perf_counter()
                question.ask(db)
                took.append(round((time.perf_counter() - began) * 1000, 1))
    return Answered(question, took, plans(store, question.ask))


def plans(store: Store, ask: Callable[[Connection], object]) -> dict[str, list[str]]:
    """By statement, each of them once: as PostgreSQL carried it out."""
    sent: dict[str, Any] = {}

    def listen(_db: object, _cursor: object, statement: str, parameters: Any, *_: object) -> None:
        sent.setdefault(statement, parameters)

    with store.engine.connect() as db:
        event.listen(store.engine, "before_cursor_execute", listen)
        try:
            with _undone(db):
                ask(db)
        finally:
            event.remove(store.engine, "before_cursor_execute", listen)
        found = {}
        for statement, parameters in sent.items():
            with _undone(db):
                rows = db.exec_driver_sql(f"EXPLAIN (ANALYZE, BUFFERS) {statement}", parameters)
                found[" ".join(statement.split())[:LONGEST]] = [row[0][:LONGEST] for row in rows]
    return found


@contextmanager
def _undone(db: Connection) -> Iterator[None]:
    transaction = db.begin()
    try:
        yield
    finally:
        transaction.rollback()
