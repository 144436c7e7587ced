"""`onboarding cancel`: stop runs that have not ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click
from sqlalchemy import Connection, Row

from onboarding.cli.chosen import called, chosen
from onboarding.cli.options import because_option, examples, json_option
from onboarding.cli.printing import print_json
from onboarding.cli.refusal import Refusal
from onboarding.cli.start import open_store, start, who
from onboarding.runs import State
from onboarding.store import runs


@click.command("cancel", epilog=examples("onboarding cancel c-42", 'onboarding cancel c-42 c-43 --because "left"'))
@click.argument("names", metavar="RUN|CONTRACT...", nargs=-1, required=True)
@because_option
@json_option
def cancel_command(*, names: Sequence[str], because: str, as_json: bool) -> None:
    """Stop runs that have not ended; a replay starts them again.

    A step in flight ends without being recorded. What was issued stays issued. If one of several is unknown
    or completed, nothing is done. One that was cancelled before stays so.
    """

    def cancel(db: Connection) -> tuple[list[Row[Any]], list[Row[Any]]]:
        rows = chosen(db, names)
        now = [row for row in rows if runs.cancel(db, row)]
        for row in now:
            runs.note(db, who(), "cancel", because, row)
        before = [row for row in rows if row not in now]
        for row in before:
            if row.state != State.CANCELLED:
                raise _ended(row)  # which rolls back: the others are not cancelled either
        return now, before

    with open_store(start()) as store:
        now, before = store.write(cancel)
    if as_json:
        print_json({"cancelled": list(map(_named, now)), "cancelled_before": list(map(_named, before))})
        return
    for row in now:
        click.echo(f"cancelled {called(row)}")
    for row in before:
        click.echo(f"{called(row)} was cancelled before; nothing was changed")


def _named(row: Row[Any]) -> dict[str, str]:
    return {"run_id": row.id, "contract_id": row.contract_id}


def _ended(row: Row[Any]) -> Refusal:
    return Refusal(
        f"{called(row)} was not cancelled, nor was any other",
        "It is completed: there is nothing left to stop.",
        then=(f"onboarding show {row.contract_id}",),
    )
