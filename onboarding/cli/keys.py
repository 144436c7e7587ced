"""`onboarding keys`: the keys of ONBOARDING_VAULT_KEYS."""

from __future__ import annotations

from typing import Final

import click

from onboarding.cli.options import examples, json_option
from onboarding.cli.printing import hint, print_json
from onboarding.cli.refusal import Refusal
from onboarding.cli.start import open_store, start
from onboarding.store import data_keys
from onboarding.store.engine import Store
from onboarding.vault import Keyring, VaultError

BATCH: Final = 100
"""Data keys per transaction: short ones, so that nothing waits for them."""


@click.group("keys", epilog=examples("onboarding keys rotate"))
def keys_group() -> None:
    """Keep the vault's keys."""


@keys_group.command("rotate", epilog=examples("onboarding keys rotate", "onboarding keys rotate --json"))
@json_option
def rotate_command(*, as_json: bool) -> None:
    """Wrap every data key by the first key of ONBOARDING_VAULT_KEYS.

    First put the new key in front of the old one, and restart every process with both. Then rotate; then take
    the old key out. May be interrupted and repeated. What the data keys seal is not touched.
    """
    settings = start()
    with open_store(settings) as store:
        keyring = settings.keyring()
        count = _rotate(store, keyring)
        in_use = store.read(data_keys.by_master_key)
    removable = [key_id for key_id in keyring.keys if key_id != keyring.first and key_id not in in_use]
    if as_json:
        print_json({"first": keyring.first, "rewrapped": count, "removable": removable})
    else:
        click.echo(f"{count} data keys wrapped anew by {keyring.first}; {sum(in_use.values())} in all")
    if removable:
        hint(f"No data key needs {', '.join(removable)} any more: once every process runs with")
        hint(f"{keyring.first} first, take it out of ONBOARDING_VAULT_KEYS.")
    elif len(keyring.keys) == 1 and not as_json:
        hint("There is one key only. To rotate, put a new one in front: $(openssl rand -base64 32)")


def _rotate(store: Store, keyring: Keyring) -> int:
    """How many. Raises Refusal where a data key does not open; what is done by then is done."""
    count = 0
    try:
        while batch := store.write(lambda db: data_keys.rewrap(db, keyring, BATCH)):
            count += batch
            hint(f"{count} wrapped anew ...")
    except VaultError as error:
        raise Refusal(
            f"the rotation stopped after {count} data keys", str(error), then=("onboarding keys rotate",)
        ) from None
    return count
