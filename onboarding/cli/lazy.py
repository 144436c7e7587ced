"""A group whose commands are imported when they are called: `onboarding --help` has nothing to wait for."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import click


@dataclass(frozen=True)
class Entry:
    """Where a command lies (`module:attribute`), and its line in the group's help."""

    place: str
    summary: str


class LazyGroup(click.Group):
    """Also the one place where errors of the layers below become words."""

    def __init__(self, *args: Any, entries: Mapping[str, Entry], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.entries = entries

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """In the order of the table, which is the order of an engineer's day."""
        return list(self.entries)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's
        """Import it now."""
        if cmd_name not in self.entries:
            return None
        module, _, attribute = self.entries[cmd_name].place.partition(":")
        command = getattr(import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """From the table: click would import every command for its help."""
        rows = [(name, self.entries[name].summary) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; what it raises becomes what, why and the next command."""
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Exception as error:
            from onboarding.cli.translation import refusal_for  # noqa: PLC0415 - it knows SQLAlchemy

            refusal = refusal_for(error)
            if refusal is None:
                raise
            if isinstance(error, OSError) and error.filename is None:
                _give_up_output()
        raise refusal  # out here, so that it drags no context along


def _give_up_output() -> None:
    """Standard output takes nothing more: what is left in its buffer would be a second error, at the very end."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
