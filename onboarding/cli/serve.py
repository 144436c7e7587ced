"""`onboarding up` and `onboarding intake`: processes that run until they are stopped."""

from __future__ import annotations

from urllib.parse import urlsplit

import click

from onboarding import schema
from onboarding.cli.options import examples
from onboarding.cli.printing import hint
from onboarding.cli.refusal import WRONG_USAGE, Refusal
from onboarding.cli.shell import Shell
from onboarding.cli.start import FOLDER, open_store, start
from onboarding.schema import SchemaMissing
from onboarding.settings import Settings, unknown
from onboarding.store import org_tokens
from onboarding.store.engine import Store, StoreRefuses, StoreUnavailable

PATIENCE_S = 2.0


@click.command("up", epilog=examples("onboarding up"))
@click.pass_obj
def up_command(shell: Shell) -> None:
    """Run worker, intake and upkeep in this one process.

    For a laptop or a small deployment. Makes the SQLite store if there is none. SIGTERM and Ctrl-C stop it
    cleanly: the step in hand is finished first.
    """
    settings = _start()
    settings.require_deel_token(own_tokens=_own_tokens(settings))
    settings.keyring()
    _refuse_the_demos_store(settings)
    if settings.production:
        _require_schema(settings)
    store = "PostgreSQL" if settings.sqlite_path is None else settings.sqlite_path
    broker = "in memory" if settings.embedded else "RabbitMQ"
    hint(f"Starting: store {store}, broker {broker}, Deel at {urlsplit(settings.deel_url).netloc}. Ctrl-C stops it.")
    shell.serve_all()


@click.command("intake", epilog=examples("onboarding intake"))
@click.pass_obj
def intake_command(shell: Shell) -> None:
    """Run the intake: HRIS events off the queue, into the store.

    Needs a broker that other processes reach too; on the embedded one, use `onboarding up`. SIGTERM and
    Ctrl-C stop it cleanly.
    """
    settings = _start()
    if settings.embedded:
        raise Refusal(
            "the intake was not started",
            "ONBOARDING_BROKER_URL is not set, or memory://: that broker lives in one process, which no other reaches.",
            then=("onboarding up",),
            code=WRONG_USAGE,
        )
    settings.keyring()
    _require_schema(settings)
    shell.serve_intake()


def _refuse_the_demos_store(settings: Settings) -> None:
    """Raises Refusal: its made-up contracts must not reach a real Deel, and the next demo deletes it."""
    if settings.sqlite_path is not None and settings.sqlite_path.parent.parts[-2:] == FOLDER.parts:
        raise Refusal(
            "it was not started",
            f"{settings.sqlite_path} is the demo's store.",
            then=("unset ONBOARDING_DATABASE_URL",),
            code=WRONG_USAGE,
        )


def _start() -> Settings:
    settings = start("INFO")
    for line in unknown():
        hint(line)
    return settings


def _require_schema(settings: Settings) -> None:
    """Raises Refusal where the store answers and its tables are not this release's. One that is away is waited for."""
    store = Store(settings.database_url.get_secret_value(), patience_s=PATIENCE_S)
    try:
        schema.check(store)
    except StoreRefuses:
        raise
    except StoreUnavailable:
        return
    except SchemaMissing as missing:
        raise Refusal("it was not started", str(missing), then=(schema.UPGRADE,)) from None
    finally:
        store.close()


def _own_tokens(settings: Settings) -> bool:
    """Whether an organisation has a token of its own in a store that is there and up to date."""
    if settings.deel_token is not None or (settings.sqlite_path is not None and not settings.sqlite_path.exists()):
        return False
    with open_store(settings) as store:
        try:
            schema.check(store)
        except schema.SchemaMissing:
            return False
        return store.read(org_tokens.any_there)
