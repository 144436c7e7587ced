"""What the command line says of itself."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from onboarding import __version__
from onboarding.cli.lazy import Entry, LazyGroup
from onboarding.cli.main import ENTRIES, cli


def walk(group: click.Group, path: str) -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group, info_name=path)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield f"{path} {name}", command
        if isinstance(command, click.Group):
            yield from walk(command, f"{path} {name}")


COMMANDS = dict(walk(cli, "onboarding"))


@pytest.mark.parametrize("path", COMMANDS)
def test_every_command_has_help_and_an_example(path: str):
    """Its help says what it does and shows a line that can be typed."""
    command = COMMANDS[path]
    help_text = command.get_help(click.Context(command, info_name=path))
    assert command.help
    assert "Example" in help_text
    assert f"  {path}" in help_text.partition("Example")[2]


@pytest.mark.parametrize("path", COMMANDS)
def test_every_option_has_help(path: str):
    """No option that one has to guess."""
    for parameter in COMMANDS[path].params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{path} {parameter.name}"


@pytest.mark.parametrize("name", ENTRIES)
def test_the_line_in_the_list_is_the_commands_own(name: str):
    """The table repeats each command's first sentence, for speed; the two stay the same."""
    said = " ".join((COMMANDS[f"onboarding {name}"].help or "").split("\n\n")[0].split())
    assert ENTRIES[name].summary == said


@pytest.mark.parametrize("path", [path for path, command in COMMANDS.items() if not isinstance(command, click.Group)])
def test_every_command_that_answers_has_json(path: str):
    """All but those that run until they are stopped, and the demo."""
    has_json = any("--json" in parameter.opts for parameter in COMMANDS[path].params)
    assert has_json != (path.split()[1] in ("demo", "up", "intake", "gateway"))


def test_help_waits_for_no_library():
    """`onboarding --help` imports nothing heavy."""
    program = (
        "import sys\nfrom onboarding.cli.main import cli\n"
        "try:\n    cli(['--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = ('sqlalchemy', 'celery', 'pydantic', 'rich', 'httpx', 'structlog', 'cryptography')\n"
        "print([name for name in heavy if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert "Commands:" in done.stdout
    assert done.stderr.strip() == "[]"


def test_a_defect_is_not_dressed_up():
    """What nobody foresaw leaves the group as it is: the log gets its traceback."""
    group = LazyGroup("g", entries={"boom": Entry(f"{__name__}:boom", "Fails.")})
    with pytest.raises(ZeroDivisionError):
        group(["boom"], standalone_mode=False)


@click.command("boom")
def boom() -> None:
    raise ZeroDivisionError


def test_a_command_that_does_not_exist_is_wrong_usage(onboarding):
    """Exit 2, as for every mistyped line."""
    assert onboarding("rnus").exit_code == 2


def test_the_version():
    """In one line."""
    result = CliRunner().invoke(cli, ["--version"])
    assert (result.exit_code, result.output) == (0, f"onboarding {__version__}\n")
