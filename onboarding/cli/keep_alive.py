"""`onboarding keep-alive`: whose token is renewed although nobody asks for it."""

from __future__ import annotations

from collections.abc import Sequence

import click
from sqlalchemy import Connection

from onboarding.cli.chosen import chosen
from onboarding.cli.options import because_option, examples, json_option
from onboarding.cli.printing import hint, print_json
from onboarding.cli.start import open_store, start, who
from onboarding.store import alive, runs


@click.command(
    "keep-alive",
    epilog=examples("onboarding keep-alive c-42 c-43", 'onboarding keep-alive c-42 --off --because "left, OPS-117"'),
)
@click.argument("names", metavar="RUN|CONTRACT...", nargs=-1, required=True)
@click.option("--off", is_flag=True, help="From now on a new one is issued only when somebody asks.")
@because_option
@json_option
def keep_alive_command(*, names: Sequence[str], off: bool, because: str, as_json: bool) -> None:
    """Have workers' tokens renewed ahead of their end, or no longer.

    For apps that hold a token and cannot ask for the next: a renewal kills the one before, so that theirs lasts 14 to
    22 hours. All others get a new one when they ask. Renewals take a tenth of the budget at most. If one of several is
    unknown, nothing is done.
    """

    def mark(db: Connection) -> list[str]:
        rows = chosen(db, names)
        for row in rows:
            alive.mark(db, row, on=not off)
            runs.note(db, who(), "keep_alive_off" if off else "keep_alive", because, row)
        return [row.contract_id for row in rows]

    with open_store(start()) as store:
        contracts = store.write(mark)
    if as_json:
        print_json([{"contract_id": contract, "keep_alive": not off} for contract in contracts])
        return
    for contract in contracts:
        click.echo(f"contract {contract}: " + ("renewed when somebody asks" if off else "kept alive"))
    if not off:
        hint("Beat, or `onboarding up`, sees to it.")
