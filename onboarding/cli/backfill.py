"""`onboarding backfill`: runs for contracts whose webhook never came."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

import click

from onboarding import backfill
from onboarding.cli.options import because_option, examples, json_option
from onboarding.cli.printing import hint, print_json
from onboarding.cli.refusal import FAILED, NOTHING_MATCHED, Refusal
from onboarding.cli.shell import Shell
from onboarding.cli.start import open_store, start, who
from onboarding.clients import Client, Clients, learn_home
from onboarding.deel import DeelFailure
from onboarding.store import line as lines
from onboarding.store import org_tokens, runs
from onboarding.store.engine import Store
from onboarding.store.events import HOME, Filing
from onboarding.store.line import Line
from onboarding.transport import Http
from onboarding.turns import line_of, send_due
from onboarding.vault import Keyring
from onboarding.world import clients_of

LOOK_S: Final = 1.0
TELL_S: Final = 10.0


@dataclass(frozen=True)
class Filled:
    """What became of an organisation's list; `failure`: why it was not read to its end."""

    organization_id: str
    calls: int = 0
    listed: int = 0
    passed_over: int = 0
    runs_made: int = 0
    failure: str | None = None

    def and_page(self, page: backfill.Page) -> Filled:
        """With one more page."""
        return replace(
            self,
            calls=self.calls + 1,
            listed=self.listed + page.listed,
            passed_over=self.passed_over + page.passed_over,
            runs_made=self.runs_made + page.made,
        )


@click.command(
    "backfill",
    epilog=examples(
        "onboarding backfill --since 2026-11-01",
        'onboarding backfill --since 2026-11-20 --org org-7 --because "webhooks were off, OPS-117"',
    ),
)
@click.option("--since", type=click.DateTime(["%Y-%m-%d"]), help="Contracts made from this day on (UTC); else all.")
@click.option("--org", "organization", metavar="ORGANISATION", help="Of this one only; else of all that have a token.")
@because_option
@json_option
@click.pass_obj
def backfill_command(
    shell: Shell, *, since: datetime | None, organization: str | None, because: str, as_json: bool
) -> None:
    """Start runs for EOR contracts whose webhook never came.

    Deel's list of contracts costs one call for each page of 99. Contracts that have a run are left alone, those that
    ended are passed over. The new runs go behind those of new events; a page is read when fewer than 200 wait. May be
    broken off and repeated: what has begun goes on. Contracts older than ONBOARDING_RETENTION_DAYS are passed over, as
    their runs may have been deleted.
    """
    settings = start()
    keyring, http = settings.keyring(), Http()
    with closing(http), open_store(settings) as store:
        clients = clients_of(settings, store, keyring, http)
        chosen = _chosen(store, clients, organization)
        oldest = datetime.now(UTC) - timedelta(days=settings.retention_days)
        from_day = max(oldest, since.replace(tzinfo=UTC)) if since else oldest
        filling = Filling(shell, store, clients, keyring, line_of(settings), from_day, because)
        filled = [filling.of(each) for each in chosen]
    if as_json:
        print_json([asdict(each) for each in filled])
    else:
        for each in filled:
            calls = f"{each.calls} call" + "s" * (each.calls != 1)
            click.echo(
                f"{each.organization_id}: {each.runs_made} runs made; {each.listed} contracts listed in {calls},"
                f" {each.passed_over} passed over"
            )
    _refuse_failures(filled)


def _chosen(store: Store, clients: Clients, organization: str | None) -> Sequence[str]:
    """Raises Refusal where no token serves it, or there is none at all."""
    own = [row.id for row in store.read(org_tokens.listing) if row.token_fingerprint]
    home = clients.home
    homes = [_id_of(store, home)] if home else []
    all_of_them = list(dict.fromkeys([*homes, *own]))
    if organization is None and all_of_them:
        return all_of_them
    if organization in all_of_them:
        return [str(organization)]
    raise Refusal(
        f"no token is {organization}'s own" if organization else "no organisation has a token for Deel",
        "Deel lists contracts to their own organisation's token only.",
        then=("onboarding org list", f"onboarding org token set {organization or 'ORGANISATION'}"),
        code=NOTHING_MATCHED,
    )


def _id_of(store: Store, home: Client) -> str:
    """Of the configured token's organisation. Learnt before anything is filed: its runs would be renamed midway."""
    try:
        return learn_home(store, home, home.deel.organization_id) or HOME
    except DeelFailure:  # the list will say so, too
        return HOME


@dataclass(frozen=True)
class Filling:
    """What each organisation's list is read with."""

    shell: Shell
    store: Store
    clients: Clients
    keyring: Keyring
    line: Line
    since: datetime
    because: str

    def of(self, organization: str) -> Filled:
        """Read the list of one, page by page, each when the runs of the one before have mostly had their turn."""
        filled, filing = Filled(organization), Filing(self.keyring, organization, self.line)
        self.store.write(lambda db: runs.note(db, who(), "backfill", self.because, organization_id=organization))
        try:
            deel = self.clients.of(organization)
            for page in backfill.pages(self.store, deel, filing, organization, self.since):
                filled = filled.and_page(page)
                hint(f"{organization}: page {filled.calls}, {page.listed} contracts, {page.made} runs made")
                send_due(self.store, self.line, self.shell.nudge, [organization])
                self._wait_for_room(organization)
        except DeelFailure as failure:
            return replace(filled, failure=f"{failure}: {failure.reason.advice}")
        return filled

    def _wait_for_room(self, organization: str) -> None:
        for waited_s, waiting in enumerate(self._waiting(organization)):
            if waited_s % TELL_S == 0:
                most = backfill.MOST_WAITING
                hint(f"{organization}: {waiting} runs wait for their turn, the next page for fewer than {most}")
            time.sleep(LOOK_S)

    def _waiting(self, organization: str) -> Iterator[int]:
        while (waiting := self.store.read(lambda db: lines.waiting_behind(db, organization))) >= backfill.MOST_WAITING:
            yield waiting


def _refuse_failures(filled: Sequence[Filled]) -> None:
    failed = [each for each in filled if each.failure]
    if failed:
        raise Refusal(
            "not every list was read to its end",
            *(f"{each.organization_id}: {each.failure}" for each in failed),
            then=("onboarding doctor", *(f"onboarding backfill --org {each.organization_id} ..." for each in failed)),
            code=FAILED,
        )
