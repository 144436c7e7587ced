"""`onboarding webhook send`: a signed sample, posted as Deel posts a webhook."""

from __future__ import annotations

import re
import secrets
from contextlib import closing
from http import HTTPStatus
from typing import Final

import click
from pydantic import SecretStr

from onboarding.cli import samples
from onboarding.cli.options import examples, json_option
from onboarding.cli.printing import hint, print_json
from onboarding.cli.refusal import WRONG_USAGE, Refusal
from onboarding.cli.start import start
from onboarding.deel.wire import is_safe_id
from onboarding.settings import Settings
from onboarding.transport import Http, NoReply

GATEWAY: Final = "http://127.0.0.1:8080/webhooks/deel"
NOBODY: Final = "00000000-0000-0000-0000-000000000000"


def _id(_context: click.Context, _option: click.Parameter, text: str | None) -> str | None:
    if text is not None and not is_safe_id(text):
        raise click.BadParameter("letters, digits and . _ ~ - only, as Deel has it")
    return text


def _url(_context: click.Context, _option: click.Parameter, text: str) -> str:
    if not re.match(r"https?://[^/@?#]+(/|\Z)", text):
        raise click.BadParameter("is to be an http or https URL without user or password")
    return text


@click.command(
    "send",
    epilog=examples(
        "onboarding webhook send",
        "onboarding webhook send contract.created",
        "onboarding webhook send contract.created --real --contract c-42 --organization org-1",
    ),
)
@click.argument("sample", required=False, type=click.Choice(samples.NAMES))
@click.option("--to", "url", default=GATEWAY, show_default=True, callback=_url, help="The gateway's URL.")
@click.option("--label", help="Whose key of ONBOARDING_WEBHOOK_SECRETS signs it; else the first.")
@click.option("--contract", callback=_id, help="The contract that it tells of; else a made-up one.")
@click.option("--organization", callback=_id, metavar="ID", help="Its organisation, as Deel has it; else nobody's.")
@click.option("--real", is_flag=True, help="Do not mark it as simulated: it is acted upon, with real calls to Deel.")
@json_option
def send_command(
    *,
    sample: str | None,
    url: str,
    label: str | None,
    contract: str | None,
    organization: str | None,
    real: bool,
    as_json: bool,
) -> None:
    """Post a signed sample of a webhook to the gateway. Without SAMPLE: list the samples.

    It is marked as Deel marks what it simulates: it goes all the way to the store, is filed as ignored, and nothing
    is called. With --real it is a webhook like any other; name the contract, and the organisation that it is of.
    """
    if sample is None:
        if as_json:
            print_json(list(samples.NAMES))
        else:
            click.echo("\n".join(samples.NAMES))
        return
    if real and not (contract and organization):
        raise click.UsageError("--real acts upon a contract: name it with --contract, and its --organization.")
    label, key = _key(start("ERROR"), label)
    contract = contract or f"sample-{secrets.token_hex(4)}"
    webhook = samples.sample(sample, contract, organization or NOBODY, label=label, key=key, real=real)
    status = _post(url, webhook.body, webhook.headers)
    if as_json:
        print_json({"type": sample, "contract_id": contract, "label": label, "real": real, "http_status": status})
    else:
        click.echo(f"{status} for {sample}, contract {contract}, signed as {label}")
    if not HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        raise _refused(status)
    hint("next  onboarding webhook listen --last 10")


def _key(settings: Settings, label: str | None) -> tuple[str, SecretStr]:
    keys = settings.webhook_secrets
    chosen = label or next(iter(keys), None)
    if chosen is None or chosen not in keys:
        raise Refusal(
            "nothing was sent",
            f"ONBOARDING_WEBHOOK_SECRETS has no key for {label}."
            if label
            else "ONBOARDING_WEBHOOK_SECRETS has no key.",
            then=("onboarding webhook create --url URL --label LABEL --key-file FILE",),
            code=WRONG_USAGE,
        )
    return chosen, keys[chosen]


def _post(url: str, body: bytes, headers: dict[str, str]) -> int:
    try:
        with closing(Http()) as http:
            return http.send("POST", url, headers=headers, content=body).status
    except NoReply as none:
        why = str(none)
    except ValueError:
        why = "No request can be made of that URL."
    raise Refusal("the webhook was not taken", why, then=("onboarding gateway",))


def _refused(status: int) -> Refusal:
    why: dict[int, str] = {
        HTTPStatus.UNAUTHORIZED: "Its key for this label is another: compare ONBOARDING_WEBHOOK_SECRETS on both sides.",
        HTTPStatus.NOT_FOUND: "It knows no source of this name: see the end of the URL.",
        HTTPStatus.SERVICE_UNAVAILABLE: "The broker did not confirm: a real one would be sent again by Deel.",
    }
    return Refusal(f"the webhook was not taken: {status}", why.get(status, "Its log has one line on it."))
