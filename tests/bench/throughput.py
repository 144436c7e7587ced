"""Onboardings per second and CPU per onboarding without Deel's limit: ours and its peers by turns.

By turns, so that all meet the same weather on the machine. A turn is so many contracts at once, from the first
publish to the last notification. Deel and the receiver run in a process of their own, and RabbitMQ and PostgreSQL
are the same for all: none of the three is counted as anybody's CPU, but shown apart.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Any, Final

from tests.bench import contenders, cpu, servers
from tests.bench.contenders import DBOS, OURS, PLAIN_CONFIRMED, PLAIN_UNCONFIRMED, PLAIN_WRITTEN_DOWN, Contender
from tests.bench.figures import Figure, Measured
from tests.bench.outside import Outside, outside
from tests.bench.report import Teller

CONTRACTS: Final = 300
ROUNDS: Final = 3
WARM_UP: Final = 20
PATIENCE_S: Final = 120.0
SETTLE_S: Final = 0.5
"""Behind the last notification: what is still to be written down costs CPU, too."""
DEEL: Final = "Deel"
"""With the receiver of notifications, which is in the same process."""
AIMS: Final = {PLAIN_CONFIRMED: 1.0, PLAIN_WRITTEN_DOWN: None, PLAIN_UNCONFIRMED: None, DBOS: 1.5}
"""How many times a peer's rate ours should be. Who publishes without confirms loses chains: shown, and no aim."""


@dataclass(frozen=True)
class Turn:
    """What one contender did in one turn. `cpu_s`: of its processes; `others_cpu_s`: of the servers that all share."""

    contracts: int
    seconds: float
    cpu_s: float
    others_cpu_s: Mapping[str, float]
    calls: int

    @property
    def rate(self) -> float:
        """Onboardings a second."""
        return self.contracts / self.seconds

    @property
    def cpu_ms(self) -> float:
        """Per onboarding."""
        return self.cpu_s / self.contracts * 1000


def measure(teller: Teller) -> Measured:
    """All of them, on servers of their own."""
    teller.begins("Throughput: installing DBOS into build/ unless it is there")
    not_installed = contenders.install_dbos()
    teller.begins("Throughput: starting ours and its peers")
    with outside() as deel, ExitStack() as stack:
        shared = {DEEL: deel.pid, **servers.processes()}
        all_of_them = [
            stack.enter_context(contenders.ours(deel)),
            stack.enter_context(contenders.plain(deel, confirms=True)),
            stack.enter_context(contenders.plain(deel, confirms=True, commits=True)),
            stack.enter_context(contenders.plain(deel, confirms=False)),
        ]
        if not_installed is None:
            all_of_them.append(stack.enter_context(contenders.dbos(deel)))
        for place, each in enumerate(all_of_them):
            take_turn(each, deel, shared, f"warm-up-{place}", WARM_UP)
        turns: dict[str, list[Turn]] = {each.name: [] for each in all_of_them}
        for number in range(ROUNDS):
            for place, each in enumerate(all_of_them):
                turns[each.name].append(take_turn(each, deel, shared, f"{number}-{place}", CONTRACTS))
                teller("throughput", number * len(all_of_them) + place + 1, ROUNDS * len(all_of_them))
    raw = {"contracts": CONTRACTS, **{name: [_rounded(turn) for turn in taken] for name, taken in turns.items()}}
    title = f"Throughput, {CONTRACTS} at once, Deel without a limit"
    told = [*figures(turns), *([] if not_installed is None else [Figure(DBOS, not_installed)])]
    return Measured("throughput", title, told, raw)


def take_turn(contender: Contender, deel: Outside, shared: Mapping[str, int], name: str, size: int) -> Turn:
    """So many contracts at once. `shared`: process ids of the servers."""
    contracts = [f"c-{name}-{number}" for number in range(size)]
    webhooks = deel.hire(contracts)
    _, calls = deel.told_of([], PATIENCE_S)
    spent, spent_by_others = cpu.seconds(contender.pids), _each(shared)
    began = contender.send(contracts, webhooks)
    ended, calls_then = deel.told_of(contracts, PATIENCE_S)
    time.sleep(SETTLE_S)
    others = {name: now - spent_by_others[name] for name, now in _each(shared).items()}
    return Turn(size, ended - began, cpu.seconds(contender.pids) - spent, others, calls_then - calls)


def _each(shared: Mapping[str, int]) -> dict[str, float]:
    return {name: cpu.seconds([pid]) for name, pid in shared.items()}


def figures(turns: Mapping[str, Sequence[Turn]]) -> Iterator[Figure]:
    """The medians of all turns; and ours by each peer's, of turns that were neighbours."""
    for name, taken in turns.items():
        spent = statistics.median(turn.cpu_ms for turn in taken)
        rate = statistics.median(turn.rate for turn in taken)
        yield Figure(name, f"{rate:.1f}/s, {spent:.1f} ms CPU" if cpu.countable() else f"{rate:.1f}/s")
        if cpu.countable():
            yield Figure("  ms CPU of servers", _others(taken))
            busiest = max(turn.others_cpu_s[DEEL] / turn.seconds for turn in taken)
            yield Figure("  share of a core, Deel", f"{busiest:.0%}")
    for name, aim in AIMS.items():
        if name in turns:
            pairs = zip(turns[OURS], turns[name], strict=True)
            times = statistics.median(mine.rate / its.rate for mine, its in pairs)
            met = None if aim is None else times >= aim
            yield Figure(f"  ours / {name}", f"{times:.2f}", "" if aim is None else f">= {aim}", met)


def _others(taken: Sequence[Turn]) -> str:
    """Milliseconds of each server per onboarding."""
    each = {
        name: statistics.median(turn.others_cpu_s[name] / turn.contracts for turn in taken)
        for name in taken[0].others_cpu_s
    }
    return ", ".join(f"{name} {spent_s * 1000:.1f}" for name, spent_s in each.items())


def _rounded(turn: Turn) -> dict[str, Any]:
    others = {name: round(spent_s, 2) for name, spent_s in turn.others_cpu_s.items()}
    return {**asdict(turn), "seconds": round(turn.seconds, 3), "cpu_s": round(turn.cpu_s, 2), "others_cpu_s": others}
