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

    def cancel(db: Connection) -> list[Row[Any]]:
        rows = chosen(db, names)
        for row in rows:
            if runs.cancel(db, row):
                runs.note(db, who(), "cancel", because, row)
            elif row.state != State.CANCELLED:
                raise _ended(row)  # which rolls back: the others are not cancelled either
        return rows

    with open_store(start()) as store:
        rows = store.write(cancel)
    if as_json:
        print_json({"cancelled": [{"run_id": row.id, "contract_id": row.contract_id} for row in rows]})
    else:
        for row in rows:
            click.echo(f"cancelled {called(row)}")


def _ended(row: Row[Any]) -> Refusal:
    return Refusal(
        f"{called(row)} was not cancelled, nor was any other",
        "It is completed: there is nothing left to stop.",
        then=(f"onboarding show {row.contract_id}",),
    )
