"""The doctor's looks at what is ours: store, schema, vault, broker. Each may raise; the doctor tells that too."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

from sqlalchemy.engine import make_url

from onboarding.cli.printing import short_moment
from onboarding.cli.probes import Finding
from onboarding.cli.shell import Shell
from onboarding.cli.start import require_store
from onboarding.deel_wanted import Trouble
from onboarding.dialling import within
from onboarding.settings import Settings
from onboarding.store import data_keys, migrate, webhooks
from onboarding.store.engine import Store
from onboarding.transport import NoReply, TargetRefused, check_target

TARGET_S: Final = 5.0
"""How long to wait for a notification target's name."""


def check_store(settings: Settings, store: Store) -> Finding:
    """It answers, or this raises."""
    require_store(settings)
    migrate.current(store)
    url = make_url(settings.database_url.get_secret_value())
    where = f"PostgreSQL at {url.host or 'the local socket'}, {url.database}" if settings.production else "SQLite"
    return Finding("store", ok=True, detail=f"{where} answers")


def check_migrations(store: Store) -> Finding:
    """The schema is this release's or newer: revisions are numbered, and a newer one serves the release before."""
    current, head = migrate.current(store), migrate.head()
    if current is not None and current >= head:
        return Finding("migrations", ok=True, detail=f"at {current}")
    detail = f"at {current or 'none'}, this release has {head}"
    return Finding("migrations", ok=False, detail=detail, hint="onboarding db upgrade")


def check_vault(settings: Settings, store: Store | None) -> Finding:
    """Every key is there that wraps a data key. `store`: None where it cannot be asked."""
    path = settings.sqlite_path
    if settings.vault_keys is None and path is not None and not path.exists():
        return Finding("vault keys", ok=True, detail="a key file is made beside the store, with the store")
    keyring = settings.keyring()
    if store is None:
        detail = f"{keyring.first} encrypts; which keys the store needs was not checked"
        return Finding("vault keys", ok=False, detail=detail)
    wrapped = store.read(data_keys.by_master_key)
    detail = f"{keyring.first} encrypts; data keys: " + (
        ", ".join(f"{count} by {key_id}" for key_id, count in wrapped.items()) or "none yet"
    )
    missing = [key_id for key_id in wrapped if key_id not in keyring.keys]
    if missing:
        hint = f"Put the key {', '.join(missing)} back into ONBOARDING_VAULT_KEYS, behind the first one."
        return Finding("vault keys", ok=False, detail=detail, hint=hint)
    older = any(key_id != keyring.first for key_id in wrapped)
    return Finding("vault keys", ok=True, detail=detail, hint="onboarding keys rotate" if older else "")


def check_broker(shell: Shell, settings: Settings) -> Finding:
    """It answers and lets us declare what we need, or this raises."""
    if settings.embedded:
        return Finding("broker", ok=True, detail="in memory: it lives and dies with `onboarding up`")
    shell.declare()
    return Finding("broker", ok=True, detail="answers; exchanges and queues are declared")


def check_webhooks(store: Store) -> Iterator[Finding]:
    """Each subscription that was made from here, as upkeep saw it last: Deel is not asked again."""
    for row in store.read(webhooks.expected):
        check = f"webhook {row.label}"
        seen = f"seen {short_moment(row.looked_at)} UTC"
        if row.trouble is None:
            yield Finding(check, ok=True, detail=f"enabled, {seen}")
        else:
            advice = next((each.advice for each in Trouble if each == row.trouble), "")
            detail = f"{row.trouble}, {seen}. {advice}"
            yield Finding(check, ok=False, detail=detail, hint=f"onboarding webhook check --org {row.organization_id}")


def check_notify_target(url: str, *, allow_private: bool) -> Finding:
    """Whether a notification may go there: it is resolved and judged, and nothing is sent."""
    check = f"target {urlsplit(url).hostname}"
    try:
        with within(TARGET_S):
            target = check_target(url, allow_private=allow_private)
    except TargetRefused as refused:
        hint = "Mend ONBOARDING_NOTIFY_URLS."
        if not allow_private:
            hint = "Mend ONBOARDING_NOTIFY_URLS; or, if it is meant, set ONBOARDING_NOTIFY_ALLOW_PRIVATE=on."
        return Finding(check, ok=False, detail=f"refused by us: {refused}", hint=hint)
    except NoReply as failure:
        return Finding(check, ok=False, detail=str(failure), hint="Check the name in ONBOARDING_NOTIFY_URLS, and DNS.")
    return Finding(check, ok=True, detail=f"{target.addresses[0]} may be sent to; nothing was sent")
