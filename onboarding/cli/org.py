"""`onboarding org`: organisations that have a token for Deel of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import click
from pydantic import SecretStr
from sqlalchemy import Connection

from onboarding.budget import fingerprint_of
from onboarding.cli.options import because_option, examples, json_option
from onboarding.cli.printing import (
    Column,
    hint,
    moment,
    on_terminal,
    print_json,
    print_table,
    print_verdict,
    short_moment,
)
from onboarding.cli.probes import Finding, probe_deel
from onboarding.cli.refusal import NOTHING_MATCHED, WRONG_USAGE, Refusal
from onboarding.cli.start import open_store, start, who
from onboarding.deel.wire import is_safe_id, sendable
from onboarding.masking import remember_secret
from onboarding.runs import Reason
from onboarding.settings import Settings
from onboarding.store import org_tokens, organizations, runs
from onboarding.store.engine import Store
from onboarding.store.events import HOME

COLUMNS: Final = (
    Column("organisation"),
    Column("token"),
    Column("put in", spare=1),
    Column("active runs", right=True),
    Column("paused"),
)
_MENDED: Final = (Reason.ORG_TOKEN_MISSING, Reason.ORG_TOKEN_REJECTED)


@click.group("org", epilog=examples("onboarding org token set org-7", "onboarding org list"))
def org_group() -> None:
    """Keep organisations that have a token for Deel of their own.

    Each has a request budget of its own as well. Events of all others are served by ONBOARDING_DEEL_TOKEN.
    """


@org_group.group("token", epilog=examples("onboarding org token set org-7"))
def token_group() -> None:
    """Keep an organisation's token for Deel."""


@token_group.command(
    "set", epilog=examples("onboarding org token set org-7", "onboarding org token set org-7 --file /run/secrets/org-7")
)
@click.argument("organization", metavar="ORGANISATION")
@click.option(
    "--file",
    "path",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Read it from here.",
)
@because_option
@json_option
def set_command(*, organization: str, path: Path | None, because: str, as_json: bool) -> None:
    """Put an organisation's token for Deel into the vault, or replace the one that is there.

    The id is the one that HRIS events name as organization_id (`home`: of those that name none). The token is asked
    for, or read from a file: never an argument, which others can see. Deel is asked whether it takes it; what it
    refuses is not stored. Runs that waited for it go on at once; every process uses it within ten seconds, none has to
    be started anew. The organisation of ONBOARDING_DEEL_TOKEN gets one so, too, by its id: it goes before the setting.
    """
    if not is_safe_id(organization):
        raise click.BadParameter("letters, digits and . _ ~ - only, as HRIS events have it", param_hint="ORGANISATION")
    settings = start()
    if organization == HOME and settings.deel_token is not None:
        raise _goes_by_its_id(settings, settings.deel_token)
    keyring = settings.keyring()
    token = _token(path)

    def keep(db: Connection) -> tuple[bool, bool]:
        replaced = org_tokens.keep(db, keyring, organization, token, fingerprint_of(token))
        mended = organizations.paused_reason(db, organization) in mends and organizations.resume(db, organization)
        runs.note(db, who(), "org_token_set", because, organization_id=organization)
        return replaced, mended

    with open_store(settings) as store:
        found = _ask_deel(settings, store, token, quiet=as_json)
        lacks_nothing = all(finding.ok for finding in found)
        mends = (*_MENDED, Reason.SCOPE_MISSING) if lacks_nothing else _MENDED
        replaced, mended = store.write(keep)
        paused = store.read(lambda db: organizations.paused_reason(db, organization))
    if as_json:
        checks = [asdict(each) for each in found]
        print_json({"organization_id": organization, "replaced": replaced, "resumed": mended, "checks": checks})
    else:
        click.echo(f"{organization}: its token is in the vault" + (", in the place of the one before" * replaced))
        if not lacks_nothing:
            hint("It lacks what is said to have FAILED above: runs will pause at it.\n  next  onboarding doctor")
        if paused:
            hint(f"It is paused, so its runs wait.\n  next  onboarding resume {organization}")
        if mended:
            hint("Its runs had waited for it: the reconciler (beat, or `onboarding up`) sends them on their way.")


@org_group.command("list", epilog=examples("onboarding org list", "onboarding org list --json"))
@json_option
def list_command(*, as_json: bool) -> None:
    """List organisations that have a token of their own or are paused."""
    with open_store(start()) as store:
        rows = store.read(org_tokens.listing)
    if as_json:
        print_json([_document(row) for row in rows])
    elif rows:
        print_table(COLUMNS, [_cells(row) for row in rows])
    else:
        hint("No organisation has a token of its own: ONBOARDING_DEEL_TOKEN serves them all.")
        hint("next  onboarding org token set ORGANISATION")


@org_group.command("remove", epilog=examples('onboarding org remove org-7 --because "left us, OPS-117"'))
@click.argument("organization", metavar="ORGANISATION")
@because_option
@json_option
def remove_command(*, organization: str, because: str, as_json: bool) -> None:
    """Destroy an organisation's token for Deel, and pause the organisation.

    Its runs wait: they would else go on by ONBOARDING_DEEL_TOKEN, which is another organisation's.
    """

    def remove(db: Connection) -> bool:
        if not org_tokens.remove(db, organization):
            return False
        organizations.hold(db, organization)
        runs.note(db, who(), "org_token_removed", because, organization_id=organization)
        return True

    with open_store(start()) as store:
        if not store.write(remove):
            raise Refusal(
                f"{organization} has no token of its own", then=("onboarding org list",), code=NOTHING_MATCHED
            )
    if as_json:
        print_json({"organization_id": organization, "removed": True, "paused": True})
    else:
        click.echo(f"{organization}: its token is destroyed, its runs wait")
        hint(f"next  onboarding org token set {organization}")


def _goes_by_its_id(settings: Settings, token: SecretStr) -> Refusal:
    with open_store(settings) as store:
        home = store.read(lambda db: organizations.home(db, fingerprint_of(token)))
    return Refusal(
        "nothing was stored",
        "ONBOARDING_DEEL_TOKEN serves events that name no organisation; the organisation itself has an id.",
        then=(f"onboarding org token set {home}",) if home else ("onboarding doctor",),
        code=WRONG_USAGE,
    )


def _token(path: Path | None) -> SecretStr:
    """Raises Refusal for what no header can carry; its text quotes nothing."""
    text = path.read_text("utf-8", errors="replace") if path else click.prompt("Token", hide_input=True, err=True)
    token = SecretStr(text.strip())
    remember_secret(token)
    if not token.get_secret_value() or not sendable(token):
        why = "A token for Deel is one word of printable ASCII, without the word Bearer."
        raise Refusal("nothing was stored", why, code=WRONG_USAGE)
    return token


def _ask_deel(settings: Settings, store: Store, token: SecretStr, *, quiet: bool) -> Sequence[Finding]:
    """Raises Refusal where Deel does not take it. A scope that is missing is told, and no reason to refuse."""
    found = []
    for finding in probe_deel(settings.model_copy(update={"deel_token": token}), store):
        if not quiet:
            print_verdict("ok" if finding.ok else "FAILED", finding.check, finding.detail, finding.hint)
        found.append(finding)
        if not found[0].ok:
            raise Refusal("nothing was stored", found[0].detail)
    return found


def _document(row: Any) -> dict[str, Any]:
    return {
        "organization_id": row.id,
        "token_fingerprint": row.token_fingerprint,
        "token_at": row.token_at,
        "active_runs": row.active,
        "paused_reason": row.paused_reason,
    }


def _cells(row: Any) -> tuple[str, ...]:
    at = short_moment(row.token_at) if on_terminal() else moment(row.token_at)
    return row.id, row.token_fingerprint or "that of the settings", at, str(row.active), row.paused_reason or ""
