"""What a worker's token is for, held against Deel's own OpenAPI files."""

from __future__ import annotations

import pytest

from tests.openapi import validate_request, validate_response, validate_target

NOBODY = "00000000-0000-4000-8000-000000000000"
AGREEMENT = "GET /eor/workers/contracts/{contract_id}/employee-agreement/download"
SIGN = "POST /eor/workers/contracts/{contract_id}/signatures"
LETTERS = "GET /eor/workers/contracts/{contract_id}/hr-documents"
DOCUMENTS = "GET /eor/workers/compliance-documents"
UPLOAD = "POST /eor/workers/compliance-documents/{document_id}"
PAYSLIPS = "GET /eor/workers/{worker_id}/payslips"
PAYSLIP = "GET /eor/workers/{worker_id}/payslips/{payslip_id}/download"
OWN = (AGREEMENT, SIGN, LETTERS, DOCUMENTS, UPLOAD)
ROUTES = (*OWN, PAYSLIPS, PAYSLIP)
PDF = {"file": ("passport.pdf", b"%PDF-1.7 content", "application/pdf")}


@pytest.fixture
def hold(ask, deel, worker, issue):
    """Make a call, as the worker of c-1 unless told otherwise, and hold its answer against the file; the answer."""
    profile = worker()
    token = issue(profile)

    def call(route, status, **more):
        ids = {"contract_id": "c-1", "worker_id": profile, "document_id": deel.desk_of("c-1").papers[0].id}
        ids |= {"payslip_id": deel.desk_of("c-1").payslips[0]["id"]} | more.pop("ids", {})
        method, template = route.split(" ")
        path = template.format(**ids)
        validate_target(method, template, path)
        answer = ask(f"{method} {path}", more.pop("data", None), **{"token": token, **more})
        assert answer.status_code == status, answer.text
        validate_response(method, template, status, answer.json())
        return answer.json()

    return call


def test_signing_is_as_documented(deel, hold):
    """The version that waits is signed once; another version is a conflict; the link says until when it opens."""
    assert hold(AGREEMENT, 200)["data"]["url"]
    body = {"signature": "Ada Lovelace", "version": "1"}
    validate_request("POST", SIGN.split()[1], {"data": body})
    assert deel.changes_agreement("c-1") == "2"
    hold(SIGN, 409, data=body)
    hold(AGREEMENT, 409, params={"version": "1"})
    hold(SIGN, 400, data={"version": "2"})
    assert hold(SIGN, 201, data={**body, "version": "2"})["data"] == {"created": True}
    assert deel.desk_of("c-1").signature == "Ada Lovelace"
    hold(SIGN, 400, data=body | {"version": "2"})


def test_documents_are_as_documented(deel, hold):
    """A file of a kind that Deel takes is uploaded, and shows."""
    assert [each["status"] for each in hold(DOCUMENTS, 200)["data"]["documents"]] == [None, None]
    assert hold(LETTERS, 200)["data"]
    hold(UPLOAD, 400)
    hold(UPLOAD, 400, files={"file": ("passport.exe", b"MZ", "application/octet-stream")})
    hold(UPLOAD, 404, files=PDF, ids={"document_id": NOBODY})
    assert hold(UPLOAD, 200, files=PDF)["data"] == {"success": True}
    paper = deel.desk_of("c-1").papers[0]
    assert (paper.filename, paper.content) == ("passport.pdf", b"%PDF-1.7 content")
    assert hold(DOCUMENTS, 200)["data"]["documents"][0]["filenames"] == ["passport.pdf"]


def test_payslips_are_as_documented(deel, hold):
    """The worker's own, with a link for each; the organisation's token sees them where it has the scope."""
    assert len(hold(PAYSLIPS, 200)["data"]) == 2
    assert hold(PAYSLIP, 200)["data"]["url"]
    hold(PAYSLIP, 403, ids={"payslip_id": "nix"})
    hold(PAYSLIPS, 403, ids={"worker_id": NOBODY})
    hold(PAYSLIPS, 200, token=deel.add_token({"payslips:read"}))
    hold(PAYSLIPS, 403, token=deel.add_token({"people:read"}))


def test_another_workers_papers_are_out_of_reach(hold, worker, issue):
    """Their contract is unknown, their payslips are refused, their documents are not there."""
    theirs = issue(worker("c-2"))
    hold(SIGN, 404, data={"signature": "Eve"}, token=theirs)
    hold(AGREEMENT, 404, token=theirs)
    hold(LETTERS, 404, token=theirs)
    hold(PAYSLIPS, 403, token=theirs)
    hold(UPLOAD, 404, files=PDF, token=theirs)


@pytest.mark.parametrize("route", ROUTES)
def test_refusals_are_as_documented(hold, deel, route):
    """A dead token is 401; the organisation's token is none of a worker's."""
    hold(route, 401, token="unknown")
    if route in OWN:
        hold(route, 403, token=deel.org_token)
    deel.fails(route, status=500)
    hold(route, 500)
