"""`onboarding token`: the one command that prints a secret."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import click
from sqlalchemy import Connection, Row

from onboarding.access import Access
from onboarding.cli.advice import next_commands
from onboarding.cli.options import examples, impersonal, json_option
from onboarding.cli.printing import hint, length, moment, print_json
from onboarding.cli.refusal import Refusal, unknown
from onboarding.cli.start import open_store, require_store, start, who
from onboarding.runs import Reason, State, Step
from onboarding.settings import Settings
from onboarding.store import consents, runs, tokens
from onboarding.store.tokens import LiveToken


@click.command(
    "token",
    epilog=examples(
        'onboarding token c-42 --because "support call, OPS-117"',
        'onboarding token c-42 --because "support call, OPS-117" --json --renew',
    ),
)
@click.argument("contract")
@click.option("--because", required=True, metavar="TEXT", callback=impersonal, help="Why, for the audit line.")
@click.option("--renew", is_flag=True, help="Have Deel issue a new one where none lives.")
@json_option
def token_command(*, contract: str, because: str, renew: bool, as_json: bool) -> None:
    """Print a worker's live token; leaves an audit line.

    The token is the only thing on standard output. Who asked, when and why is on record before it is printed.
    Without --renew nothing is asked of Deel.
    """
    if not because.strip():
        raise click.BadParameter("says why, for the audit line", param_hint="--because")
    settings = start()

    def hand_out(db: Connection) -> tuple[Row[Any], LiveToken]:
        row = runs.find(db, contract)
        if row is None:
            raise unknown(contract)
        live = _live(db, settings, row)
        runs.note(db, who(), "token", because, row)
        return row, live

    if renew:
        _renew(settings, contract, because)
    with open_store(settings) as store:
        row, live = store.write(hand_out)  # committed, the audit line too, before anything is printed
    token = live.token.get_secret_value()
    if as_json:
        document = {"contract_id": row.contract_id, "hris_profile_id": row.hris_profile_id}
        print_json({**document, "token": token, "expires_at": live.expires_at})
    else:
        click.echo(token)
        hint(f"expires {moment(live.expires_at)}, in {length(live.expires_at - row.now)}")
    if row.state != State.COMPLETED and Step(row.step).position <= Step.VERIFY_TOKEN.position:
        hint(f"Not verified since it was issued or replayed: the run is {row.state} at {row.step}.")


def _renew(settings: Settings, contract: str, because: str) -> None:
    """See to it that a token lives. Raises NoToken."""
    require_store(settings)
    with closing(Access.from_settings(settings)) as access:
        access.renew(contract, who=who(), because=because)


def _live(db: Connection, settings: Settings, row: Row[Any]) -> LiveToken:
    """Raises Refusal where there is none, or where it may not leave the vault."""
    if settings.consent == "required" and not consents.given(db, row.contract_id):
        raise Refusal(
            f"no token of contract {row.contract_id} leaves the vault",
            "The worker's consent is not on record, and ONBOARDING_CONSENT is required.",
            then=(f'onboarding consent {row.contract_id} --evidence "..." --version "..."',),
        )
    if row.reason in (Reason.CONTRACT_TERMINATED, Reason.ERASED):
        raise Refusal(  # although another contract of the worker may keep it alive
            f"no token of contract {row.contract_id} leaves the vault",
            Reason.of(row.reason).advice,
            then=(f"onboarding show {row.contract_id}",),
        )
    live = tokens.live(db, settings.keyring(), row.hris_profile_id) if row.hris_profile_id else None
    if live is None:
        raise _none_lives(row)
    return live


def _none_lives(row: Row[Any]) -> Refusal:
    what, reason = f"contract {row.contract_id} has no live token", f" ({row.reason})" if row.reason else ""
    if row.state == State.COMPLETED:
        why = "It was issued, and has expired or was superseded since."
        again = f'onboarding token {row.contract_id} --because "..." --renew'
        return Refusal(what, why, then=(again, f"onboarding replay {row.contract_id}"))
    why = f"Its run is {row.state} at {row.step}{reason}."
    return Refusal(what, why, then=(*next_commands([row]), f"onboarding show {row.contract_id}"))
