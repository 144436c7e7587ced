"""`erase`: nothing personal can be read again, and what happened stays."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import select, update

from onboarding.cli import erase
from onboarding.events import Message
from onboarding.intake import Intake
from onboarding.store import consents, events, facts, revocations, runs, tokens
from onboarding.store.engine import Store
from onboarding.store.line import Line
from onboarding.store.tables import data_keys, metadata, worker_tokens
from onboarding.store.tables import runs as runs_table
from onboarding.vault import VaultError
from tests.onboarding.cli.conftest import EMAIL, TOKEN, Desk, add_completed
from tests.onboarding.store.rows import KEYRING, ORG, add_run, run_row

CONTRACT, PROFILE = "contract-of-run-1", "profile-of-run-1"
WHY = ("--because", "request PRIV-17")


def dump(store: Store) -> str:
    """Every cell of every table, and the dead letters opened."""

    def everything(db: Any) -> list[Any]:
        cells = [cell for table in metadata.sorted_tables for row in db.execute(table.select()) for cell in row]
        opened = [events.open_letter(db, KEYRING, row.id) for row in events.letters(db)]
        bodies = [base64.b64decode(json.loads(letter.get_secret_value())["body"]) for letter in opened if letter]
        return [*cells, *bodies]

    return "\n".join(map(repr, store.read(everything)))


def bury(store: Store, body: bytes) -> str:
    return store.write(lambda db: events.bury(db, Message(body, {}, "contract.created"), "not_json", KEYRING, "hris"))


def sealed(store: Store) -> dict[str, bytes]:
    """What the vault had of the worker, as a backup would."""
    token = store.read(lambda db: db.execute(select(worker_tokens.c.sealed)).scalar_one())
    return {"emails": run_row(store).emails_sealed, "token": token}


def test_what_was_sealed_cannot_be_opened_again(onboarding: Desk):
    """Also where the ciphertexts come back, as from a backup: their keys are gone."""
    store = onboarding.store
    add_completed(store)
    before = sealed(store)
    assert onboarding.json("erase", "run-1", *WHY, "--yes") == {
        "erased": [CONTRACT],
        "erased_before": [],
        "dead_letters_deleted": 0,
        "dead_letters_sealed": 0,
    }
    assert store.read(lambda db: db.execute(select(data_keys.c.subject)).scalars().all()) == []
    assert sealed(store) == {"emails": None, "token": None}

    restored = {"sealed": before["token"], "dead": False, "stored_issue": 1}
    store.write(lambda db: db.execute(update(runs_table).values(emails_sealed=before["emails"])))
    store.write(lambda db: db.execute(update(worker_tokens).values(restored)))
    with pytest.raises(VaultError, match="erased"):
        store.read(lambda db: facts.emails_of(db, KEYRING, PROFILE))
    with pytest.raises(VaultError, match="erased"):
        store.read(lambda db: tokens.live(db, KEYRING, PROFILE))


def test_the_skeleton_and_the_audit_stay(onboarding: Desk):
    """That there was a run, what became of it, when there was a consent; not where it is proven."""
    add_completed(onboarding.store)
    onboarding("consent", CONTRACT, "--evidence", "signed by Canary Ada", "--version", "terms-3")
    onboarding("erase", CONTRACT, *WHY, "--yes")
    row = run_row(onboarding.store)
    assert (row.state, row.reason, row.hris_profile_id) == ("cancelled", "erased", PROFILE)
    assert onboarding.audit()[-1] == ("erase", CONTRACT, "request PRIV-17")
    (line,) = onboarding.store.read(lambda db: consents.of_contract(db, CONTRACT))
    assert (line.given, line.version, line.evidence) == (True, "terms-3", "(erased)")
    said = onboarding("show", CONTRACT).output
    assert "erased: Deel is to be told" in said
    assert "next" not in said


def test_the_token_is_revoked_at_deel(onboarding: Desk):
    """By upkeep: the wish is in the same transaction."""
    add_completed(onboarding.store)
    onboarding("erase", CONTRACT, *WHY, "--yes")
    (wish,) = onboarding.store.write(lambda db: revocations.take_due(db, 9, 60.0))
    assert (wish.why, wish.hris_profile_id, wish.organization_id) == ("erased", PROFILE, ORG)


@pytest.mark.parametrize(
    "body",
    [
        f'no json about "{EMAIL.upper()}"'.encode(),
        f"<contract>{CONTRACT}</contract>".encode(),
        json.dumps({"profile": PROFILE}).encode(),
        b'{"mail": "canary.ada\\u0040example.com"}',
    ],
)
def test_dead_letters_that_name_the_worker_go_others_stay(onboarding: Desk, body: bytes):
    """They share one key; nobody else's is lost."""
    add_completed(onboarding.store)
    other = bury(onboarding.store, f"about {CONTRACT}0, {CONTRACT}-b and another.{EMAIL}".encode())
    bury(onboarding.store, body)
    assert onboarding.json("erase", CONTRACT, *WHY, "--yes")["dead_letters_deleted"] == 1
    assert [letter.id for letter in onboarding.store.read(events.letters)] == [other]


def test_nothing_personal_lies_anywhere_afterwards(onboarding: Desk):
    """The whole store, searched, with what can still be opened in it."""
    add_completed(onboarding.store)
    bury(onboarding.store, f"about {EMAIL}".encode())
    assert EMAIL in dump(onboarding.store)
    onboarding("erase", CONTRACT, *WHY, "--yes")
    after = dump(onboarding.store)
    assert EMAIL not in after
    assert TOKEN not in after


def test_a_later_event_starts_nothing(onboarding: Desk):
    """Nor brings an address back; also once retention has deleted the run."""
    add_completed(onboarding.store)
    onboarding("erase", CONTRACT, *WHY, "--yes")
    keys = {"New Webhook": SecretStr("key")}
    intake = Intake(onboarding.store, KEYRING, keys, Line())
    for number in range(2):
        body = json.dumps({"type": "contract.created", "contract_id": CONTRACT, "id": str(number)}).encode()
        assert intake.accept(Message(body, {}, "")) == []
        onboarding.store.write(lambda db: db.execute(runs_table.delete()))
    assert onboarding.json("stats")["events"] == {"duplicate": 1, "ignored": 1}
    assert onboarding.store.read(lambda db: runs.find(db, CONTRACT)) is None


def test_an_erased_run_is_not_replayed(onboarding: Desk):
    """By nobody."""
    add_completed(onboarding.store)
    onboarding("erase", CONTRACT, *WHY, "--yes")
    result = onboarding("replay", CONTRACT, "--yes")
    assert result.exit_code == 1
    assert "nothing personal can be read again" in result.stderr
    row = onboarding.store.read(lambda db: runs.find(db, CONTRACT))
    assert not onboarding.store.write(lambda db: runs.replay(db, row, runs.Replay()))


def test_interrupted_and_repeated(onboarding: Desk, monkeypatch: pytest.MonkeyPatch):
    """Ctrl-C behind the letters: the next time does the rest; and once more nothing."""
    add_completed(onboarding.store)
    bury(onboarding.store, EMAIL.encode())

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr("onboarding.store.endings.erase", interrupted)
        assert onboarding("erase", CONTRACT, *WHY, "--yes").exit_code != 0
    assert onboarding.json("erase", CONTRACT, *WHY, "--yes")["erased"] == [CONTRACT]
    again = onboarding.json("erase", CONTRACT, *WHY, "--yes")
    assert (again["erased"], again["erased_before"]) == ([], [CONTRACT])
    assert len(onboarding.audit()) == 1


def test_all_contracts_of_a_worker_at_once(onboarding: Desk):
    """One person, one token, one erasure: to forget half of somebody is nothing."""
    add_completed(onboarding.store)
    add_run(onboarding.store, "run-2", state="completed", step="notify", hris_profile_id=PROFILE)
    result = onboarding("erase", CONTRACT, *WHY, "--yes")
    assert result.exit_code == 1
    assert f"onboarding erase {CONTRACT} contract-of-run-2 --because" in result.stderr
    assert run_row(onboarding.store).state == "completed"
    both = (CONTRACT, "contract-of-run-2")
    assert onboarding.json("erase", *both, *WHY, "--yes")["erased"] == list(both)
    assert len(onboarding.store.write(lambda db: revocations.take_due(db, 9, 60.0))) == 2


def test_a_contract_that_turns_up_while_it_asks_is_not_left_behind(onboarding: Desk, monkeypatch: pytest.MonkeyPatch):
    """Its token would be sealed by a key that is gone."""
    add_completed(onboarding.store)
    tell = erase._tell

    def meanwhile(plan: Any) -> None:
        tell(plan)
        add_run(onboarding.store, "run-2", state="completed", step="notify", hris_profile_id=PROFILE)

    monkeypatch.setattr(erase, "_tell", meanwhile)
    result = onboarding("erase", CONTRACT, *WHY, "--yes")
    assert result.exit_code == 1
    assert f"onboarding erase {CONTRACT} contract-of-run-2 --because" in result.stderr
    assert run_row(onboarding.store).state == "completed"


def test_it_asks_and_wants_a_reason(onboarding: Desk):
    """There is no way back."""
    add_completed(onboarding.store)
    assert onboarding("erase", CONTRACT).exit_code == 2
    result = onboarding("erase", CONTRACT, *WHY)
    assert result.exit_code == 2
    assert f"onboarding erase {CONTRACT} --because 'request PRIV-17' --yes" in result.stderr
    assert "Live tokens that this revokes: 1" in result.stderr
    assert onboarding("erase", "c-unknown", *WHY, "--yes").exit_code == 3
    assert run_row(onboarding.store).state == "completed"
