"""The search for tokens, keys and addresses in everything that a scenario left behind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tests.chaos.plant import Plant
from tests.integration.canaries import Canary, found

ADDRESS = b"canary-c-"
SAMPLE = 60  # worker tokens searched for in every form
HEAD = 20  # characters with which all worker tokens begin: searched for, too, so that one outside the sample shows


def leaks(made: Plant) -> list[str]:
    """What was seen where. An address may lie in the broker's folder: the HRIS itself sent it through there."""
    logs = {path.name: path.read_bytes() for path in (made.system.folder).glob("*.log")}
    dump = {"the store's dump": made.database.dump(made.dsn)}
    broker = {"the broker's folder": b"".join(_bytes_of(made.broker.data))}
    secrets = list(_secrets(made))
    seen = found(secrets, {**logs, **dump, **broker})
    for place, content in {**logs, **dump}.items():
        seen += [f"an address in {place}"] if ADDRESS in content and b"@people" in content else []
    return seen


def _secrets(made: Plant) -> Iterator[Canary]:
    deel, environment = made.system.deel, made.system.environment
    sessions = [session.token for contract in sorted(deel.contracts) for session in deel.sessions_of(contract)]
    for token in sessions[:: max(1, len(sessions) // SAMPLE)]:
        yield Canary("a worker token", token[-43:].encode())  # the part that is different in each
    if sessions:
        yield Canary("the head of a worker token", sessions[0][:HEAD].encode())
    yield Canary.of("the organisation's token", deel.org_token)
    yield Canary.of("the vault's key", environment["ONBOARDING_VAULT_KEYS"].partition(":")[2])
    yield Canary.of("the notifications' key", made.system.secret)
    yield Canary.of("the webhooks' key", next(iter(deel.signing_keys.values())))


def _bytes_of(folder: Path) -> Iterator[bytes]:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield path.read_bytes()
