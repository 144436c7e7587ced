"""Filing events: what became of each, and one run per contract for ever."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import select

from onboarding.events import Dead, Event, Ignored, Message, Told, Why
from onboarding.store import events as statements
from onboarding.store import facts
from onboarding.store.engine import Store
from onboarding.store.events import HOME, Filing, NewRun
from onboarding.store.tables import dead_letters, events, runs
from tests.onboarding.store.rows import KEYRING, LINE, add_run, run_row, secret

FILING = Filing(KEYRING, HOME, LINE)
MESSAGE = Message(b'{"secret": "ada@example.com"}', {"x-header": b"\xff"}, "contract.created")


def event(key: str = "k-1", contract: str = "c-1", organization: str | None = "org-1", told: Told | None = None):
    return Event(key, "deel", "contract.created", contract, organization, told is not None, told)


def file(store: Store, *answers) -> list[NewRun]:
    return store.write(lambda db: statements.file(db, MESSAGE, answers, FILING)).made


def dispositions(store: Store) -> list[tuple[str, str | None]]:
    query = select(events.c.disposition, events.c.reason).order_by(events.c.id)
    return [tuple(row) for row in store.read(lambda db: db.execute(query).all())]


def test_an_event_makes_a_run_with_its_facts_sealed(store: Store):
    """Event and run in one transaction; the reconciler knows of the run at once."""
    told = Told("eor", (secret("ada@example.com"),), "p-1")
    (new,) = file(store, event(told=told))
    row = run_row(store, new.run_id)
    assert (row.state, row.step, row.organization_id) == ("pending", "contract_created", "org-1")
    assert (row.contract_type, row.hris_profile_id) == ("eor", "p-1")
    assert row.nudge_at is not None
    emails = store.read(lambda db: facts.emails_of(db, KEYRING, "p-1"))
    assert [email.get_secret_value() for email in emails] == ["ada@example.com"]
    assert dispositions(store) == [("accepted", None)]


def test_a_doubled_event_makes_no_second_run(store: Store):
    """The same event again, and another event of the same contract, whatever organisation it names."""
    assert len(file(store, event())) == 1
    assert file(store, event()) == []
    assert file(store, event("k-2", organization="org-2")) == []
    assert dispositions(store) == [("accepted", None), ("duplicate", "event_repeated"), ("duplicate", "run_exists")]
    assert len(store.read(lambda db: db.execute(select(runs)).all())) == 1


def test_two_intakes_with_two_events_of_one_contract_make_one_run(store: Store):
    """Whoever commits first makes it; the other's event is a duplicate and names the winner's run."""
    with ThreadPoolExecutor(4) as pool:
        made = [run for new in pool.map(lambda n: file(store, event(f"k-{n}")), range(4)) for run in new]
    assert len(made) == 1
    assert sorted(word for word, _ in dispositions(store)) == ["accepted", "duplicate", "duplicate", "duplicate"]
    assert set(store.read(lambda db: db.execute(select(events.c.run_id)).scalars().all())) == {made[0].run_id}


def test_an_event_without_organisation_belongs_to_the_tokens(store: Store):
    """Under a name that stands for it until Deel has told its id."""
    (new,) = file(store, event(organization=None))
    assert run_row(store, new.run_id).organization_id == HOME


def test_what_is_ignored_or_dead_is_written_down(store: Store):
    """With its reason; a dead letter keeps the message sealed, once however often it comes."""
    dead = Dead("d-1", "unknown", Why.NOT_JSON)
    ignored = Ignored("i-1", "deel", "contract.created", "c-1", None, Why.SIMULATION)
    assert file(store, ignored, dead) == []
    assert file(store, dead) == []
    assert dispositions(store) == [
        ("ignored", "simulation"),
        ("dead", "not_json"),
        ("duplicate", "event_repeated"),
    ]
    (letter,) = store.read(statements.letters)
    assert (letter.reason, letter.size, letter.routing_key) == ("not_json", len(MESSAGE.body), "contract.created")
    sealed = store.read(lambda db: db.execute(select(dead_letters.c.sealed)).scalar_one())
    assert b"ada@" not in sealed
    content = json.loads(store.read(lambda db: statements.open_letter(db, KEYRING, letter.id)).get_secret_value())
    assert content["headers"] == {"x-header": "\ufffd"}
    assert store.read(lambda db: statements.open_letter(db, KEYRING, "nobody")) is None


def test_text_that_no_column_takes_does_not_stop_the_queue(store: Store):
    """NULs and lone surrogates in a routing key, or an address, lie in the sealed part only."""
    message = Message(b"x", {}, "a\x00b\ud800 ada@example.com" + "c" * 300)
    letter = store.write(lambda db: statements.bury(db, message, "not_json", KEYRING, "hris"))
    (row,) = store.read(statements.letters)
    assert row.id == letter
    assert row.routing_key == statements.NO_WORD
    opened = store.read(lambda db: statements.open_letter(db, KEYRING, letter))
    assert json.loads(opened.get_secret_value())["routing_key"] == message.routing_key


def test_a_repeat_names_the_run_of_the_first(store: Store):
    """So that `show` of a duplicate leads somewhere."""
    add_run(store, "run-9", contract_id="c-1")
    assert file(store, event()) == []
    assert store.read(lambda db: db.execute(select(events.c.run_id)).scalar_one()) == "run-9"
