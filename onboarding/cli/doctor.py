"""`onboarding doctor`: what works, what does not, what to do about it. Changes nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Final

import click
from pydantic import SecretStr

from onboarding.budget import fingerprint_of
from onboarding.cli.checks import (
    check_broker,
    check_migrations,
    check_notify_target,
    check_store,
    check_vault,
    check_webhooks,
)
from onboarding.cli.options import examples, json_option
from onboarding.cli.printing import print_json, print_verdict
from onboarding.cli.probes import CHECKS, NOT_CHECKED, Finding, not_checked, probe_deel, probe_organizations
from onboarding.cli.refusal import DONE, FAILED, Refusal
from onboarding.cli.shell import Shell
from onboarding.cli.start import start
from onboarding.cli.translation import refusal_for
from onboarding.settings import Settings, SettingsError, unknown
from onboarding.store import organizations
from onboarding.store.engine import Store

AFTER_SETTINGS: Final = ("store", "migrations", "vault keys", "broker", *CHECKS)
PATIENCE_S: Final = 3.0
"""How long to wait for the store."""
_WIDTH: Final = max(map(len, AFTER_SETTINGS))
_MEND: Final = "Mend the environment of this process, or the files that it names."


@click.command("doctor", epilog=examples("onboarding doctor", "onboarding doctor --json"))
@json_option
@click.pass_obj
def doctor_command(shell: Shell, *, as_json: bool) -> None:
    """Check settings, store, vault, broker, Deel and notification targets.

    Each check stands for itself. Deel is asked by a few calls that cannot have an effect and count against
    the budget. Exit code 1 if anything is not as it should be.
    """
    found = []
    for finding in examine(shell):
        found.append(finding)
        if not as_json:
            print_verdict(_word(finding), finding.check.ljust(_WIDTH), finding.detail, finding.hint)
    if as_json:
        print_json([asdict(finding) for finding in found])
    sys.exit(FAILED if any(_word(finding) == "FAILED" for finding in found) else DONE)


def _word(finding: Finding) -> str:
    if not finding.ok and finding.detail.endswith(NOT_CHECKED):
        return "-"
    return "ok" if finding.ok else "FAILED"


def examine(shell: Shell) -> Iterator[Finding]:
    """Every finding, as soon as it is there."""
    odd = unknown()
    try:
        settings = start("ERROR")  # what is wrong is said in the table
    except SettingsError as faults:
        yield Finding("settings", ok=False, detail="; ".join([*str(faults).splitlines(), *odd]), hint=_MEND)
        yield from not_checked(*AFTER_SETTINGS)
        return
    yield Finding("settings", ok=not odd, detail="; ".join(odd) or "each follows its rule", hint=_MEND if odd else "")
    store = Store(settings.database_url.get_secret_value(), patience_s=PATIENCE_S)
    try:
        yield from _examine_with(shell, settings, store)
    finally:
        store.close()


def _examine_with(shell: Shell, settings: Settings, store: Store) -> Iterator[Finding]:
    yield (found := _guarded("store", lambda: check_store(settings, store)))
    if found.ok:
        yield (found := _guarded("migrations", lambda: check_migrations(store)))
    else:
        yield from not_checked("migrations")
    ready = store if found.ok else None
    yield _guarded("vault keys", lambda: check_vault(settings, ready))
    yield _guarded("broker", lambda: check_broker(shell, settings))
    yield from _guarded_probes(settings, ready)
    if ready is not None:
        yield from _guarded_each("organisations", lambda: probe_organizations(settings, ready))
        yield from _guarded_each("webhooks", lambda: check_webhooks(ready))
    for url in settings.notify_urls:
        yield _guarded("target", lambda url=url: _target(settings, url))  # type: ignore[misc]


def _target(settings: Settings, url: SecretStr) -> Finding:
    return check_notify_target(url.get_secret_value(), allow_private=settings.notify_allow_private)


def _guarded_probes(settings: Settings, store: Store | None) -> Iterator[Finding]:
    """The store may go away between two of Deel's answers: its budget is taken there."""
    left = list(CHECKS)
    try:
        for finding in probe_deel(settings, store):
            left.remove(finding.check)
            yield _learnt(settings, store) or finding if finding.check == CHECKS[-1] and finding.hint else finding
    except Exception as error:  # noqa: BLE001 - whatever it is, it is told
        yield _finding_of(left.pop(0), error)
        yield from not_checked(*left)


def _learnt(settings: Settings, store: Store | None) -> Finding | None:
    """The token's organisation was asked for once and kept: no need that it may be asked for again."""
    if store is None or settings.deel_token is None:
        return None
    fingerprint = fingerprint_of(settings.deel_token)
    home = store.read(lambda db: organizations.home(db, fingerprint))
    return Finding(CHECKS[-1], ok=True, detail=f"{home}, learnt before") if home else None


def _guarded(check: str, look: Callable[[], Finding]) -> Finding:
    """What a check runs into is its finding: the next one is made all the same."""
    try:
        return look()
    except Exception as error:  # noqa: BLE001 - whatever it is, it is told
        return _finding_of(check, error)


def _guarded_each(check: str, look: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """Of a check with as many findings as there are things to look at."""
    try:
        yield from look()
    except Exception as error:  # noqa: BLE001 - whatever it is, it is told
        yield _finding_of(check, error)


def _finding_of(check: str, error: Exception) -> Finding:
    refusal = error if isinstance(error, Refusal) else refusal_for(error)
    if refusal is None:  # a text that we do not know may quote anything
        return Finding(check, ok=False, detail=type(error).__name__)
    hint = next((command for command in refusal.then if command != "onboarding doctor"), "")
    return Finding(check, ok=False, detail=f"{refusal.what}: {' '.join(refusal.why)}".removesuffix(": "), hint=hint)
