"""`onboarding service-key`: the keys by which apps get worker tokens over HTTP."""

from __future__ import annotations

import re
from typing import Any, Final

import click
from sqlalchemy import Connection

from onboarding import service_keys as keys
from onboarding.cli.options import because_option, examples, impersonal, json_option
from onboarding.cli.printing import Column, hint, moment, on_terminal, print_json, print_table, short_moment
from onboarding.cli.refusal import NOTHING_MATCHED, Refusal
from onboarding.cli.start import open_store, start, who
from onboarding.deel.wire import is_safe_id
from onboarding.masking import remember_secret
from onboarding.service_keys import Scope
from onboarding.store import runs, service_keys

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,59}")
COLUMNS: Final = (
    Column("key"),
    Column("scope"),
    Column("organisation"),
    Column("a minute", right=True, spare=2),
    Column("created", spare=1),
    Column("last used"),
    Column("revoked"),
)


@click.group("service-key", epilog=examples("onboarding service-key create payroll-app", "onboarding service-key list"))
def service_key_group() -> None:
    """Keep the keys by which apps get worker tokens over HTTP.

    A key may do that, or act as a worker through the proxy, and nothing else.
    """


@service_key_group.command(
    "create",
    epilog=examples(
        "onboarding service-key create payroll-app --organization org-7",
        "onboarding service-key create portal --scope proxy --per-minute 600",
    ),
)
@click.argument("name", callback=impersonal)
@click.option("--organization", metavar="ID", help="Whose contracts it opens, and nobody else's; else every one's.")
@click.option(
    "--scope",
    type=click.Choice([str(each) for each in Scope]),
    default=str(Scope.TOKEN),
    show_default=True,
    help="proxy: it acts as a worker and never gets a token. token: both.",
)
@click.option(
    "--per-minute", default=300, show_default=True, type=click.IntRange(1, 100_000), help="Requests that it may make."
)
@because_option
@json_option
def create_command(
    *, name: str, organization: str | None, scope: str, per_minute: int, because: str, as_json: bool
) -> None:
    """Make a key and print it, this once: the store keeps a digest.

    Audit lines name the key, so no name is ever used twice: replace a key by one of another name, then revoke it.
    """
    if not _NAME.fullmatch(name):
        raise click.BadParameter("lower-case letters, digits and . _ - only", param_hint="NAME")
    if organization is not None and not is_safe_id(organization):
        raise click.BadParameter("letters, digits and . _ ~ - only, as `onboarding runs` has it", param_hint="ID")
    new = keys.make()
    remember_secret(new.key)

    def keep(db: Connection) -> bool:
        of = organization
        if not service_keys.add(db, new, name=name, scope=Scope(scope), organization_id=of, per_minute=per_minute):
            return False
        runs.note(db, who(), "service_key_created", f"{name} {because}".strip(), organization_id=organization)
        return True

    with open_store(start()) as store:
        if not store.write(keep):
            why = "Another key has this name, or had it: audit lines go by it."
            raise Refusal(f"no key {name} was made", why, then=("onboarding service-key list",))
    key = new.key.get_secret_value()
    if as_json:
        print_json(
            {"name": name, "key": key, "scope": scope, "organization_id": organization, "per_minute": per_minute}
        )
        return
    click.echo(key)
    hint("It is shown this once. The app sends it as `Authorization: Bearer KEY`.")


@service_key_group.command("list", epilog=examples("onboarding service-key list", "onboarding service-key list --json"))
@json_option
def list_command(*, as_json: bool) -> None:
    """List keys, revoked ones too, without the keys themselves."""
    with open_store(start()) as store:
        rows = store.read(service_keys.listing)
    if as_json:
        print_json([_document(row) for row in rows])
    elif rows:
        print_table(COLUMNS, [_cells(row) for row in rows])
    else:
        hint("There are no service keys.\n  next  onboarding service-key create NAME")


@service_key_group.command("revoke", epilog=examples('onboarding service-key revoke payroll-app --because "OPS-117"'))
@click.argument("name")
@because_option
@json_option
def revoke_command(*, name: str, because: str, as_json: bool) -> None:
    """Revoke a key: from now on it opens nothing, in any process.

    Tokens that were handed out live on until they expire, or are replaced (`onboarding replay CONTRACT --reissue`).
    """

    def revoke(db: Connection) -> Any:
        row = service_keys.revoke(db, name)
        if row is not None:
            told = f"{name} {because}".strip()
            runs.note(db, who(), "service_key_revoked", told, organization_id=row.organization_id)
        return row

    with open_store(start()) as store:
        row = store.write(revoke)
    if row is None:
        raise Refusal(f"there is no key {name}", then=("onboarding service-key list",), code=NOTHING_MATCHED)
    if as_json:
        print_json(_document(row))
    else:
        click.echo(f"{name} is revoked")


def _document(row: Any) -> dict[str, Any]:
    names = ("name", "scope", "organization_id", "per_minute", "created_at", "last_used_at", "revoked_at")
    return {name: getattr(row, name) for name in names}


def _cells(row: Any) -> tuple[str, ...]:
    when = short_moment if on_terminal() else moment
    times = [when(each) for each in (row.created_at, row.last_used_at, row.revoked_at)]
    return row.name, row.scope, row.organization_id or "every one", str(row.per_minute), *times
