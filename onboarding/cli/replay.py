"""`onboarding replay`: say what it would do, ask, do it run by run."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import click
from sqlalchemy import Connection, Row

from onboarding.cli.chosen import called, chosen
from onboarding.cli.options import because_option, examples, json_option
from onboarding.cli.printing import hint, print_json
from onboarding.cli.refusal import FAILED, WRONG_USAGE, Refusal
from onboarding.cli.shell import Shell
from onboarding.cli.start import open_store, start, who
from onboarding.runs import Reason, Step
from onboarding.settings import Settings
from onboarding.store import consents, notifications, organizations, runs, tokens
from onboarding.store.engine import Store
from onboarding.store.runs import Replay, where_to_go_on
from onboarding.turns import line_of, send_due

LISTED: Final = 20
STEP_NAMES: Final = [step.value for step in Step]


@dataclass(frozen=True)
class Plan:
    """Frozen when it is made: a run that moves before it is replayed is left alone (its fence moved)."""

    rows: Sequence[Row[Any]]
    wish: Replay
    tokens_killed: int
    because: str

    def step_of(self, row: Row[Any]) -> Step:
        """Where this run would go on."""
        return self.wish.step or where_to_go_on(row, reissue=self.wish.reissue)


@click.command(
    "replay",
    epilog=examples(
        "onboarding replay c-42",
        'onboarding replay c-42 c-43 --because "Deel is back, OPS-117" --yes',
        "onboarding replay c-42 --from ensure_profile",
        "onboarding replay c-42 --reissue",
    ),
)
@click.argument("names", metavar="RUN|CONTRACT...", nargs=-1, required=True)
@click.option("--from", "from_step", type=click.Choice(STEP_NAMES), help="An earlier step than where it stands.")
@click.option("--reissue", is_flag=True, help="Issue a new token although one lives: that one is dead then.")
@because_option
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@click.pass_obj
def replay_command(
    shell: Shell, *, names: Sequence[str], from_step: str | None, reissue: bool, because: str, yes: bool, as_json: bool
) -> None:
    """Let runs go on where they stopped, or from an earlier step.

    A completed run is verified again. A token that lives is kept, unless --reissue says otherwise. Targets
    that had refused are asked again. If one of several is unknown, nothing is done.
    """
    step = Step(from_step) if from_step else None
    if reissue and step is not None and step.position > Step.ISSUE_TOKEN.position:
        raise click.UsageError(f"--reissue issues a token: --from {step} would begin after that.")
    settings = start()
    with open_store(settings) as store:
        plan = _plan(store, settings, names, Replay(step, reissue=reissue), because)
        _tell(plan)
        _ask(plan, names, yes=yes)
        done = [row for row in plan.rows if _replay(store, plan, row)]
        aside = store.read(lambda db: _aside(db, plan, done))
        organisations = dict.fromkeys(row.organization_id for row in done)
        nudged = set(send_due(store, line_of(settings), shell.nudge, organisations, soon_s=0.0))
    if as_json:
        print_json(_document(plan, done, nudged, aside))
    else:
        click.echo(f"replayed {len(done)} of {len(plan.rows)}")
    _explain(plan, done, nudged, aside)


def _plan(store: Store, settings: Settings, names: Sequence[str], wish: Replay, because: str) -> Plan:
    rows = store.read(lambda db: chosen(db, names))
    for row in rows:
        _refuse_skipping(row, wish.step)
        _refuse_barred(store, settings, row)
    killed = 0
    if wish.reissue:
        keyring = settings.keyring()
        profiles = {row.hris_profile_id for row in rows if row.hris_profile_id}
        killed = store.read(lambda db: sum(tokens.live(db, keyring, profile) is not None for profile in profiles))
    return Plan(rows, wish, killed, because)


def _refuse_skipping(row: Row[Any], step: Step | None) -> None:
    """Raises Refusal for a step whose forerunners were never done: it would find no facts, profile or token."""
    at = Step(row.step)
    if step not in (None, Step.CONTRACT_CREATED) and row.reason == Reason.CONTRACT_TERMINATED:
        raise Refusal(
            f"{called(row)} was not replayed, nor was any other",
            "Its contract had ended: whether it goes on is asked of Deel first, at contract_created.",
            then=(f"onboarding replay {row.contract_id}",),
        )
    if step is not None and step.position > at.position:
        raise Refusal(
            f"{called(row)} was not replayed, nor was any other",
            f"It stands at {at}: a replay repeats steps, it skips none, and {step} needs what {at} brings.",
            then=(f"onboarding replay {row.contract_id}",),
        )


def _refuse_barred(store: Store, settings: Settings, row: Row[Any]) -> None:
    """Raises Refusal for a run whose worker said no, or was erased."""
    what = f"{called(row)} was not replayed, nor was any other"
    if row.reason == Reason.ERASED:
        raise Refusal(what, Reason.ERASED.advice, then=(f"onboarding show {row.contract_id}",))
    if settings.consent == "required" and store.read(lambda db: consents.withdrawn(db, row.contract_id)):
        raise Refusal(
            what,
            "The worker withdrew the consent; a second one lets the run go on by itself.",
            then=(f'onboarding consent {row.contract_id} --evidence "..." --version "..."',),
        )


def _tell(plan: Plan) -> None:
    """To standard error: the plan is not the answer."""
    for row in plan.rows[:LISTED]:
        said = f"{row.state}, {row.reason}" if row.reason else row.state
        hint(f"{row.contract_id}  run {row.id}  {said}  from {plan.step_of(row)}")
    if len(plan.rows) > LISTED:
        hint(f"and {len(plan.rows) - LISTED} more")
    hint(f"Runs to replay: {len(plan.rows)}. Live tokens that this kills: {plan.tokens_killed}.")


def _typed(plan: Plan, names: Sequence[str]) -> Iterator[str]:
    """The command as it was: without `--reissue` or `--from` it would be another."""
    yield from ("onboarding", "replay", *names)
    if plan.wish.step is not None:
        yield from ("--from", plan.wish.step)
    if plan.wish.reissue:
        yield "--reissue"
    if plan.because:
        yield from ("--because", plan.because)


def _ask(plan: Plan, names: Sequence[str], *, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise Refusal(
            "nothing was replayed",
            "Nobody is here to answer: --yes says it.",
            then=(shlex.join([*_typed(plan, names), "--yes"]),),
            code=WRONG_USAGE,
        )
    click.confirm("Replay?", abort=True, err=True)


def _replay(store: Store, plan: Plan, row: Row[Any]) -> bool:
    def replay(db: Connection) -> bool:
        replayed = runs.replay(db, row, Replay(plan.step_of(row), reissue=plan.wish.reissue))
        if replayed:
            notifications.reopen(db, row.id)
            runs.note(db, who(), "replay", plan.because, row)
        return replayed

    return store.write(replay)


@dataclass(frozen=True)
class Aside:
    """What the engineer may not expect: which runs were not replayed, and whose organisation is paused."""

    held: Sequence[Row[Any]]  # by a worker, at this moment
    moved: Sequence[Row[Any]]  # since the plan was made
    paused: Sequence[str]  # organisations: what was replayed waits until they are resumed


def _aside(db: Connection, plan: Plan, done: Sequence[Row[Any]]) -> Aside:
    replayed = {row.id for row in done}
    left = [row for row in plan.rows if row.id not in replayed]
    held = [row for row in left if _is_held(runs.find(db, row.id))]
    paused = {row.id for row in organizations.paused(db)}
    homes = dict.fromkeys(row.organization_id for row in done)
    return Aside(held, [row for row in left if row not in held], [each for each in homes if each in paused])


def _is_held(row: Row[Any] | None) -> bool:
    return row is not None and row.lease_until is not None and bool(row.lease_until > row.now)


def _document(plan: Plan, done: Sequence[Row[Any]], nudged: set[str], aside: Aside) -> dict[str, Any]:
    def named(row: Row[Any]) -> dict[str, Any]:
        return {"run_id": row.id, "contract_id": row.contract_id, "step": plan.step_of(row)}

    return {
        "replayed": [{**named(row), "nudged": row.id in nudged} for row in done],
        "held": list(map(named, aside.held)),
        "moved": list(map(named, aside.moved)),
        "paused_organizations": list(aside.paused),
        "tokens_killed": plan.tokens_killed,
    }


def _explain(plan: Plan, done: Sequence[Row[Any]], nudged: set[str], aside: Aside) -> None:
    """Raises Refusal for runs that were left alone."""
    for organization in aside.paused:
        waiting = " ".join(row.contract_id for row in done if row.organization_id == organization)
        hint(f"Its organisation is paused, so it waits: {waiting}\n  next  onboarding resume {organization}")
    line = sum(row.id not in nudged for row in done)
    if line:
        hint(f"{line} without a message yet: the reconciler (beat, or `onboarding up`) has them come in their turn.")
    why: tuple[str, ...] = ("A worker holds it at this moment.",) if aside.held else ()
    why += ("It has moved since the plan was made.",) if aside.moved else ()
    left = [row for row in plan.rows if row in aside.held or row in aside.moved]
    if left:
        names = " ".join(row.contract_id for row in left)
        raise Refusal(
            f"not replayed: {', '.join(map(called, left))}",
            *why,
            then=(f"onboarding show {left[0].contract_id}", f"onboarding replay {names}"),
            code=FAILED,
        )
