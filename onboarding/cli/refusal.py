"""How a command ends when it does not do what was asked."""

from __future__ import annotations

from typing import Final

import click

from onboarding.cli.printing import printable

DONE: Final = 0
"""All that was asked is done; an empty listing is done too."""
FAILED: Final = 1
"""It was not done, or not all of it, or a check failed."""
WRONG_USAGE: Final = 2
"""The command line or the settings are wrong, or a question has nobody to answer it."""
NOTHING_MATCHED: Final = 3
"""What was named does not exist; nothing was done."""

INTERRUPTED: Final = 130
"""Ctrl-C, as shells count it."""


class Refusal(click.ClickException):
    """What did not happen, why, and what to type next. Goes to standard error."""

    def __init__(self, what: str, *why: str, then: tuple[str, ...] = (), code: int = FAILED) -> None:
        lines = [what, *(f"  why   {line}" for line in why), *(f"  next  {command}" for command in then)]
        super().__init__("\n".join(map(printable, lines)))
        self.what, self.why, self.then = what, why, then
        self.exit_code = code  # type: ignore[misc]  # click declares it for the class


def unknown(*names: str) -> Refusal:
    """No run has this id, nor has its contract."""
    return Refusal(
        f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} not known",
        "No run has this id, and no contract of this id has a run. Nothing was done.",
        then=("onboarding runs",),
        code=NOTHING_MATCHED,
    )
