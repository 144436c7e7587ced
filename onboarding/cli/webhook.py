"""`onboarding webhook`: the subscription at Deel, and what arrives by it."""

from __future__ import annotations

import os
import secrets
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import click
from pydantic import SecretStr

from onboarding.cli.options import because_option, examples, json_option
from onboarding.cli.printing import Column, hint, print_json, print_table, print_verdict
from onboarding.cli.refusal import FAILED, NOTHING_MATCHED, WRONG_USAGE, Refusal
from onboarding.cli.start import open_store, start, who
from onboarding.cli.webhook_listen import listen_command
from onboarding.cli.webhook_send import send_command
from onboarding.clients import learn_home
from onboarding.deel import Deel, DeelFailure, PauseOrganisation, Subscription
from onboarding.deel_events import SUBSCRIBED
from onboarding.deel_wanted import Trouble, Wanted
from onboarding.masking import remember_secret
from onboarding.runs import Reason
from onboarding.settings import Settings, load
from onboarding.store import runs, webhooks
from onboarding.store.engine import Store
from onboarding.store.events import HOME
from onboarding.subscriptions import settle, trouble_with
from onboarding.transport import Http
from onboarding.world import clients_of

COLUMNS: Final = (
    Column("id"),
    Column("label"),
    Column("status"),
    Column("url", spare=1),
    Column("events", right=True),
    Column("kept here"),
)

organization_option: Final = click.option(
    "--org", "organization", metavar="ORGANISATION", help="By its own token; else by ONBOARDING_DEEL_TOKEN."
)


@click.group(
    "webhook",
    epilog=examples(
        "onboarding webhook create --url https://hooks.example.com/webhooks/deel --label deel --key-file hook.keys",
        "onboarding webhook check",
    ),
)
def webhook_group() -> None:
    """Keep Deel's webhooks coming: subscribe, check, watch, try."""


def _https(_context: click.Context, _option: click.Parameter, url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.hostname or "@" in parts.netloc:
        raise click.BadParameter("is to be an https URL without user or password")
    return url


def _label(_context: click.Context, _option: click.Parameter, label: str) -> str:
    if not (0 < len(label) <= 128 and label.isprintable() and not {",", "="} & set(label) and label == label.strip()):  # noqa: PLR2004 - of its column
        raise click.BadParameter("1 to 128 printable characters, neither comma nor equals sign")
    return label


@webhook_group.command(
    "create",
    epilog=examples(
        "onboarding webhook create --url https://hooks.example.com/webhooks/deel --label deel --key-file hook.keys"
    ),
)
@click.option("--url", required=True, callback=_https, help="The gateway's, as Deel reaches it.")
@click.option("--label", required=True, callback=_label, help="Deel's name for it; names the signing key, too.")
@click.option(
    "--key-file", type=click.Path(dir_okay=False, path_type=Path), help="Make the signing key and keep it here."
)
@organization_option
@because_option
@json_option
def create_command(
    *, url: str, label: str, key_file: Path | None, organization: str | None, because: str, as_json: bool
) -> None:
    """Subscribe to every event that is understood, or mend the subscription that is there.

    One of the same label and URL is found and not doubled; a disabled one is enabled again. The signing key is that
    of the label in ONBOARDING_WEBHOOK_SECRETS. Without one, it is made and written to --key-file (mode 0600, to be
    named by ONBOARDING_WEBHOOK_SECRETS_FILE) before Deel hears of it; it is never printed.
    """
    settings = start()
    key = settings.webhook_secrets.get(label) or _kept_key(key_file, label)
    wanted = Wanted(label, url, SUBSCRIBED)
    with _at(settings, organization) as desk:
        settled = settle(desk.deel, wanted, key)

        def keep(db: Any) -> None:
            webhooks.expect(db, desk.organization_id, wanted, settled.subscription.id)
            if settled.did != "kept":
                runs.note(db, who(), f"webhook_{settled.did}", because, organization_id=desk.organization_id)

        desk.store.write(keep)
    document = _document(settled.subscription, kept_here=True)
    if as_json:
        print_json(
            {**document, "organization_id": desk.organization_id, "did": settled.did, "trouble": settled.trouble}
        )
    else:
        click.echo(f"{settled.did} {settled.subscription.id}: {label} sends {len(SUBSCRIBED)} kinds of events to {url}")
        if settled.trouble:
            hint(f"{settled.trouble}: {settled.trouble.advice}\n  next  onboarding webhook list")
        if label not in settings.webhook_secrets:
            hint(f"next  export ONBOARDING_WEBHOOK_SECRETS_FILE={key_file}, and start gateway and intake anew")
        hint("next  onboarding webhook listen")


@webhook_group.command("list", epilog=examples("onboarding webhook list", "onboarding webhook list --org org-7"))
@organization_option
@json_option
def list_command(*, organization: str | None, as_json: bool) -> None:
    """List the organisation's subscriptions at Deel. No key is shown."""
    with _at(start(), organization) as desk:
        found, ours = desk.deel.subscriptions(), desk.ids_kept_here()
    rows = [_document(each, kept_here=each.id in ours) for each in found]
    if as_json:
        print_json(rows)
    elif rows:
        print_table(COLUMNS, [_cells(row) for row in rows])
    else:
        hint("Deel has none.\nnext  onboarding webhook create --url URL --label LABEL --key-file FILE")


@webhook_group.command("check", epilog=examples("onboarding webhook check", "onboarding webhook check --json"))
@organization_option
@json_option
def check_command(*, organization: str | None, as_json: bool) -> None:
    """Ask Deel whether the subscriptions are as they should be.

    Deel disables one after ten failed deliveries. Upkeep looks every quarter of an hour, and warns once. Exit code 1
    where something is wrong, 3 where none was made from here.
    """
    settings = start()
    with _at(settings, organization) as desk:
        expected = [row for row in desk.store.read(webhooks.expected) if row.organization_id == desk.organization_id]
        if not expected:
            raise Refusal(
                "no subscription was made from here",
                then=("onboarding webhook create --url URL --label LABEL --key-file FILE",),
                code=NOTHING_MATCHED,
            )
        found = desk.deel.subscriptions()
        checked = []
        for row in expected:
            trouble = trouble_with(found, webhooks.wanted_of(row), settings.webhook_secrets.get(row.label))
            desk.store.write(lambda db, row=row, trouble=trouble: webhooks.saw(db, row, trouble))  # type: ignore[misc]
            checked.append((row, trouble))
    if as_json:
        print_json([{"label": row.label, "url": row.url, "trouble": trouble} for row, trouble in checked])
    else:
        for row, trouble in checked:
            print_verdict(*_verdict(row, trouble, has_key=row.label in settings.webhook_secrets))
    if any(trouble for _, trouble in checked):
        raise click.exceptions.Exit(FAILED)


@webhook_group.command("delete", epilog=examples('onboarding webhook delete SUBSCRIPTION --because "moved, OPS-117"'))
@click.argument("subscription")
@organization_option
@because_option
@json_option
def delete_command(*, subscription: str, organization: str | None, because: str, as_json: bool) -> None:
    """Delete a subscription at Deel, by its id: what happens from then on is told by no webhook."""
    with _at(start(), organization) as desk:
        known = {each.id for each in desk.deel.subscriptions()} | desk.ids_kept_here()
        if subscription not in known:
            raise Refusal(
                f"Deel has no subscription {subscription}", then=("onboarding webhook list",), code=NOTHING_MATCHED
            )
        desk.deel.unsubscribe(subscription)

        def forget(db: Any) -> None:
            webhooks.forget(db, desk.organization_id, subscription)
            runs.note(db, who(), "webhook_deleted", because, organization_id=desk.organization_id)

        desk.store.write(forget)
    if as_json:
        print_json({"id": subscription, "deleted": True})
    else:
        click.echo(f"deleted {subscription}")


webhook_group.add_command(listen_command)
webhook_group.add_command(send_command)


@dataclass(frozen=True)
class Desk:
    """An organisation's Deel, and the store."""

    store: Store
    deel: Deel
    organization_id: str

    def ids_kept_here(self) -> set[str]:
        """Of the subscriptions that ought to be there."""
        rows = self.store.read(webhooks.expected)
        return {row.deel_id for row in rows if row.organization_id == self.organization_id}


@contextmanager
def _at(settings: Settings, organization: str | None) -> Iterator[Desk]:
    """What Deel refuses ends the command. Raises Refusal."""
    with closing(Http()) as http, open_store(settings) as store:
        clients = clients_of(settings, store, settings.keyring(), http)
        try:
            organization_id = organization or HOME
            if organization is None and clients.home is not None:
                organization_id = learn_home(store, clients.home, clients.home.deel.organization_id) or HOME
            yield Desk(store, clients.of(organization_id), organization_id)
        except DeelFailure as failure:
            lacks = failure.scope if isinstance(failure, PauseOrganisation) else None
            why = f"Add {lacks} to the token in Deel." if lacks else failure.reason.advice
            then = ("onboarding org list",) if failure.reason is Reason.ORG_TOKEN_MISSING else ("onboarding doctor",)
            raise Refusal(f"Deel did not do it: {failure}", why, then=then) from None


def _kept_key(path: Path | None, label: str) -> SecretStr:
    """The label's key in the file; made, and kept there before it is used, where there is no file. Raises Refusal."""
    if path is None:
        raise Refusal(
            f"nothing was done: ONBOARDING_WEBHOOK_SECRETS has no key for {label}",
            "Deel signs each webhook with it, and no key may be shown.",
            then=("onboarding webhook create ... --key-file FILE",),
            code=WRONG_USAGE,
        )
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        key = load({"ONBOARDING_WEBHOOK_SECRETS_FILE": str(path)}).webhook_secrets.get(label)
        if key is None:
            why = "It is there already; add a line of your own, or name another file."
            raise Refusal(f"nothing was done: {path} has no key for {label}", why, code=WRONG_USAGE) from None
    else:
        key = SecretStr(secrets.token_urlsafe(32))
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(f"{label}={key.get_secret_value()}\n")
            file.flush()
            os.fsync(file.fileno())
    remember_secret(key)
    return key


def _document(found: Subscription, *, kept_here: bool) -> dict[str, Any]:
    return {
        "id": found.id,
        "label": found.label,
        "status": found.status,
        "url": found.url,
        "events": list(found.events),
        "kept_here": kept_here,
    }


def _cells(row: Mapping[str, Any]) -> Sequence[str]:
    kept = "yes" if row["kept_here"] else ""
    return row["id"], row["label"] or "", row["status"] or "", row["url"] or "", str(len(row["events"])), kept


def _verdict(row: Any, trouble: Trouble | None, *, has_key: bool) -> tuple[str, str, str, str]:
    """Word, subject, detail, and what to type."""
    if trouble is None:
        return "ok", row.label, f"enabled, to {row.url}", ""
    said, organization = f"{trouble}: {trouble.advice}", row.organization_id
    if trouble is Trouble.DOUBLED:
        return "FAILED", row.label, said, f"onboarding webhook list --org {organization}"
    named = f"--url {shlex.quote(row.url)} --label {shlex.quote(row.label)} --org {organization}"
    return "FAILED", row.label, said, f"onboarding webhook create {named}" + ("" if has_key else " --key-file FILE")
