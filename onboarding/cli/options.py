"""What several commands' help and options have in common."""

from __future__ import annotations

from typing import Final

import click

from onboarding.shapes import mask_shapes


def examples(*lines: str) -> str:
    """A command's epilog: what can be typed as it stands."""
    heading = "Example:" if len(lines) == 1 else "Examples:"
    return "\b\n" + "\n".join([heading, *(f"  {line}" for line in lines)])


def impersonal(_context: click.Context, _option: click.Parameter, text: str | None) -> str | None:
    """Refuse what has the shape of an address, a token or a key: it would lie in the store for ever, in the open.

    Nor is the `...` of a proposed command a reason.
    """
    if text is not None and text.strip() in ("...", "\N{HORIZONTAL ELLIPSIS}"):
        raise click.BadParameter("'...' is the place of your own words: put them there")
    if text is not None and mask_shapes(text) != text:
        raise click.BadParameter("looks like it holds an e-mail address, a token or a key; name a ticket instead")
    return text


json_option: Final = click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
because_option: Final = click.option(
    "--because", default="", metavar="TEXT", callback=impersonal, help="Why, for the audit line."
)
