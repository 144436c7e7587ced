"""Tables: whole in a pipe, fitting on a terminal."""

from __future__ import annotations

from datetime import timedelta

import pytest

from onboarding.cli.printing import Column, length, print_pairs, print_table, printable
from tests.onboarding.cli.conftest import Desk
from tests.onboarding.store.rows import add_run

COLUMNS = (Column("id"), Column("n", right=True), Column("state"), Column("wide", spare=1), Column("wider", spare=2))
ROWS = [("a" * 30, "7", "failed", "b" * 30, "c" * 60), ("x", "12", "completed", "[red]y[/]", "z")]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch):
    """Standard output looks like a terminal of so many columns."""

    def of(width: int) -> None:
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setenv("COLUMNS", str(width))
        monkeypatch.delenv("NO_COLOR", raising=False)

    return of


def printed(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.splitlines()


def test_a_pipe_gets_all_of_it(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """However narrow the terminal behind it: nothing cut, no colour, no line art, no blanks at the end."""
    monkeypatch.setenv("COLUMNS", "20")
    print_table(COLUMNS, ROWS)
    lines = printed(capsys)
    assert lines[1].split() == list(ROWS[0])
    assert lines[2].split() == list(ROWS[1])
    assert lines[0].split() == [column.heading for column in COLUMNS]
    assert all(line == line.rstrip() and line.isascii() and line.isprintable() for line in lines)
    assert lines[1].index("failed") == lines[2].index("completed") == lines[0].index("state")
    assert lines[1].index("7") == lines[2].index("12") + 1  # numbers stand flush right


@pytest.mark.parametrize(("width", "headings"), [(200, 5), (100, 4), (60, 3), (20, 3)])
def test_a_narrow_terminal_gets_fewer_columns(terminal, capsys, width: int, headings: int):
    """The spare ones go first, the widest-numbered before; what is left is never cut, even where it is too wide."""
    terminal(width)
    print_table(COLUMNS, ROWS)
    plain = [_without_colours(line) for line in printed(capsys)]
    assert len(plain[0].split()) == headings
    assert plain[1].split() == list(ROWS[0])[:headings]


def test_states_have_colours_on_a_terminal_only(terminal, capsys: pytest.CaptureFixture[str]):
    """Red failed, green completed; markup in a value is a value."""
    terminal(200)
    print_table(COLUMNS, ROWS)
    print_pairs([("state", "failed")])
    _, first, second, pair = capsys.readouterr().out.splitlines()
    assert "\x1b[31mfailed" in first
    assert "\x1b[32mcompleted" in second
    assert "[red]y[/]" in second
    assert "\x1b[31mfailed" in pair


def test_runs_fit_an_ordinary_terminal(onboarding: Desk, terminal, monkeypatch: pytest.MonkeyPatch):
    """At 80 columns no line is longer, and contract, state, step and reason are there."""
    add_run(onboarding.store, "0123456789abcdef", contract_id="mp4y66j", state="failed", reason="contract_not_found")
    terminal(80)
    lines = [_without_colours(line) for line in onboarding("runs").stdout.splitlines()]
    assert max(map(len, lines)) <= 80
    assert lines[1].split()[:4] == ["mp4y66j", "failed", "contract_created", "contract_not_found"]
    assert "ago" in lines[1]
    terminal(200)
    assert "0123456789abcdef" in onboarding("runs").stdout


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.0004, "0 ms"),
        (0.412, "412 ms"),
        (1.26, "1.3 s"),
        (90, "2 min"),
        (5400, "2 h"),
        (200_000, "2 d"),
        (-60, "1 min"),
    ],
)
def test_lengths_have_one_unit(seconds: float, said: str):
    """The one that says enough."""
    assert length(timedelta(seconds=seconds)) == said


def test_what_is_not_printable_is_a_question_mark():
    """Escapes, line breaks, text direction; letters of any script stay."""
    assert printable("é漢\x1b[2J\n\u202e\x00") == "é漢?[2J???"


def _without_colours(line: str) -> str:
    parts = line.split("\x1b[")
    return parts[0] + "".join(part.partition("m")[2] for part in parts[1:])
