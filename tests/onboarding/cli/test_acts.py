"""`pause`, `resume`, `consent`, `token`."""

from __future__ import annotations

import getpass

import pytest
from sqlalchemy import select, update

from onboarding.cli import start
from onboarding.runs import Reason, Step
from onboarding.store import consents, organizations
from onboarding.store.tables import audit, worker_tokens
from onboarding.store.tables import consents as consents_table
from onboarding.store.tables import organizations as organizations_table
from tests.onboarding.cli.conftest import EMAIL, TOKEN, Desk, add_completed
from tests.onboarding.store.rows import ORG, add_run

PROOF = ("--evidence", "DOC-1", "--version", "terms-3")


def paused(onboarding: Desk) -> str | None:
    return onboarding.store.read(lambda db: organizations.paused_reason(db, ORG))


def test_pause_and_resume(onboarding: Desk):
    """Both leave a line; a second pause changes nothing and leaves none."""
    add_run(onboarding.store)
    document = {"organization_id": ORG, "paused": True, "reason": "paused"}
    assert onboarding.json("pause", ORG, "--because", "OPS-1") == document
    assert onboarding.json("pause", ORG) == document
    assert paused(onboarding) == "paused"
    assert onboarding.json("resume", ORG) == {"organization_id": ORG, "paused": False, "reason": None}
    assert paused(onboarding) is None
    assert [(did, because) for did, _, because in onboarding.audit()] == [
        ("pause", "OPS-1"),
        ("resume", ""),
    ]


def test_an_engineers_pause_is_ended_by_no_probe(onboarding: Desk):
    """A pause of Deel's making would end by itself: it becomes the engineer's."""
    add_run(onboarding.store)
    onboarding.store.write(lambda db: organizations.pause(db, ORG, Reason.SCOPE_MISSING, Step.ISSUE_TOKEN))
    assert onboarding("pause", ORG).exit_code == 0
    probe = select(organizations_table.c.probe_at)
    assert onboarding.store.read(lambda db: db.execute(probe).scalar_one()) is None
    assert paused(onboarding) == "paused"


@pytest.mark.parametrize("command", ["pause", "resume"])
def test_an_organisation_that_is_not_there(onboarding: Desk, command: str):
    """A mistyped id is exit 3, and nothing is paused in its name."""
    add_run(onboarding.store)
    result = onboarding(command, "org-0")
    assert (result.exit_code, result.stdout) == (3, "")
    assert onboarding.store.read(organizations.paused) == []
    assert onboarding.audit() == []


def test_resume_says_which_are_paused(onboarding: Desk):
    """For whoever mistyped."""
    onboarding.store.write(lambda db: organizations.pause(db, ORG, Reason.PAUSED, None, probe=False))
    assert ORG in onboarding("resume", "org-0").stderr


def test_a_consent_lets_its_run_go_on(onboarding: Desk):
    """On record with evidence, version and who; the waiting run is nudged, by either id."""
    add_run(onboarding.store, state="waiting", step="issue_token", reason="consent_missing")
    answer = onboarding.json("consent", "run-1", *PROOF)
    expected = {"contract_id": "contract-of-run-1", "given": True, "evidence": "DOC-1", "version": "terms-3"}
    assert answer == {**expected, "who": getpass.getuser()}
    assert onboarding.store.read(lambda db: consents.given(db, "contract-of-run-1"))
    assert onboarding.shell.calls == [("nudge", "run-1", "contract-of-run-1", Step.ISSUE_TOKEN)]
    assert onboarding.audit() == [("consent", "contract-of-run-1", "DOC-1, terms-3")]


def test_a_consent_can_be_withdrawn(onboarding: Desk):
    """The newest line counts; both stay; only the consent nudges its run."""
    add_run(onboarding.store, state="waiting", step="issue_token", reason="consent_missing")
    onboarding("consent", "contract-of-run-1", *PROOF)
    assert onboarding.json("consent", "contract-of-run-1", *PROOF, "--withdraw")["given"] is False
    assert not onboarding.store.read(lambda db: consents.given(db, "contract-of-run-1"))
    lines = select(consents_table.c.given).order_by(consents_table.c.id)
    assert onboarding.store.read(lambda db: db.execute(lines).scalars().all()) == [True, False]
    assert len(onboarding.shell.calls) == 1


def test_a_consent_may_come_before_its_contract(onboarding: Desk):
    """It is recorded; the engineer is asked whether the id is right."""
    result = onboarding("consent", "c-new", *PROOF)
    assert result.exit_code == 0
    assert "No run of this contract yet" in result.stderr
    assert onboarding.store.read(lambda db: consents.given(db, "c-new"))


@pytest.mark.parametrize(
    "words",
    [
        ("consent", "run-1", "--evidence", f"mail of {EMAIL}", "--version", "1"),
        ("consent", "run-1", "--evidence", "DOC-1", "--version", f"of {EMAIL}"),
        ("token", "run-1", "--because", f"asked by {EMAIL}"),
        ("replay", "run-1", "--yes", "--because", f"token {TOKEN}"),
        ("cancel", "run-1", "--because", EMAIL),
        ("pause", ORG, "--because", EMAIL),
    ],
)
def test_nothing_personal_is_written_for_ever(onboarding: Desk, words: tuple[str, ...]):
    """An address or a token in a reason would lie in the open: exit 2, and it is not repeated."""
    add_completed(onboarding.store)
    result = onboarding(*words)
    assert result.exit_code == 2
    assert EMAIL not in result.output
    assert TOKEN not in result.output
    assert onboarding.audit() == []


@pytest.mark.parametrize(
    "words",
    [
        ("consent", "run-1", "--evidence", "...", "--version", "1"),
        ("consent", "run-1", "--evidence", "DOC-1", "--version", "..."),
        ("token", "run-1", "--because", " ... "),
        ("cancel", "run-1", "--because", "\N{HORIZONTAL ELLIPSIS}"),
    ],
)
def test_a_proposed_command_pasted_as_it_stands(onboarding: Desk, words: tuple[str, ...]):
    """Its `...` is nobody's reason: exit 2, no line is left."""
    add_completed(onboarding.store)
    result = onboarding(*words)
    assert result.exit_code == 2
    assert "your own words" in result.stderr
    assert onboarding.audit() == []


def test_the_token_is_all_there_is_on_standard_output(onboarding: Desk):
    """Its expiry goes to standard error; the audit line says who, which contract and why."""
    add_completed(onboarding.store)
    result = onboarding("token", "contract-of-run-1", "--because", "OPS-2")
    assert (result.exit_code, result.stdout) == (0, f"{TOKEN}\n")
    assert "expires 20" in result.stderr
    assert onboarding.audit() == [("token", "contract-of-run-1", "OPS-2")]
    assert onboarding.store.read(lambda db: db.execute(select(audit.c.who)).scalar_one()) == getpass.getuser()


def test_the_token_as_json(onboarding: Desk):
    """The object of the design."""
    add_completed(onboarding.store)
    answer = onboarding.json("token", "contract-of-run-1", "--because", "OPS-2")
    assert list(answer) == ["contract_id", "hris_profile_id", "token", "expires_at"]
    assert (answer["token"], answer["hris_profile_id"]) == (TOKEN, "profile-of-run-1")
    assert answer["expires_at"].endswith("Z")


def test_no_token_without_its_audit_line(onboarding: Desk, monkeypatch: pytest.MonkeyPatch):
    """Where the line cannot be written, nothing is printed."""
    add_completed(onboarding.store)

    def fails(*_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr("onboarding.cli.worker_token.runs.note", fails)
    printed: list[str] = []
    monkeypatch.setattr("onboarding.cli.worker_token.click.echo", printed.append)
    with pytest.raises(RuntimeError):
        onboarding("token", "run-1", "--because", "OPS-2")
    assert printed == []


def test_a_token_needs_a_reason(onboarding: Desk):
    """Missing or blank: exit 2."""
    add_completed(onboarding.store)
    assert onboarding("token", "run-1").exit_code == 2
    assert onboarding("token", "run-1", "--because", "  ").exit_code == 2
    assert onboarding.audit() == []


def test_a_contract_without_a_live_token(onboarding: Desk):
    """Exit 1 with the reason and the next command: never issued, expired, dead; and no audit line."""
    add_run(onboarding.store, "failed", contract_id="c-1", state="failed", reason="not_eor")
    add_completed(onboarding.store, "old", contract_id="c-2", life_s=-1.0)
    add_completed(onboarding.store, "dead", contract_id="c-3")
    of_dead = worker_tokens.c.hris_profile_id == "profile-of-dead"
    onboarding.store.write(lambda db: db.execute(update(worker_tokens).where(of_dead).values(dead=True)))
    for contract, expected in (
        ("c-1", ("not_eor", "onboarding cancel c-1")),
        ("c-2", ("expired", "onboarding replay c-2")),
        ("c-3", ("superseded", "onboarding replay c-3")),
    ):
        result = onboarding("token", contract, "--because", "OPS-2")
        assert (result.exit_code, result.stdout) == (1, "")
        assert all(word in result.stderr for word in expected)
    assert onboarding.audit() == []


def test_the_token_of_an_unknown_contract(onboarding: Desk):
    """Exit 3."""
    result = onboarding("token", "nix", "--because", "OPS-2", "--json")
    assert (result.exit_code, result.stdout) == (3, "")


def test_no_token_leaves_without_consent(onboarding: Desk, monkeypatch: pytest.MonkeyPatch):
    """Where consent is required: exit 1 until it is on record, and again once it is withdrawn."""
    monkeypatch.setenv("ONBOARDING_CONSENT", "required")
    add_completed(onboarding.store)
    codes = [onboarding("token", "run-1", "--because", "OPS-2").exit_code]
    for words in (PROOF, (*PROOF, "--withdraw")):
        onboarding("consent", "contract-of-run-1", *words)
        codes.append(onboarding("token", "run-1", "--because", "OPS-2").exit_code)
    assert codes == [1, 0, 1]
    assert [did for did, _, _ in onboarding.audit()] == ["consent", "token", "consent_withdrawn"]


def test_a_token_that_is_not_verified_says_so(onboarding: Desk):
    """It may be handed out while a replay verifies it again; the engineer is told."""
    add_completed(onboarding.store, state="waiting", step="verify_token")
    result = onboarding("token", "run-1", "--because", "OPS-2")
    assert result.stdout == f"{TOKEN}\n"
    assert "Not verified" in result.stderr


def test_a_user_without_a_name(monkeypatch: pytest.MonkeyPatch):
    """A container's user may have none: the audit line gets the number."""

    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found")

    monkeypatch.setattr(getpass, "getuser", nobody)
    assert start.who().startswith("uid ")


def test_workers_are_kept_alive_or_no_longer(onboarding: Desk):
    """On record, shown, and nothing is done where one is unknown."""
    add_completed(onboarding.store, contract_id="c-1")
    assert onboarding.json("keep-alive", "c-1") == [{"contract_id": "c-1", "keep_alive": True}]
    assert onboarding.json("show", "c-1")["keep_alive"] is True
    assert "kept alive" in onboarding("show", "c-1").stdout
    assert onboarding("keep-alive", "c-1", "nix", "--off").exit_code == 3
    assert onboarding.json("show", "c-1")["keep_alive"] is True
    assert "when somebody asks" in onboarding("keep-alive", "run-1", "--off", "--because", "OPS-3").stdout
    assert onboarding.json("show", "c-1")["keep_alive"] is False
    assert onboarding.audit() == [("keep_alive", "c-1", ""), ("keep_alive_off", "c-1", "OPS-3")]
