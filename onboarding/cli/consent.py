"""`onboarding consent`: what a worker agreed to, and where the proof lies."""

from __future__ import annotations

from typing import Final

import click
from sqlalchemy import Connection

from onboarding.cli.options import examples, impersonal, json_option
from onboarding.cli.printing import hint, print_json
from onboarding.cli.shell import Shell
from onboarding.cli.start import open_store, start, who
from onboarding.consent_events import Evidence
from onboarding.runs import Reason, State, Step
from onboarding.store import endings, runs

CHANNEL: Final = "command line"


@click.command(
    "consent",
    epilog=examples(
        "onboarding consent c-42 --evidence DOC-2026-117 --version terms-3",
        "onboarding consent c-42 --evidence DOC-2026-117 --version terms-3 --channel paper",
        "onboarding consent c-42 --evidence TICKET-9 --version terms-3 --withdraw",
    ),
)
@click.argument("contract")
@click.option("--evidence", required=True, callback=impersonal, metavar="REF", help="Where the proof lies, no more.")
@click.option("--version", required=True, callback=impersonal, metavar="TEXT", help="Of the text agreed to.")
@click.option("--channel", default=CHANNEL, show_default=True, callback=impersonal, metavar="WORD", help="How it came.")
@click.option("--withdraw", is_flag=True, help="The worker took the consent back.")
@json_option
@click.pass_obj
def consent_command(
    shell: Shell, *, contract: str, evidence: str, version: str, channel: str, withdraw: bool, as_json: bool
) -> None:
    """Put a worker's consent, or its withdrawal, on record.

    Nothing is ever overwritten: the latest decision counts. A run that waits for the consent goes on. Where
    ONBOARDING_CONSENT is `required`, no token is issued or printed without it, and a withdrawal revokes the one that
    lives, in the vault at once and at Deel within seconds.
    """
    given, settings = not withdraw, start()
    said, required = Evidence(evidence, version, channel[:40], who()), settings.consent == "required"

    def record(db: Connection) -> None:
        row = runs.find(db, contract)
        endings.decide(db, contract, said, given=given, required=required, lease_s=settings.lease_seconds)
        runs.note(db, who(), "consent" if given else "consent_withdrawn", f"{evidence}, {version}", row)

    with open_store(settings) as store:
        row = store.read(lambda db: runs.find(db, contract))
        contract = row.contract_id if row else contract
        store.write(record)
    if given and row is not None and (row.state, row.reason) == (State.WAITING, Reason.CONSENT_MISSING):
        shell.nudge(row.id, row.contract_id, Step(row.step))
    if as_json:
        document = {"contract_id": contract, "given": given, "evidence": evidence, "version": version}
        print_json({**document, "channel": channel, "who": who()})
    else:
        click.echo(f"consent of contract {contract} " + ("is on record" if given else "is withdrawn"))
    if row is None:
        what = "consent" if given else "withdrawal"
        hint(f"No run of this contract yet: is the id right? The {what} counts once there is one.")
    if settings.consent == "off":
        hint("ONBOARDING_CONSENT is off: it is recorded, and nothing asks for it.")
    elif withdraw and row is not None and row.hris_profile_id is not None:
        hint(
            f"The token is out of the vault; beat, or `onboarding up`, tells Deel:\n  next  onboarding show {contract}"
        )
