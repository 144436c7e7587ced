"""`onboarding dead`: messages that nobody could use."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any, Final

import click
from sqlalchemy import Connection

from onboarding.cli.options import examples, json_option
from onboarding.cli.outline import outline_of, outline_of_headers
from onboarding.cli.printing import (
    Column,
    hint,
    moment,
    on_terminal,
    print_json,
    print_pairs,
    print_table,
    short_moment,
)
from onboarding.cli.refusal import NOTHING_MATCHED, Refusal
from onboarding.cli.start import open_store, start
from onboarding.events import Why
from onboarding.store import events

COLUMNS: Final = (
    Column("id"),
    Column("received"),
    Column("reason"),
    Column("size", right=True),
    Column("source", spare=1),
    Column("routing key", spare=2),
)
_BY_QUEUE: Final = {
    "delivery_limit": "Workers died on this message, time after time. Look at its run, then replay that.",
    "expired": "It waited in its queue for longer than the queue keeps messages: have it sent again.",
    "rejected": "A consumer refused it: its log says why.",
    "internal_error": "A defect of ours: the intake's log has the traceback. Report it.",
}


@click.group("dead", epilog=examples("onboarding dead list", "onboarding dead show 3fa85f641c2b"))
def dead_group() -> None:
    """Look at dead letters: messages that nobody could use."""


@dead_group.command("list", epilog=examples("onboarding dead list", "onboarding dead list --json"))
@json_option
def list_command(*, as_json: bool) -> None:
    """List dead letters, the newest first."""
    with open_store(start()) as store:
        rows = store.read(events.letters)
    if as_json:
        print_json([_letter_object(row) for row in rows])
    elif rows:
        print_table(COLUMNS, [_cells(row) for row in rows])
        _advise(rows)
    else:
        hint("No dead letter.")


@dead_group.command("show", epilog=examples("onboarding dead show 3fa85f641c2b"))
@click.argument("letter_id", metavar="ID")
@json_option
def show_command(*, letter_id: str, as_json: bool) -> None:
    """Show what a dead letter looks like, without what it says of people.

    Of the body, its structure: each place, and what kind of value is there. Values that are no person's
    (types, ids, times) are shown.
    """
    settings = start()

    def look(db: Connection) -> tuple[Any, Any]:
        row = events.letter(db, letter_id)
        return row, events.open_letter(db, settings.keyring(), letter_id) if row else None

    with open_store(settings) as store:
        row, opened = store.read(look)
    if row is None or opened is None:
        raise Refusal(f"no dead letter {letter_id}", then=("onboarding dead list",), code=NOTHING_MATCHED)
    content = json.loads(opened.get_secret_value())
    headers, body = outline_of_headers(content["headers"]), outline_of(base64.b64decode(content["body"]))
    if as_json:
        print_json({**_letter_object(row), "headers": headers, "body": body})
        return
    facts = [(name.replace("_", " "), str(value)) for name, value in _letter_object(row).items()]
    print_pairs([*facts[:1], ("received at", moment(row.received_at)), *facts[2:], ("", _advice(row.reason))])
    for heading, lines in (("headers", headers), ("body", body)):
        if lines:
            click.echo(f"\n{heading}")
            print_pairs([(f"  {place}", what) for place, what in lines.items()])


def _letter_object(row: Any) -> dict[str, Any]:
    return {
        "id": row.id,
        "received_at": row.received_at,
        "source": row.source,
        "routing_key": row.routing_key,
        "reason": row.reason,
        "size": row.size,
    }


def _cells(row: Any) -> tuple[str, ...]:
    received = short_moment(row.received_at) if on_terminal() else moment(row.received_at)
    return row.id, received, row.reason, str(row.size), row.source, row.routing_key


def _advise(rows: Sequence[Any]) -> None:
    for reason in dict.fromkeys(row.reason for row in rows):
        first = next(row for row in rows if row.reason == reason)
        hint(f"\n{reason}\n  why   {_advice(reason)}\n  next  onboarding dead show {first.id}")


def _advice(reason: str) -> str:
    return next((why.advice for why in Why if why == reason), _BY_QUEUE.get(reason, ""))
