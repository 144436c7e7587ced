"""`onboarding act`, and `token --renew`: a simulated Deel that is asked by the worker's token."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import update

from onboarding.simulator import Simulator
from onboarding.store.sql import from_now
from onboarding.store.tables import runs, worker_tokens
from tests.onboarding.cli.conftest import Desk, add_completed

SIGN = ("act", "c-1", "sign", "--signature", "Ada Lovelace", "--yes")


@pytest.fixture
def desk(onboarding: Desk, deel: Simulator, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """A completed run of a contract that Deel has; the token in the vault is none of Deel's, and has expired."""
    monkeypatch.setenv("ONBOARDING_DEEL_TOKEN", deel.org_token)
    deel.policy.session_fields = ("hris_profile_id", "profile_id")
    deel.has_contract("c-1", with_profile=True)
    add_completed(onboarding.store, "run-1", life_s=-1.0, contract_id="c-1")
    profile = {"hris_profile_id": deel.profiles_of("c-1")[0]}
    onboarding.store.write(lambda db: db.execute(update(runs).values(**profile)))
    onboarding.store.write(lambda db: db.execute(update(worker_tokens).values(**profile)))
    return onboarding


def test_payslips(desk: Desk):
    """A table or JSON; the token is issued on the way, and what was done is on record."""
    assert [(each["from"], each["status"]) for each in desk.json("act", "c-1", "payslips")] == [
        ("2026-01-01", "paid"),
        ("2026-02-01", "paid"),
    ]
    table = desk("act", "run-1", "payslips", "--because", "OPS-7").stdout
    assert "2026-02-28" in table
    assert [did for did, _, _ in desk.audit()] == ["token_renewed", "token", "token"]
    assert [why for _, _, why in desk.audit()] == ["onboarding act payslips", "onboarding act payslips", "OPS-7"]


def test_a_document_is_uploaded_for_what_is_open(desk: Desk, deel: Simulator, tmp_path: Path):
    """Without --document for the one that is needed; once none is, it has to be said."""
    passport = tmp_path / "passport.pdf"
    passport.write_bytes(b"%PDF-1.7")
    answer = desk.json("act", "c-1", "upload", str(passport))
    paper = deel.desk_of("c-1").papers[0]
    assert answer == {"contract_id": "c-1", "document_id": paper.id, "uploaded": True}
    assert (paper.filename, paper.content) == ("passport.pdf", b"%PDF-1.7")
    shown = desk.json("act", "c-1", "documents")
    assert [each["status"] for each in shown] == ["AWAITING_EX_REVIEW", None]
    assert "not uploaded" in desk("act", "c-1", "documents").stdout
    assert desk("act", "c-1", "upload", str(passport)).exit_code == 0  # the optional one is left
    refused = desk("act", "c-1", "upload", str(passport))
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "onboarding act c-1 documents" in refused.stderr
    assert desk("act", "c-1", "upload", str(passport), "--document", paper.id).exit_code == 0


def test_the_agreement_is_signed_in_the_version_that_was_read(desk: Desk, deel: Simulator):
    """A 409 says that it changed; nobody signs by accident."""
    deel.changes_agreement("c-1")
    refused = desk(*SIGN, "--version", "1")
    assert refused.exit_code == 1
    assert "another version than 1" in refused.stderr
    unasked = desk(*SIGN[:-1])
    assert (unasked.exit_code, deel.desk_of("c-1").signature) == (2, None)
    assert desk.json(*SIGN, "--version", "2") == {"contract_id": "c-1", "signed": True}
    assert deel.desk_of("c-1").signature == "Ada Lovelace"


@pytest.mark.parametrize(
    "words",
    [
        ("payslips", "FILE"),
        ("upload",),
        ("sign", "--yes"),
        ("payslips", "--version", "1"),
        ("documents", "--signature", "Ada"),
        ("upload", "FILE"),
        ("nix",),
    ],
)
def test_what_does_not_go_together_is_refused(desk: Desk, deel: Simulator, tmp_path: Path, words: tuple[str, ...]):
    """Exit 2, before anything is asked of anybody: a file where none goes, or of a kind that Deel does not take."""
    (tmp_path / "a.exe").touch()
    result = desk("act", "c-1", *(word.replace("FILE", str(tmp_path / "a.exe")) for word in words))
    assert result.exit_code == 2
    assert len(deel.ledger) == 0


def test_a_deel_that_fails_is_told_with_what_to_do(desk: Desk, deel: Simulator):
    """Whether a signature was taken is not known then."""
    deel.fails("GET /eor/workers/{worker_id}/payslips", status=500)
    result = desk("act", "c-1", "payslips")
    assert result.exit_code == 1
    assert "deel_unavailable (HTTP 500" in result.stderr
    deel.cuts_connection(after="POST /eor/workers/contracts/{contract_id}/signatures")
    result = desk(*SIGN)
    assert result.exit_code == 1
    assert "is not known" in result.stderr
    deel.fails("GET /eor/workers/compliance-documents", status=403)
    result = desk("act", "c-1", "documents")
    assert result.exit_code == 1
    assert "Deel refused" in result.stderr


def test_why_there_is_no_token_to_act_by(desk: Desk, deel: Simulator, monkeypatch: pytest.MonkeyPatch):
    """Each reason with its next command; exit 3 where nobody knows the contract."""

    def said(code: int = 1) -> str:
        result = desk("act", "c-1", "payslips")
        assert (result.exit_code, result.stdout) == (code, "")
        return result.stderr

    assert desk("act", "nix", "payslips").exit_code == 3
    monkeypatch.setenv("ONBOARDING_CONSENT", "required")
    assert "onboarding consent c-1" in said()
    monkeypatch.delenv("ONBOARDING_CONSENT")
    deel.revoke_token(deel.org_token)
    assert "org_token_rejected" in said()
    for state, reason, expected in (
        ("pending", None, "onboarding show c-1"),
        ("failed", "token_superseded", "onboarding replay c-1"),
    ):
        columns = {"state": state, "reason": reason, "step": "verify_token"}
        desk.store.write(lambda db, columns=columns: db.execute(update(runs).values(**columns)))
        assert expected in said()


def test_token_renews_where_it_is_asked_to(desk: Desk, deel: Simulator):
    """Without --renew exit 1, and Deel is asked nothing."""
    refused = desk("token", "c-1", "--because", "OPS-2")
    assert (refused.exit_code, len(deel.ledger)) == (1, 0)
    assert "--renew" in refused.stderr
    result = desk("token", "c-1", "--because", "OPS-2", "--renew")
    assert result.stdout.strip() == deel.live_token("c-1")
    assert desk("token", "c-1", "--because", "OPS-2", "--renew").stdout == result.stdout
    assert [did for did, _, _ in desk.audit()] == ["token_renewed", "token", "token"]
    desk.store.write(lambda db: db.execute(update(worker_tokens).values(expires_at=from_now(-1))))
    assert desk("token", "c-1", "--because", "OPS-2").exit_code == 1
