"""`onboarding stats`: how many of everything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import click

from onboarding.budget import Budget
from onboarding.cli.options import examples, json_option
from onboarding.cli.printing import hint, length, moment, print_json, print_pairs
from onboarding.cli.start import open_store, start
from onboarding.runs import Reason
from onboarding.settings import Settings
from onboarding.store import organizations, runs
from onboarding.store.budgets import FIRST_SLOWER_S
from onboarding.store.engine import Store

REFUSED: Final = "Deel refused calls a moment ago"
LATE: Final = "a process here woke up late, or Deel refused calls, in the last two minutes"


@click.command("stats", epilog=examples("onboarding stats", "onboarding stats --json"))
@json_option
def stats_command(*, as_json: bool) -> None:
    """Count runs, reasons, events, dead letters and the budget.

    Reasons are those of runs that wait or failed. The budget's use is that of this very moment.
    """
    settings = start()
    with open_store(settings) as store:
        found = store.read(runs.stats)
        pauses = store.read(organizations.paused)
        budget = _budget(settings, store)
    if as_json:
        paused = [
            {"organization_id": each.id, "reason": each.paused_reason, "next_probe_at": each.probe_at}
            for each in pauses
        ]
        print_json({**found, "budget": budget, "paused": paused})
    else:
        print_pairs(_lines(found, budget, pauses))
        for each in pauses:
            if each.paused_reason != Reason.PAUSED:
                hint("next  onboarding doctor")
            hint(f"next  onboarding resume {each.id}")


def _budget(settings: Settings, store: Store) -> dict[str, Any]:
    """Without a token nobody knows which budget is meant: its use is None then."""
    if settings.deel_token is None:
        return {"rate": settings.deel_rate, "rate_now": settings.deel_rate, "in_use": None, "why_slower": None}
    budget = Budget(store, settings.deel_token, settings.deel_rate)
    use = budget.use()
    rate_now = budget.rate_with(use.slower_s) if use.slower_s else budget.rate
    why = REFUSED if use.slower_s >= FIRST_SLOWER_S else LATE if use.slower_s else None
    return {"rate": budget.rate, "rate_now": round(rate_now, 1), "in_use": use.in_use, "why_slower": why}


def _lines(found: Mapping[str, Any], budget: Mapping[str, Any], pauses: Sequence[Any]) -> list[tuple[str, str]]:
    oldest = found["oldest_waiting_at"]
    waited = f"{moment(oldest)} ({length(datetime.now(UTC) - oldest)} ago)" if oldest else "none"
    return [
        ("runs", _counts(found["runs"])),
        ("reasons", _counts(found["reasons"])),
        ("events", _counts(found["events"])),
        ("dead letters", str(found["dead_letters"])),
        ("budget", _use(**budget)),
        ("oldest not ended", waited),
        *([("paused", _pause(each)) for each in pauses] or [("paused", "none")]),
    ]


def _use(rate: float, rate_now: float, in_use: int | None, why_slower: str | None) -> str:
    if in_use is None:
        return f"{rate:g} requests per second; its use is unknown without ONBOARDING_DEEL_TOKEN"
    slower = f"; slowed to {rate_now:g}, as {why_slower}" if rate_now < rate else ""
    return f"{in_use} of {rate:g} requests per second in use{slower}"


def _pause(each: Any) -> str:
    probe = f"next probe {moment(each.probe_at)}" if each.probe_at else "until it is resumed"
    return f"{each.id} ({each.paused_reason}), {probe}"


def _counts(counts: Mapping[str, int]) -> str:
    return "  ".join(f"{word} {count}" for word, count in counts.items()) or "none"
