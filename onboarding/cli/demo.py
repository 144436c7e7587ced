"""`onboarding demo`: the main job, whole, against a simulated Deel on this machine; nothing else is needed."""

from __future__ import annotations

import base64
import fcntl
import os
import secrets
import shutil
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from onboarding import observe
from onboarding.cli import scenario
from onboarding.cli.demo_report import LOG, Report, verdicts
from onboarding.cli.options import examples
from onboarding.cli.refusal import DONE, FAILED, INTERRUPTED, Refusal
from onboarding.cli.shell import Shell
from onboarding.cli.start import FOLDER, demos_store_url
from onboarding.runs import ACTIVE, STEPS, Step
from onboarding.settings import load
from onboarding.simulator import Simulator, Sink
from onboarding.store import runs
from onboarding.store.engine import Store

PATIENCE_S: Final = 60.0
SAY_EVERY_S: Final = 2.0
STOP_S: Final = 2.0
"""How long an interrupted demo waits for its own watcher."""


@click.command("demo", epilog=examples("onboarding demo"))
@click.pass_obj
def demo_command(shell: Shell) -> None:
    """Run the main job against a simulated Deel: twenty webhooks, a few troubles, what became of each.

    Needs no server, no account and no network. Leaves its store and its log in .onboarding/demo.
    """
    with own_folder():
        click.echo("Starting a simulated Deel, a notification receiver, the worker and the intake in this process.")
        try:
            code = perform(shell)
        except KeyboardInterrupt:
            code = INTERRUPTED
    if code == INTERRUPTED:
        click.echo("interrupted", err=True)
    sys.exit(code)


@contextmanager
def own_folder() -> Iterator[None]:
    """The demo's folder, empty, and ours alone until the end. Raises Refusal, one line, where it cannot be had."""
    lock = FOLDER.with_suffix(".lock")  # beside the folder: it outlives what is cleared
    try:
        FOLDER.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with lock.open("w") as held:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Refusal(f"a demo is running here: it holds {lock}") from None
            shutil.rmtree(FOLDER, ignore_errors=True)
            FOLDER.mkdir()
            LOG.touch()
            yield
    except OSError as error:
        if error.filename is None:  # not of a file
            raise
        raise Refusal(f"the demo's folder cannot be written: {error.filename}: {error.strerror}") from None


def perform(shell: Shell) -> int:
    """Play the story; returns the exit code."""
    secret = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
    with Simulator(rate=5) as deel, Sink(secret=secret) as sink, LOG.open("w") as log:
        os.environ.update(environment(deel, sink, secret))
        observe.configure("console", stream=log)
        store = Store(load().database_url.get_secret_value())
        play = Play(shell, deel, store, Console(highlight=False))
        try:
            shell.serve_all(beside=play.run)
            if not play.stop():
                return INTERRUPTED
            Report(deel, sink, store, play.took_s).show()
            faults = verdicts(deel, sink, store)
        finally:
            play.stop()
            store.close()
    for fault in faults:
        click.echo(f"not as it should be: {fault}", err=True)
    if faults:
        click.echo(f"The log says more: {LOG}", err=True)
    return FAILED if faults else DONE


def environment(deel: Simulator, sink: Sink, secret: str) -> Mapping[str, str]:
    """The settings of the demo: those of an embedded deployment, pointed at the simulator."""
    for name in [name for name in os.environ if name.startswith("ONBOARDING_")]:
        del os.environ[name]
    return {
        "ONBOARDING_DATABASE_URL": demos_store_url(),
        "ONBOARDING_DEEL_URL": deel.url,
        "ONBOARDING_DEEL_TOKEN": deel.org_token,
        "ONBOARDING_NOTIFY_URLS": sink.url,
        "ONBOARDING_NOTIFY_SECRET": secret,
        "ONBOARDING_NOTIFY_ALLOW_PRIVATE": "on",
        "ONBOARDING_WEBHOOK_SECRETS": ",".join(f"{label}={key}" for label, key in deel.signing_keys.items()),
    }


class Play:
    """Sends the webhooks of the story and watches until every run has ended."""

    def __init__(self, shell: Shell, deel: Simulator, store: Store, console: Console) -> None:
        self._shell, self._deel, self._store, self._console = shell, deel, store, console
        self.took_s = 0.0
        self._ended = False
        self._stopping = threading.Event()
        self._watching = threading.Lock()

    def run(self) -> None:
        """In a thread beside the worker."""
        with self._watching:
            self._run()

    def stop(self) -> bool:
        """Whether it has come to its end; if not, it does nothing more from here on."""
        self._stopping.set()
        if self._watching.acquire(timeout=STOP_S):
            self._watching.release()
        return self._ended

    def _run(self) -> None:
        started = time.monotonic()
        for delivery in scenario.prepare(self._deel):
            if self._stopping.is_set():
                return
            self._shell.publish_event(delivery.body, delivery.headers, delivery.routing_key)
        if self._console.is_terminal:
            self._watch_live(started)
        else:
            self._watch_plain(started)
        self.took_s = time.monotonic() - started
        self._ended = not self._stopping.is_set()

    def _watch_live(self, started: float) -> None:
        bar_column = BarColumn(bar_width=30, style="dim", complete_style="cyan", finished_style="green")
        columns = (bar_column, TextColumn("{task.description}"), TimeElapsedColumn())
        with Progress(*columns, TextColumn("{task.fields[at]}"), console=self._console) as progress:
            bar = progress.add_task("", total=len(scenario.CASES) * len(STEPS), at="")
            over = False
            while not over:
                over = self._over(started)
                ended, steps_done, at = self._progress()
                said = f"{ended} of {len(scenario.CASES)} ended"
                progress.update(bar, completed=steps_done, description=said, at=at)
                time.sleep(0.1)

    def _watch_plain(self, started: float) -> None:
        said = 0.0
        while not self._over(started):
            if time.monotonic() - said >= SAY_EVERY_S:
                said = time.monotonic()
                ended, _, at = self._progress()
                click.echo(f"{ended} of {len(scenario.CASES)} ended  {at}".rstrip())
            time.sleep(0.1)
        click.echo(f"{self._progress()[0]} of {len(scenario.CASES)} ended")

    def _over(self, started: float) -> bool:
        if self._stopping.is_set():
            return True
        rows = self._rows()
        ended = len(rows) == len(scenario.CASES) and not any(row.state in ACTIVE for row in rows)
        told = all(row.told == row.parkings for row in rows)
        return (ended and told) or time.monotonic() - started > PATIENCE_S

    def _progress(self) -> tuple[int, int, str]:
        """How many runs have ended, how many steps are behind all of them, and where the others are."""
        rows = self._rows()
        going = [Step(row.step) for row in rows if row.state in ACTIVE]
        ended = len(rows) - len(going)
        at = Counter(going)
        places = "  ".join(f"{step} {at[step]}" for step in STEPS if at[step])
        return ended, ended * len(STEPS) + sum(step.position for step in going), places

    def _rows(self) -> Any:
        return self._store.read(runs.listing)
