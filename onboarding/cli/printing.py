"""Answers on standard output: one JSON document, or a table. Hints go to standard error."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import click
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

COLOURS: Final = {
    **dict.fromkeys(("completed", "done", "ok", "delivered"), "green"),
    **dict.fromkeys(("failed", "crashed", "FAILED", "refused", "not delivered"), "red"),
    **dict.fromkeys(("waiting", "retry", "superseded"), "yellow"),
    **dict.fromkeys(("cancelled",), "dim"),
}
_GAP: Final = 2  # blanks between columns


@dataclass(frozen=True)
class Column:
    """`spare`: left out on a terminal that is too narrow; the highest goes first, 0 stays. In a pipe all stay."""

    heading: str
    spare: int = 0
    right: bool = False


def print_json(document: Any) -> None:
    """Times as ISO 8601 in UTC."""
    click.echo(json.dumps(document, default=_plain_value, indent=2, ensure_ascii=False))


def print_table(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    """Aligned, nothing cut off; colours on a terminal only."""
    console = Console(highlight=False)
    kept = _fitting(columns, rows, console.width) if console.is_terminal else list(range(len(columns)))
    table = Table(box=None, padding=(0, _GAP, 0, 0), pad_edge=False, header_style="bold")
    for each in kept:
        justify: Any = "right" if columns[each].right else "left"
        table.add_column(columns[each].heading, no_wrap=True, justify=justify)
    for row in rows:
        table.add_row(*(Text(printable(row[each]), style=COLOURS.get(row[each], "")) for each in kept))
    console.width = max(console.width, console.measure(table, options=console.options.update(width=10_000)).maximum)
    with console.capture() as printed:
        console.print(table)
    for line in printed.get().splitlines():
        click.echo(line.rstrip(), color=True)  # the console has decided about colours


def print_pairs(pairs: Sequence[tuple[str, str]]) -> None:
    """A label and its value per line."""
    width = max(len(label) for label, _ in pairs) + _GAP
    console = Console(highlight=False)
    for label, value in pairs:
        colour = COLOURS.get(value, "")
        console.print(Text(label.ljust(width)), Text(printable(value), style=colour), sep="", soft_wrap=True)


def print_verdict(word: str, subject: str, detail: str, advice: str) -> None:
    """A line, and one below it where there is something to do. `word`: ok, FAILED or a dash."""
    console, width = Console(highlight=False), len("FAILED") + _GAP
    verdict = Text(word.ljust(width), style=COLOURS.get(word, ""))
    console.print(verdict, Text(f"{subject}  {printable(detail)}"), sep="", soft_wrap=True)
    if advice:
        console.print(Text(f"{'':{width}}next  {printable(advice)}"), soft_wrap=True)


def hint(text: str) -> None:
    """Beside the answer, not in it. May have several lines."""
    click.echo("\n".join(map(printable, text.split("\n"))), err=True)


def on_terminal() -> bool:
    """Whether a person reads standard output."""
    return Console().is_terminal


def printable(text: str) -> str:
    """What others wrote must not move the cursor."""
    return "".join(char if char.isprintable() else "?" for char in text)


def moment(time: datetime | None) -> str:
    """In UTC, to the millisecond."""
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z") if time else ""


def short_moment(time: datetime | None) -> str:
    """In UTC; for a person on a terminal, who knows the year."""
    return time.astimezone(UTC).strftime("%m-%d %H:%M:%S") if time else ""


def length(span: timedelta) -> str:
    """In the one unit that says enough."""
    seconds = abs(span.total_seconds())
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"


def _fitting(columns: Sequence[Column], rows: Iterable[Sequence[str]], width: int) -> list[int]:
    widths = [max(map(cell_len, cells)) for cells in zip((each.heading for each in columns), *rows, strict=True)]
    kept = list(range(len(columns)))
    while sum(widths[each] + _GAP for each in kept) - _GAP > width:
        goes = max(kept, key=lambda each: columns[each].spare)
        if not columns[goes].spare:
            break
        kept.remove(goes)
    return kept


def _plain_value(value: Any) -> str:
    assert isinstance(value, datetime)
    return moment(value)
