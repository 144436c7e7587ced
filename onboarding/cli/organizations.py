"""`onboarding pause` and `onboarding resume`: an organisation as a whole."""

from __future__ import annotations

import click
from sqlalchemy import Connection

from onboarding.cli.options import because_option, examples, json_option
from onboarding.cli.printing import hint, print_json
from onboarding.cli.refusal import NOTHING_MATCHED, Refusal
from onboarding.cli.start import open_store, start, who
from onboarding.runs import Reason
from onboarding.store import organizations, runs

_argument = click.argument("organization", metavar="ORGANISATION")


@click.command("pause", epilog=examples('onboarding pause org-7 --because "Deel maintenance, OPS-117"'))
@_argument
@because_option
@json_option
def pause_command(*, organization: str, because: str, as_json: bool) -> None:
    """Let every run of an organisation wait.

    Steps in flight are finished; no further one begins until `onboarding resume`. A pause of Deel's making
    (a refused token, a missing scope) becomes one that no probe ends.
    """

    def pause(db: Connection) -> bool:
        if not organizations.known(db, organization):
            return False
        if organizations.hold(db, organization):
            runs.note(db, who(), "pause", because, organization_id=organization)
        return True

    with open_store(start()) as store:
        if not store.write(pause):
            raise _unknown(organization)
    if as_json:
        print_json({"organization_id": organization, "paused": True, "reason": Reason.PAUSED})
    else:
        click.echo(f"paused {organization}")
        hint(f"next  onboarding resume {organization}")


@click.command("resume", epilog=examples("onboarding resume org-7"))
@_argument
@because_option
@json_option
def resume_command(*, organization: str, because: str, as_json: bool) -> None:
    """Let a paused organisation's runs go on.

    After a refused DEEL_TOKEN or a missing scope: mend that first, `onboarding doctor` says whether it is.
    """

    def resume(db: Connection) -> bool:
        resumed = organizations.resume(db, organization)
        if resumed:
            runs.note(db, who(), "resume", because, organization_id=organization)
        return resumed

    with open_store(start()) as store:
        resumed = store.write(resume)
        paused = [row.id for row in store.read(organizations.paused)]
    if not resumed:
        raise Refusal(
            f"{organization} is not paused",
            "Paused are: " + (", ".join(paused) or "none"),
            code=NOTHING_MATCHED,
        )
    if as_json:
        print_json({"organization_id": organization, "paused": False, "reason": None})
    else:
        click.echo(f"resumed {organization}")
        hint("The reconciler (beat, or `onboarding up`) sends its waiting runs on their way.")


def _unknown(organization: str) -> Refusal:
    return Refusal(
        f"no organisation {organization} was paused",
        "No run belongs to it, and it was never paused.",
        then=("onboarding runs",),
        code=NOTHING_MATCHED,
    )
