"""The command `onboarding`. Each command has a module of its own; `ctx.obj` is the Shell."""

from __future__ import annotations

from typing import Final

import click

from onboarding import __version__
from onboarding.cli.lazy import Entry, LazyGroup

_HERE: Final = "onboarding.cli"
ENTRIES: Final = {
    "demo": Entry(
        f"{_HERE}.demo:demo_command",
        "Run the main job against a simulated Deel: twenty webhooks, a few troubles, what became of each.",
    ),
    "up": Entry(f"{_HERE}.serve:up_command", "Run worker, intake and upkeep in this one process."),
    "intake": Entry(f"{_HERE}.serve:intake_command", "Run the intake: HRIS events off the queue, into the store."),
    "gateway": Entry(
        f"{_HERE}.gateway:gateway_command",
        "Run the gateway: HRIS webhooks in over HTTP, onto the queue; worker tokens out.",
    ),
    "send": Entry(f"{_HERE}.send:send_command", "Put an HRIS event on hris.events, as an HRIS would."),
    "runs": Entry(f"{_HERE}.runs:runs_command", "List runs, the newest first."),
    "show": Entry(f"{_HERE}.show:show_command", "Show a run: where it stands, every attempt, what to type next."),
    "replay": Entry(f"{_HERE}.replay:replay_command", "Let runs go on where they stopped, or from an earlier step."),
    "backfill": Entry(f"{_HERE}.backfill:backfill_command", "Start runs for EOR contracts whose webhook never came."),
    "cancel": Entry(f"{_HERE}.cancel:cancel_command", "Stop runs that have not ended; a replay starts them again."),
    "webhook": Entry(f"{_HERE}.webhook:webhook_group", "Keep Deel's webhooks coming: subscribe, check, watch, try."),
    "org": Entry(f"{_HERE}.org:org_group", "Keep organisations that have a token for Deel of their own."),
    "pause": Entry(f"{_HERE}.organizations:pause_command", "Let every run of an organisation wait."),
    "resume": Entry(f"{_HERE}.organizations:resume_command", "Let a paused organisation's runs go on."),
    "consent": Entry(f"{_HERE}.consent:consent_command", "Put a worker's consent, or its withdrawal, on record."),
    "erase": Entry(f"{_HERE}.erase:erase_command", "Erase a worker: nothing personal of theirs can be read again."),
    "token": Entry(f"{_HERE}.worker_token:token_command", "Print a worker's live token; leaves an audit line."),
    "keep-alive": Entry(
        f"{_HERE}.keep_alive:keep_alive_command", "Have workers' tokens renewed ahead of their end, or no longer."
    ),
    "act": Entry(
        f"{_HERE}.act:act_command",
        "Act as a contract's worker: list payslips or documents, sign the agreement, upload a file.",
    ),
    "service-key": Entry(
        f"{_HERE}.service_key:service_key_group", "Keep the keys by which apps get worker tokens over HTTP."
    ),
    "dead": Entry(f"{_HERE}.dead:dead_group", "Look at dead letters: messages that nobody could use."),
    "stats": Entry(f"{_HERE}.stats:stats_command", "Count runs, reasons, events, dead letters and the budget."),
    "doctor": Entry(
        f"{_HERE}.doctor:doctor_command", "Check settings, store, vault, broker, Deel and notification targets."
    ),
    "db": Entry(f"{_HERE}.db:db_group", "Keep the store's schema."),
    "keys": Entry(f"{_HERE}.keys:keys_group", "Keep the vault's keys."),
}


@click.group(cls=LazyGroup, entries=ENTRIES)
@click.version_option(__version__, prog_name="onboarding", message="%(prog)s %(version)s")
def cli() -> None:
    """Onboard Deel White Label EOR workers, from an HRIS event to a verified worker token.

    Exit codes: 0 done, 1 failed, 2 wrong usage or settings, 3 nothing matched.
    """
