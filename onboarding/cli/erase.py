"""`onboarding erase`: the right to erasure, one worker at a time."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import click
from sqlalchemy import Connection, Row

from onboarding.cli.chosen import called, chosen
from onboarding.cli.options import because_option, examples, json_option
from onboarding.cli.printing import hint, print_json
from onboarding.cli.refusal import WRONG_USAGE, Refusal
from onboarding.cli.start import open_store, start, who
from onboarding.runs import Reason
from onboarding.settings import Settings
from onboarding.store import endings, erasure, runs, tokens
from onboarding.store.engine import Store


@dataclass(frozen=True)
class Plan:
    """`rows`: to be erased now; `before`: erased already."""

    rows: Sequence[Row[Any]]
    before: Sequence[Row[Any]]
    live_tokens: int


@click.command(
    "erase",
    epilog=examples(
        'onboarding erase c-42 --because "request PRIV-17"',
        'onboarding erase c-42 c-43 --because "request PRIV-17" --yes',
    ),
)
@click.argument("names", metavar="RUN|CONTRACT...", nargs=-1, required=True)
@because_option
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def erase_command(*, names: Sequence[str], because: str, yes: bool, as_json: bool) -> None:
    """Erase a worker: nothing personal of theirs can be read again.

    Destroys the data keys of the contract's facts and of the worker's token, revokes the token at Deel, cancels the
    run, forgets where consents are proven, and deletes dead letters that name the worker. What stays: that there was a
    run, its attempts, its audit, when consents were given. A later event of the contract starts nothing.
    """
    if not because.strip():
        raise click.BadParameter("says why, for the audit line", param_hint="--because")
    settings = start()
    with open_store(settings) as store:
        plan = _plan(store, settings, names)
        _tell(plan)
        swept = erasure.Swept(0, 0, None)
        if plan.rows:
            _ask(names, because, yes=yes)
            swept = _erase(store, settings, plan, because)
    erased = [row.contract_id for row in plan.rows]
    if as_json:
        before = [row.contract_id for row in plan.before]
        document = {"erased": erased, "erased_before": before, "dead_letters_deleted": swept.deleted}
        print_json({**document, "dead_letters_sealed": swept.sealed})
    else:
        for row in plan.rows:
            click.echo(f"erased {called(row)}")
    if swept.sealed:
        hint(f"{swept.sealed} dead letters do not open: whom they name is unknown.\n  next  onboarding doctor")
    if erased:
        hint(f"Beat, or `onboarding up`, revokes the token at Deel:\n  next  onboarding show {erased[0]}")


def _plan(store: Store, settings: Settings, names: Sequence[str]) -> Plan:
    keyring = settings.keyring()

    def plan(db: Connection) -> Plan:
        rows = chosen(db, names)
        _refuse_halves(db, rows)
        now = [row for row in rows if row.reason != Reason.ERASED]
        profiles = {row.hris_profile_id for row in now if row.hris_profile_id}
        live = sum(tokens.live(db, keyring, profile) is not None for profile in profiles)
        return Plan(now, [row for row in rows if row not in now], live)

    return store.read(plan)


def _refuse_halves(db: Connection, rows: Sequence[Row[Any]]) -> None:
    """Raises Refusal where the worker has contracts that are not named."""
    others = erasure.others_of(db, rows)
    if others:
        named = [row.contract_id for row in rows]
        raise Refusal(
            f"{', '.join(map(called, rows))}: nothing was erased",
            f"The same worker has other contracts ({', '.join(others)}), with the same token: one erasure for all.",
            then=(shlex.join(["onboarding", "erase", *named, *others, "--because", "..."]),),
        )


def _tell(plan: Plan) -> None:
    """To standard error: the plan is not the answer."""
    for row in plan.before:
        hint(f"{called(row)} was erased before; nothing is left to do")
    for row in plan.rows:
        hint(f"{row.contract_id}  run {row.id}  {row.state} at {row.step}")
    if plan.rows:
        hint(f"To erase: {len(plan.rows)}. Live tokens that this revokes: {plan.live_tokens}. There is no way back.")


def _ask(names: Sequence[str], because: str, *, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise Refusal(
            "nothing was erased",
            "Nobody is here to answer: --yes says it.",
            then=(shlex.join(["onboarding", "erase", *names, "--because", because, "--yes"]),),
            code=WRONG_USAGE,
        )
    click.confirm("Erase?", abort=True, err=True)


def _erase(store: Store, settings: Settings, plan: Plan, because: str) -> erasure.Swept:
    """The letters first: once the keys are gone, nobody knows the addresses any more. Interrupted, it is repeated."""
    keyring, contracts = settings.keyring(), [row.contract_id for row in plan.rows]
    names = store.read(lambda db: erasure.names_of(db, keyring, plan.rows))
    deleted, sealed, after = 0, 0, ""
    while True:
        swept = store.write(lambda db, after=after: erasure.sweep(db, keyring, names, after))  # type: ignore[misc]
        deleted, sealed = deleted + swept.deleted, sealed + swept.sealed
        if swept.after is None:
            break
        after = swept.after

    def erase(db: Connection) -> None:
        _refuse_halves(db, chosen(db, contracts))  # the question may have stood for minutes
        endings.erase(db, contracts, settings.lease_seconds)
        for row in plan.rows:
            runs.note(db, who(), "erase", because, row)

    store.write(erase)
    return erasure.Swept(deleted, sealed, None)
