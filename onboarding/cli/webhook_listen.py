"""`onboarding webhook listen`: what arrives, live. It reads the store, and takes no message from anybody."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Sequence
from typing import Any, Final

import click
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from onboarding.cli.options import examples
from onboarding.cli.printing import COLOURS, hint, length, moment, printable
from onboarding.cli.start import open_store, start
from onboarding.store import arrivals

LOOK_S: Final = 1.0
WIDTHS: Final = (24, 28, 24, 30, 9, 6)
HEADINGS: Final = ("received", "type", "contract", "became", "signed", "age")
STYLES: Final = {**COLOURS, "accepted": "green", "dead": "red", "ignored": "dim", "duplicate": "yellow"}


@click.command(
    "listen", epilog=examples("onboarding webhook listen", "onboarding webhook listen --last 20 --json | jq .type")
)
@click.option(
    "--last", type=click.IntRange(0, 1000), default=0, show_default=True, help="Show so many older ones first."
)
@click.option("--for", "seconds", type=click.FloatRange(0), help="Stop after so many seconds; else at Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document for each event, a line each.")
def listen_command(*, last: int, seconds: float | None, as_json: bool) -> None:
    """Show events as they arrive, live, and what became of each.

    They are read from the store, once a second: no second consumer takes a message away. Age is from arrival at
    intake until it was shown.
    """
    until = time.monotonic() + seconds if seconds is not None else None
    with open_store(start()) as store:
        seen = Seen(store.read(arrivals.last_id))
        older = store.read(lambda db: arrivals.latest(db, last)) if last else []
        table = _Lines(as_json=as_json)
        table.head()
        for row in older:
            table.show(row)
        while until is None or time.monotonic() < until:
            for row in seen.new(store.read(lambda db: arrivals.since(db, seen.look_from))):
                table.show(row)
            time.sleep(min(LOOK_S, max(0.0, until - time.monotonic())) if until is not None else LOOK_S)


class Seen:
    """Numbers are given in the order of beginning and seen in that of commits: the last few are looked at again."""

    AGAIN: Final = 200

    def __init__(self, last: int) -> None:
        self._first, self._last = last, last
        self._shown: deque[int] = deque(maxlen=2 * self.AGAIN)

    @property
    def look_from(self) -> int:
        """The number behind which the next look begins."""
        return max(self._first, self._last - self.AGAIN)

    def new(self, rows: Sequence[Any]) -> list[Any]:
        """Those that were not given before."""
        known = set(self._shown)
        fresh = [row for row in rows if row.id not in known]
        self._shown.extend(row.id for row in fresh)
        self._last = max([self._last, *(row.id for row in fresh)])
        return fresh


class _Lines:
    """A table that does not know its last row: columns have a width, and what is longer pushes the rest aside."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._console = Console(highlight=False)

    def head(self) -> None:
        if self._as_json:
            return
        if self._console.is_terminal:
            hint("Waiting for events. Ctrl-C ends it.")
        self._line(HEADINGS, "bold")

    def show(self, row: Any) -> None:
        if self._as_json:
            click.echo(json.dumps(_document(row)))
            return
        became = f"{row.disposition}, {row.reason}" if row.reason else row.disposition
        signed = {True: "yes", False: "no", None: ""}[row.signed]
        at, age = moment(row.received_at), length(row.now - row.received_at)
        cells = (at, row.type or "", row.contract_id or "", became, signed, age)
        self._line(cells, STYLES.get(row.disposition, ""))

    def _line(self, cells: Sequence[str], style: str) -> None:
        padded = [each + " " * max(0, width - cell_len(each)) for each, width in zip(cells, WIDTHS, strict=True)]
        text = printable("  ".join(padded)).rstrip()
        with self._console.capture() as printed:
            self._console.print(Text(text, style=style), soft_wrap=True)
        click.echo(printed.get(), nl=False, color=True)  # the console has decided about colours


def _document(row: Any) -> dict[str, Any]:
    return {
        "received_at": moment(row.received_at),
        "source": row.source,
        "type": row.type,
        "organization_id": row.organization_id,
        "contract_id": row.contract_id,
        "run_id": row.run_id,
        "disposition": row.disposition,
        "reason": row.reason,
        "signed": row.signed,
    }
