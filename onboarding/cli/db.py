"""`onboarding db`: the store's schema."""

from __future__ import annotations

import click
from alembic.util import CommandError

from onboarding.cli.options import examples, json_option
from onboarding.cli.printing import hint, print_json
from onboarding.cli.refusal import Refusal
from onboarding.cli.shell import BrokerUnavailable, Shell
from onboarding.cli.start import start
from onboarding.settings import Settings
from onboarding.store import migrate
from onboarding.store.engine import Store


@click.group("db", epilog=examples("onboarding db upgrade"))
def db_group() -> None:
    """Keep the store's schema."""


@db_group.command("upgrade", epilog=examples("onboarding db upgrade"))
@json_option
@click.pass_obj
def upgrade_command(shell: Shell, *, as_json: bool) -> None:
    """Bring the schema to this release's, and declare exchanges and queues.

    Safe to repeat, and while the release before still runs. Makes the SQLite file if there is none. A broker
    that does not answer is told, and is no failure: every process declares what it needs. One that refuses is.
    """
    before, after = _upgrade(start())
    try:
        shell.declare()
        declared = True
    except BrokerUnavailable as away:
        hint(f"The broker does not answer ({away}): nothing was declared there.")
        declared = False
    if as_json:
        print_json({"before": before, "after": after, "declared": declared})
    elif before == after:
        click.echo(f"schema at {after}: nothing to do")
    else:
        click.echo(f"schema {before or 'empty'} -> {after}")


def _upgrade(settings: Settings) -> tuple[str | None, str]:
    path = settings.sqlite_path
    try:
        if path is not None:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        store = Store(settings.database_url.get_secret_value())
        try:
            return migrate.upgrade(store)
        finally:
            store.close()
    except OSError as error:
        raise Refusal("the store was not made", f"{path}: {error.strerror}") from None
    except CommandError:
        raise Refusal(
            "nothing was upgraded",
            "The schema is of another, probably newer, release: this one does not know its revision.",
            then=("onboarding doctor",),
        ) from None
