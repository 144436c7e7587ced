"""`onboarding keys`: the keys of ONBOARDING_VAULT_KEYS."""

from __future__ import annotations

import shlex
from functools import partial
from typing import Final

import click

from onboarding.cli.options import examples, json_option
from onboarding.cli.printing import hint, print_json
from onboarding.cli.refusal import Refusal
from onboarding.cli.start import open_store, start
from onboarding.store import data_keys
from onboarding.store.engine import Store
from onboarding.vault import Keyring

BATCH: Final = 100
"""Data keys per transaction: short ones, so that nothing waits for them."""
PASSES: Final = 5
SHOWN: Final = 5
"""Of the data keys that do not open."""


@click.group("keys", epilog=examples("onboarding keys rotate"))
def keys_group() -> None:
    """Keep the vault's keys."""


@keys_group.command("rotate", epilog=examples("onboarding keys rotate", "onboarding keys rotate --json"))
@json_option
def rotate_command(*, as_json: bool) -> None:
    """Wrap every data key by the first key of ONBOARDING_VAULT_KEYS.

    First put the new key in front of the old one, and restart every process with both. Then rotate, while they
    run; then take the old key out. May be interrupted and repeated. What the data keys seal is not touched.
    Exit 1 while data keys are left that need another key.
    """
    settings = start()
    with open_store(settings) as store:
        keyring = settings.keyring()
        done, refused = _rotate(store, keyring)
        in_use = store.read(data_keys.by_master_key)
    if refused:
        raise _stuck(done, refused)
    left = {key_id: count for key_id, count in in_use.items() if key_id != keyring.first}
    removable = [key_id for key_id in keyring.keys if key_id != keyring.first and key_id not in in_use]
    if as_json:
        document = {"first": keyring.first, "rewrapped": done, "left": sum(left.values()), "removable": removable}
        print_json(document)
    else:
        click.echo(f"{done} data keys wrapped anew by {keyring.first}; {sum(in_use.values())} in all")
    if removable:
        hint(f"No data key needs {', '.join(removable)} any more: once every process runs with")
        hint(f"{keyring.first} first, take it out of ONBOARDING_VAULT_KEYS.")
    elif len(keyring.keys) == 1 and not as_json:
        hint("There is one key only. To rotate, put a new one in front of it where it is kept, and rotate then.")
        if settings.vault_keys is None:
            hint(f"next  KEY={shlex.quote(str(settings.key_file))}")
            hint(
                'next  (umask 077; echo "$(openssl rand -base64 32),$(cat "$KEY")" > "$KEY.new")'
                ' && mv "$KEY.new" "$KEY"'
            )
    if left:
        raise _overtaken(keyring.first, left)


def _rotate(store: Store, keyring: Keyring) -> tuple[int, tuple[str, ...]]:
    """How many were wrapped anew, and a line for each that does not open.

    A process that still has the old key first makes data keys behind our back: so once more, until a pass finds
    nothing to do. Not for ever: it may make them faster than we wrap.
    """
    done = 0
    refused: tuple[str, ...] = ()
    for _ in range(PASSES):
        wrapped, refused = _pass(store, keyring, done)
        done += wrapped
        if not wrapped:
            break
    return done, refused


def _pass(store: Store, keyring: Keyring, before: int) -> tuple[int, tuple[str, ...]]:
    done, after = 0, ""
    refused: tuple[str, ...] = ()
    while (batch := store.write(partial(data_keys.rewrap, keyring=keyring, limit=BATCH, after=after))).last is not None:
        done, refused, after = done + batch.rewrapped, refused + batch.refused, batch.last
        in_use = store.read(data_keys.by_master_key)
        hint(f"{before + done} wrapped anew, {sum(in_use.values()) - in_use.get(keyring.first, 0)} left")
    return done, refused


def _stuck(done: int, refused: tuple[str, ...]) -> Refusal:
    more = (f"... and {len(refused) - SHOWN} more",) if len(refused) > SHOWN else ()
    what = f"{len(refused)} data keys do not open and stay as they are; {done} were wrapped anew"
    return Refusal(what, *refused[:SHOWN], *more, then=("onboarding keys rotate",))


def _overtaken(first: str, left: dict[str, int]) -> Refusal:
    """Nothing that we could wrap is left, so somebody wraps faster than we do, or did so since we looked."""
    return Refusal(
        f"{sum(left.values())} data keys are left, wrapped by {', '.join(left)} while this ran",
        f"A process still has that key first. Restart it with {first} first; no key can be taken out before.",
        then=("onboarding keys rotate",),
    )
