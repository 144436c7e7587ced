"""The one auditor: compares three independent records (the store's, Deel's ledger, the sink's) after every scenario.

It shares no code with what it audits but the table definitions, the key that opens the vault and a message's name.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from sqlalchemy import func, select

from onboarding import events as reading
from onboarding.events import Message
from onboarding.settings import load
from onboarding.simulator import Simulator
from onboarding.store import tokens
from onboarding.store.tables import attempts, dead_letters, events, runs
from tests.integration.system import System

ENDED = ("completed", "failed", "cancelled")


@dataclass(frozen=True)
class Finding:
    """One broken promise: which, and of whom."""

    promise: str
    who: str

    def __str__(self) -> str:
        return f"{self.promise}: {self.who}"


@dataclass(frozen=True)
class Expected:
    """What the scenario did: contracts whose event the queue acknowledged, and messages, as `keys_of` names them."""

    contracts: Iterable[str]
    messages: frozenset[str] = frozenset()
    reissued: frozenset[str] = frozenset()  # contracts for which a new token was asked on purpose
    expired: frozenset[str] = frozenset()  # completed long enough ago that no token of theirs may be left
    clock_jumped: bool = False  # back: what began later may say an earlier time
    traces: Sequence[Path] = ()  # a file of each blow: one that is not there did not fall, and proved nothing


@dataclass
class Audit:
    """What was found, and the counts beside it."""

    findings: list[Finding] = field(default_factory=list)
    states: dict[str, int] = field(default_factory=dict)
    reasons: dict[str, int] = field(default_factory=dict)  # of those that are parked at the end

    def count(self, promise: str) -> int:
        """How often it was broken."""
        return sum(finding.promise == promise for finding in self.findings)


PROMISES = (
    LOST := "lost",
    DOUBLED := "doubled",
    DEAD_TOKEN := "dead token in the vault",
    KILLED_TOKEN := "a token that worked was killed",
    BUDGET := "over the budget",
    TIMELINE := "timeline out of order",
    NO_BLOW := "a blow that did not fall",
)


def audit(system: System, expected: Expected) -> Audit:
    """Every promise that can be checked without searching bytes."""
    with system.store.engine.connect() as db:
        rows = {row.contract_id: row for row in db.execute(select(runs))}
        tries = db.execute(select(attempts).order_by(attempts.c.id)).all()
    found = Audit(
        states=dict(Counter(row.state for row in rows.values())),
        reasons=dict(Counter(row.reason for row in rows.values() if row.state == "failed")),
    )
    found.findings += _lost(expected, rows, unfiled(system, expected))
    found.findings += _doubled(system, rows)
    found.findings += _tokens(system, expected, rows)
    found.findings += _over_budget(system.deel)
    found.findings += _timelines(tries, expected.clock_jumped)
    found.findings += [Finding(NO_BLOW, trace.name) for trace in expected.traces if not trace.exists()]
    return found


def keys_of(deel: Simulator, messages: Iterable[tuple[bytes, Mapping[str, Any]]]) -> frozenset[str]:
    """By what the intake knows each message again: its row bears this key."""
    keys = {label: SecretStr(key) for label, key in deel.signing_keys.items()}
    read = (reading.read(Message(body, headers, "contract.created"), keys) for body, headers in messages)
    return frozenset(answer.dedup_key for answers in read for answer in answers)


def unfiled(system: System, expected: Expected) -> int:
    """Messages that left neither an event's row nor a dead letter of those that have none."""
    with system.store.engine.connect() as db:
        filed = set(db.execute(select(events.c.dedup_key)).scalars())
        elsewhere = (dead_letters.c.source != "hris") | (dead_letters.c.reason == "internal_error")
        letters: int = db.execute(select(func.count()).where(elsewhere)).scalar_one()
    return max(0, len(expected.messages - filed) - letters)


def _lost(expected: Expected, rows: Mapping[str, Any], missing: int) -> Iterator[Finding]:
    yield from (Finding(LOST, f"{contract} has no run") for contract in expected.contracts if contract not in rows)
    if missing:
        yield Finding(LOST, f"{missing} messages acknowledged, and neither filed nor dead-lettered")
    for contract, row in rows.items():
        waits = row.state == "waiting" and (row.nudge_at or row.reason == "consent_missing")
        if row.state not in ENDED and not waits:
            yield Finding(LOST, f"{contract} is {row.state}: neither ended nor waiting for anything")
        if row.state in ("failed", "waiting") and not row.reason:
            yield Finding(LOST, f"{contract} is {row.state} without a reason")


def _doubled(system: System, rows: Mapping[str, Any]) -> Iterator[Finding]:
    for contract in rows:
        if contract in system.deel.contracts and len(system.deel.profiles_of(contract)) > 1:
            yield Finding(DOUBLED, f"{contract} has {len(system.deel.profiles_of(contract))} profiles")
    told = Counter(
        one.body["data"]["contract_id"]
        for one in system.sink.unique()
        if one.status < 300 and one.body["type"] == "onboarding.completed"
    )
    for contract, row in rows.items():
        want = {1} if row.state == "completed" else {0, 1}  # a replay of a completed run may be parked later
        if told[contract] not in want:
            yield Finding(DOUBLED if told[contract] else LOST, f"{contract}: told {told[contract]} times")


def _tokens(system: System, expected: Expected, rows: Mapping[str, Any]) -> Iterator[Finding]:
    keyring = load(system.environment).keyring()
    for contract, row in rows.items():
        if row.state == "completed":
            kept = system.store.read(lambda db, of=row.hris_profile_id: tokens.live(db, keyring, of))  # type: ignore[misc]
            token = kept.token.get_secret_value() if kept else None
            nothing_lives = token is None and contract not in expected.expired
            if nothing_lives or token != system.deel.live_token(contract):
                yield Finding(DEAD_TOKEN, contract)
        if contract in system.deel.contracts and contract not in expected.reissued:
            for earlier, later in pairwise(system.deel.sessions_of(contract)):
                if earlier.ours and later.ours:
                    yield Finding(KILLED_TOKEN, contract)


def _over_budget(deel: Simulator) -> Iterator[Finding]:
    calls = list(deel.ledger)
    for number, call in enumerate(calls):
        if call.refused:
            second = [
                f"{other.contract_id} {other.route} at {other.at_monotonic - call.at_monotonic:+.3f} s"
                for other in calls[max(0, number - 8) : number + 3]
                if other.organization_id == call.organization_id
            ]
            yield Finding(BUDGET, f"refused at {call.at:%H:%M:%S.%f}; calls around it: {', '.join(second)}")


def _timelines(tries: Iterable[Any], clock_jumped: bool) -> Iterator[Finding]:
    of_run: dict[str, list[Any]] = defaultdict(list)
    for each in tries:
        of_run[each.run_id].append(each)
    for run_id, each in of_run.items():
        for attempt in each:
            if attempt.outcome is None:
                yield Finding(TIMELINE, f"{run_id}: {attempt.step} has neither an end nor a mark")
            elif attempt.outcome != "crashed" and attempt.ended_at is None:
                yield Finding(TIMELINE, f"{run_id}: {attempt.step} is {attempt.outcome} without an end")
            elif attempt.ended_at is not None and attempt.ended_at < attempt.started_at and not clock_jumped:
                yield Finding(TIMELINE, f"{run_id}: {attempt.step} ended before it began")
        backwards = any(later.started_at < earlier.started_at for earlier, later in pairwise(each))
        if backwards and not clock_jumped:
            yield Finding(TIMELINE, f"{run_id}: out of order")
