"""`onboarding stats`: how many of everything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import click

from onboarding.budget import fingerprint_of, pace_of, rate_with
from onboarding.cli.options import examples, json_option
from onboarding.cli.printing import hint, length, moment, print_json, print_pairs
from onboarding.cli.start import open_store, start
from onboarding.runs import Reason
from onboarding.settings import Settings
from onboarding.store import arrivals, backfills, budgets, org_tokens, organizations, runs
from onboarding.store.budgets import FIRST_SLOWER_S
from onboarding.store.engine import Store

REFUSED: Final = "Deel refused calls a moment ago"
MOST_LOOKS: Final = 200
"""Organisations whose budgets are looked up."""
MOST_LISTED: Final = 20
LATE: Final = "calls are late here at times, or were within ten minutes"


@click.command("stats", epilog=examples("onboarding stats", "onboarding stats --json"))
@json_option
def stats_command(*, as_json: bool) -> None:
    """Count runs, reasons, events, dead letters and the budget.

    Reasons are those of runs that wait or failed. The budgets' use is that of this very moment. How the runs of the
    last 30 days came to be known: by a webhook in time, late (Deel's list was read first), or by that list only.
    """
    settings = start()
    with open_store(settings) as store:
        found = store.read(runs.stats)
        pauses = store.read(organizations.paused)
        budget, own = _budget(settings, store), _own_budgets(settings, store)
        told = store.read(arrivals.completeness)
        read = store.read(backfills.listing)
    if as_json:
        paused = [
            {"organization_id": each.id, "reason": each.paused_reason, "next_probe_at": each.probe_at}
            for each in pauses
        ]
        print_json(
            {
                **found,
                "budget": budget,
                "budgets": own,
                "completeness": _completeness(told),
                "backfills": [_backfill(row) for row in read[:MOST_LISTED]],
                "paused": paused,
            }
        )
    else:
        print_pairs([*_lines(found, budget, pauses), *_more_lines(own, told, read)])
        for each in pauses:
            if each.paused_reason != Reason.PAUSED:
                hint("next  onboarding doctor")
            hint(f"next  onboarding resume {each.id}")


def _budget(settings: Settings, store: Store) -> dict[str, Any]:
    """Of the configured token. Without one nobody knows which budget is meant: its use is None then."""
    if settings.deel_token is None:
        return {"rate": settings.deel_rate, "rate_now": settings.deel_rate, "in_use": None, "why_slower": None}
    return _budget_of(store, fingerprint_of(settings.deel_token), settings.deel_rate)


def _budget_of(store: Store, fingerprint: str, rate: float) -> dict[str, Any]:
    use = store.read(lambda db: budgets.use(db, fingerprint))
    rate_now = rate_with(pace_of(rate), use.slower_s) if use.slower_s else rate
    why = REFUSED if use.slower_s >= FIRST_SLOWER_S else LATE if use.slower_s else None
    return {"rate": rate, "rate_now": round(rate_now, 1), "in_use": use.in_use, "why_slower": why}


def _own_budgets(settings: Settings, store: Store) -> list[dict[str, Any]]:
    """Of organisations that have a token of their own: those in use first, then by name."""
    rate = settings.deel_rate
    rows = store.read(org_tokens.fingerprints)
    found = [{"organization_id": row.id, **_budget_of(store, row.token_fingerprint, rate)} for row in rows[:MOST_LOOKS]]
    return sorted(found, key=lambda each: (-each["in_use"], each["organization_id"]))[:MOST_LISTED]


def _lines(found: Mapping[str, Any], budget: Mapping[str, Any], pauses: Sequence[Any]) -> list[tuple[str, str]]:
    oldest = found["oldest_waiting_at"]
    waited = f"{moment(oldest)} ({length(datetime.now(UTC) - oldest)} ago)" if oldest else "none"
    return [
        ("runs", _counts(found["runs"])),
        ("reasons", _counts(found["reasons"])),
        ("events", _counts(found["events"])),
        ("dead letters", str(found["dead_letters"])),
        *([("changed inputs", str(changed))] if (changed := found["changed_inputs"]) else []),
        *([("to be revoked", str(wished))] if (wished := found["revocations_open"]) else []),
        ("budget", _use(**budget)),
        ("oldest not ended", waited),
        *([("paused", _pause(each)) for each in pauses] or [("paused", "none")]),
    ]


def _completeness(told: Mapping[str, Mapping[str, int]]) -> dict[str, Any]:
    """Of all organisations together; and of each, where they are few."""
    together = {how: sum(counts[how] for counts in told.values()) for how in arrivals.HOWS}
    each = [{"organization_id": name, **counts} for name, counts in told.items()]
    return {"days": arrivals.DAYS, **together, "organizations": each if len(each) <= MOST_LISTED else None}


def _backfill(row: Any) -> dict[str, Any]:
    return {
        "organization_id": row.organization_id,
        "last_read_at": row.ended_at,
        "next_page_at": row.due_at,
        "pages_of_this_round": row.pages,
        "runs_made": row.made,
        "reason": row.reason,
    }


def _more_lines(
    own: Sequence[Mapping[str, Any]], told: Mapping[str, Mapping[str, int]], read: Sequence[Any]
) -> list[tuple[str, str]]:
    lines = []
    for each in own:
        name = each["organization_id"]
        lines.append((f"budget of {name}", _use(**{key: each[key] for key in each if key != "organization_id"})))
    together = _completeness(told)
    lines.append((f"known in {arrivals.DAYS} days", _how({how: together[how] for how in arrivals.HOWS})))
    if 1 < len(told) <= MOST_LISTED:
        lines += [(f"known of {name}", _how(counts)) for name, counts in told.items()]
    for row in read[:MOST_LISTED]:
        last = f"read to its end {moment(row.ended_at)}" if row.ended_at else "not yet read to its end"
        why = f", held up by {row.reason}" if row.reason else ""
        lines.append(
            (f"list of {row.organization_id}", f"{last}, runs made {row.made}, next {moment(row.due_at)}{why}")
        )
    return lines


def _how(counts: Mapping[str, int]) -> str:
    return _counts({how.replace("_", " "): count for how, count in counts.items()})


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
