"""`onboarding send`: what an HRIS would put on hris.events."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import click

from onboarding.cli.options import examples, json_option
from onboarding.cli.printing import hint, print_json
from onboarding.cli.shell import Shell
from onboarding.cli.start import open_store, require_store, start
from onboarding.deel_events import CONTRACT_CREATED
from onboarding.events import Dead, Message, Why, read
from onboarding.settings import Settings
from onboarding.store import runs

CONTENT_TYPE: Final = "application/json"


def _headers(_context: click.Context, _option: click.Parameter, pairs: tuple[str, ...]) -> dict[str, str]:
    headers = {name.strip(): value.strip() for name, _, value in (pair.partition("=") for pair in pairs)}
    if not all(headers) or not all("=" in pair for pair in pairs):
        raise click.BadParameter("has the form NAME=VALUE")
    return headers


@click.command(
    "send",
    epilog=examples(
        "onboarding send c-42",
        "onboarding send c-42 --organization org-7 --id hris-2026-117",
        'onboarding send --file webhook.json --header "x-deel-signature=9f..."',
    ),
)
@click.argument("contract", required=False)
@click.option("--organization", metavar="ID", help="The contract's organisation; else that of ONBOARDING_DEEL_TOKEN.")
@click.option("--type", "event_type", default=CONTRACT_CREATED, show_default=True, help="Also the routing key.")
@click.option("--id", "event_id", metavar="ID", help="The event's own id: one that was sent before is a duplicate.")
@click.option("--file", "path", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="A body, as it is.")
@click.option("--header", "headers", multiple=True, metavar="NAME=VALUE", callback=_headers, help="Of the file's.")
@json_option
@click.pass_obj
def send_command(
    shell: Shell,
    *,
    contract: str | None,
    organization: str | None,
    event_type: str,
    event_id: str | None,
    path: Path | None,
    headers: Mapping[str, str],
    as_json: bool,
) -> None:
    """Put an HRIS event on hris.events, as an HRIS would.

    CONTRACT makes the plain form; --file sends a recorded body byte for byte (Deel's webhook, a CloudEvent).
    Returns when the broker has confirmed it.
    """
    if (contract is None) == (path is None):
        raise click.UsageError("Name a contract, or a file with --file: one of the two.")
    if path is None and headers:
        raise click.UsageError("--header goes with --file.")
    if path is not None and (organization or event_id):
        raise click.UsageError("--organization and --id go with a contract; a file is sent as it is.")
    settings = start("ERROR")  # what is wrong is said by the command itself
    if settings.embedded:
        require_store(settings)
    sent_id = None if path else event_id or str(uuid.uuid4())
    body = path.read_bytes() if path else _plain_form(contract, organization, event_type, sent_id)
    filed = _filing(settings) if settings.embedded else None
    shell.publish_event(body, headers, event_type)
    became = filed() if filed else []
    if as_json:
        document = {"routing_key": event_type, "size": len(body), "contract_id": contract, "id": sent_id}
        print_json({**document, "organization_id": organization})
    else:
        click.echo(f"sent {event_type}, {len(body)} bytes")
    if became and not any(event.disposition == "accepted" for event in became):
        _tell(became)
        return
    if settings.embedded:
        hint("It lies in the store; the run goes on while `onboarding up` runs.")
    if contract and event_type == CONTRACT_CREATED:
        hint(f"next  onboarding show {contract}")
    else:  # of another type, or a file: who knows what it is read as
        hint("next  onboarding runs")
        hint("next  onboarding dead list")


def _filing(settings: Settings) -> Callable[[], Sequence[Any]]:
    """With the embedded broker an event is filed before `publish_event` returns: call the answer to see as what."""
    with open_store(settings) as store:
        before = store.read(runs.last_event)

    def became() -> Sequence[Any]:
        with open_store(settings) as store:
            return store.read(lambda db: runs.events_since(db, before))

    return became


def _tell(became: Sequence[Any]) -> None:
    """Of events that start no run: why, and where to look."""
    for event in dict.fromkeys(tuple(each) for each in became):
        disposition, reason, contract = event
        if disposition == "duplicate":
            told = f"contract {contract} has a run already" if contract else "it was sent before"
            hint(f"It starts no run: a duplicate, {told}.")
            hint(f"next  onboarding show {contract}" if contract else "next  onboarding runs")
        else:
            advice = next((why.advice for why in Why if why == reason), "")
            hint(f"It starts no run: {disposition}, {reason}. {advice}".rstrip())
            if disposition == "dead":
                hint("next  onboarding dead list")


def _plain_form(contract: str | None, organization: str | None, event_type: str, event_id: str | None) -> bytes:
    """Raises UsageError for what intake would not understand."""
    form = {"type": event_type, "contract_id": contract, "organization_id": organization, "id": event_id}
    body = json.dumps({name: value for name, value in form.items() if value is not None}).encode()
    for answer in read(Message(body, {}, event_type, CONTENT_TYPE), {}):
        if isinstance(answer, Dead):
            raise click.UsageError(f"Intake would not understand it ({answer.why}): {answer.why.advice}")
    return body
