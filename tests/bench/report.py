"""The bench's one table, and a file of raw numbers per measurement."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from tests.bench.figures import Figure, Measured

RESULTS: Final = Path(__file__).parent / "results"
SAY_EVERY_S: Final = 5.0
VERDICTS: Final = {True: ("yes", "green"), False: ("no", "red"), None: ("", "")}


class Teller:
    """Says how far the bench is: a bar on a terminal, a line now and then in a pipe."""

    def __init__(self, console: Console) -> None:
        self._console = console
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        self._bars = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._bar = self._bars.add_task("starting", total=None)
        self._said = 0.0

    def __enter__(self) -> Self:
        """Show."""
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave no trace of it on a terminal."""
        self._bars.stop()

    def begins(self, what: str) -> None:
        """Something starts that cannot be counted."""
        self._bars.update(self._bar, description=what, completed=0, total=None)
        if not self._console.is_terminal:
            self._console.print(f"{what} ...")
        self._said = time.monotonic()

    def __call__(self, what: str, done: int, total: int) -> None:
        """So much of it is done."""
        self._bars.update(self._bar, description=what, completed=done, total=total)
        if not self._console.is_terminal and time.monotonic() - self._said >= SAY_EVERY_S:
            self._said = time.monotonic()
            self._console.print(f"  {done} of {total}")


def table(console: Console, measured: Sequence[Measured]) -> Table:
    """Every figure, its aim, and whether it is met."""
    shown = Table(box=None, pad_edge=False, header_style="bold" if console.is_terminal else "")
    shown.add_column("figure", no_wrap=True)
    shown.add_column("measured", justify="right", no_wrap=True)
    shown.add_column("aim", justify="right", no_wrap=True)
    shown.add_column("met", no_wrap=True)
    for each in measured:
        shown.add_row(f"[bold]{each.title}[/]" if console.is_terminal else each.title)
        for figure in each.figures:
            shown.add_row(f"  {figure.what}", figure.value, figure.aim, _verdict(figure))
    return shown


def _verdict(figure: Figure) -> str:
    word, colour = VERDICTS[figure.met]
    return f"[{colour}]{word}[/]" if colour else word


def write(measured: Measured, machine: Mapping[str, str]) -> Path:
    """Keep the raw numbers; those of the last time are overwritten."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{measured.name}.json"
    figures = [
        {"what": one.what.strip(), "value": one.value, "aim": one.aim, "met": one.met} for one in measured.figures
    ]
    document = {"title": measured.title, "machine": dict(machine), "figures": figures, **measured.raw}
    path.write_text(_compact(document) + "\n")
    return path


def _compact(document: Mapping[str, object]) -> str:
    """One line per entry, so that a list of a hundred numbers is a line and not a hundred."""
    return "{\n" + ",\n".join(f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in document.items()) + "\n}"
