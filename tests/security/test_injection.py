"""Ids, names and reasons that are SQL, templates, markup, headers or terminal commands to whoever is careless."""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from onboarding import observe
from onboarding.deel import session_key, worker_key
from onboarding.events import Message
from onboarding.perform import perform
from onboarding.runs import STEPS
from onboarding.store import events as statements
from onboarding.store.engine import Store
from onboarding.store.tables import attempts, events, runs
from tests.onboarding.cli.conftest import VAULT_KEY, Desk, quiet_again
from tests.onboarding.store.rows import add_run
from tests.onboarding.worlds import Driver, driver

__all__ = ["quiet_again"]

HOSTILE = [
    "x' OR '1'='1",
    'x"; DROP TABLE runs; --',
    "%",
    "c-_",
    "%(x)s%s%n",
    "{{7*7}}${7*7}",
    "${jndi:ldap://127.0.0.1/x}",
    "{0.__class__}",
    "[bold red]x[/bold red]",
    "[link=http://127.0.0.1]x[/link]",
    "c-1\r\nX-Injected: 1",
    "c-1\n2026-01-01 [info] forged",
    "\x1b[2J\x1b]0;owned\x07",
    "\x9b2J",
    "\u202ec-1",
    "../../etc/passwd",
    "c-1\udcff",
    "a" * 10_000,
]
LOGGED = [text for text in HOSTILE if "\udcff" not in text]  # pytest-xdist cannot carry that one in its report
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e]")


@pytest.fixture
def onboard(store_url: str) -> Iterator[Driver]:
    with driver(store_url) as made:
        yield made


@pytest.fixture
def desk(store_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    """The command line, on both stores."""
    monkeypatch.setenv("ONBOARDING_DATABASE_URL", store_url)
    monkeypatch.setenv("ONBOARDING_VAULT_KEYS", VAULT_KEY)
    store = Store(store_url)
    yield Desk(store)
    store.close()


TEXT = st.sampled_from(HOSTILE) | st.text(st.characters(), max_size=12) | st.just("c-1")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.fixed_dictionaries(
        {"type": TEXT | st.just("contract.created")},
        optional=dict.fromkeys(("contract_id", "organization_id", "id"), TEXT),
    ),
    TEXT,
)
def test_no_word_of_a_message_is_more_than_a_word(onboard: Driver, body: dict[str, str], routing_key: str):
    """On both databases each message is filed without a defect, and no column of ours holds what a terminal, a
    template or a URL would take for more."""
    onboard.intake.accept(Message(json.dumps(body).encode(), {"x-" + routing_key: routing_key}, routing_key))

    kept = onboard.store.read(lambda db: [*db.execute(select(events)).all(), *statements.letters(db)])
    assert "internal_error" not in {row.reason for row in kept}
    words = [word for row in kept for word in row._mapping.values() if isinstance(word, str)]
    assert all(re.fullmatch(r"[A-Za-z0-9._~:/#*()-]*", word) for word in words)


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_no_argument_of_the_command_line_is_more_than_a_name(desk: Desk, name: str):
    """It matches nothing, changes nothing, and moves nobody's cursor."""
    add_run(desk.store, state="failed", reason="not_eor")
    before = everything(desk.store)
    for words in (
        ("show", name),
        ("replay", name, "--yes"),
        ("cancel", name),
        ("token", name, "--because", "OPS-1"),
        ("dead", "show", name),
        ("resume", name),
    ):
        ended = desk(*words)
        assert ended.exit_code in (2, 3), (words, ended.output)
        assert not CONTROL.search(ended.output), words
        assert "forged" not in [line.partition(" ")[2] for line in ended.output.splitlines()]
    assert everything(desk.store) == before


def test_a_message_for_a_step_that_names_no_run_is_no_defect(onboard: Driver):
    """Whoever may write to onboarding.steps can name anything; the store knows no such run, and that is that."""
    onboard.hire("c-1")
    before = everything(onboard.store)
    for name in (*HOSTILE, "c-1\x00"):
        for step in STEPS:
            assert type(perform(onboard.world, name, step)).__name__ == "Rest", ascii(name)
        assert everything(onboard.store) == before, ascii(name)


@pytest.mark.parametrize("colours", ["1", None])
def test_what_deel_writes_is_text_in_a_table(desk: Desk, monkeypatch: pytest.MonkeyPatch, colours: str | None):
    """A request id with markup or escapes is shown as it is spelt, on a terminal too."""
    if colours:
        monkeypatch.setenv("FORCE_COLOR", colours)
        monkeypatch.setenv("COLUMNS", "300")
    add_run(desk.store, state="failed", reason="not_eor")
    row = {"run_id": "run-1", "step": "contract_created", "fence": 1, "outcome": "failed"}
    hostile = "[link=http://127.0.0.1]x[/link]\x1b]8;;http://127.0.0.1\x07"
    desk.store.write(lambda db: db.execute(attempts.insert().values(**row, request_id=hostile)))

    said = re.sub(r"\x1b\[[0-9;]*m", "", desk("show", "run-1").output)
    assert "[link=http://127.0.0.1]x[/link]?]8;;http://127.0.0.1?" in said
    assert not CONTROL.search(said)


@pytest.mark.parametrize("log_format", ["console", "json"])
@pytest.mark.parametrize("hostile", LOGGED, ids=range(len(LOGGED)))
def test_a_log_line_is_one_line(log_format: Any, hostile: str):
    """Nothing that a stranger wrote begins a line of its own or speaks to the terminal: not as a field, not as a
    library's message, not in an exception's text."""
    out = io.StringIO()
    observe.configure(log_format, stream=out)
    log = structlog.get_logger("x")
    log.info("event_taken", contract_id=hostile, several=[hostile])
    logging.getLogger("some.library").warning("unknown task %s", hostile)
    log.error("carry_defect", exc_info=ValueError(hostile))

    lines = out.getvalue().splitlines()
    assert not CONTROL.search(out.getvalue())
    assert not any(line.startswith(("2026-01-01 [info] forged", "X-Injected")) for line in lines)
    if log_format == "json":
        assert [json.loads(line)["event"].split()[0] for line in lines] == ["event_taken", "unknown", "carry_defect"]
    else:
        assert sum(line.startswith("2") for line in lines) == 3


@given(TEXT, TEXT, st.integers(min_value=1, max_value=99))
def test_no_id_reaches_a_header(organization: str, contract: str, number: int):
    """An Idempotency-Key is a digest, whatever it was made of, and two of a kind never meet."""
    keys = {
        worker_key(organization, contract),
        session_key(contract, number, contract),
        session_key(contract, number + 1, contract),
    }

    assert len(keys) == 3
    assert all(re.fullmatch(r"[0-9a-f-]{36}", key) for key in keys)


def everything(store: Store) -> list[Any]:
    return store.read(lambda db: [tuple(row) for table in (runs, attempts) for row in db.execute(select(table))])
