"""The routes that a worker's token is for: the agreement, documents, payslips."""

from __future__ import annotations

import email
import email.policy
import uuid
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import PurePath
from typing import TYPE_CHECKING, Final

from onboarding.simulator.clock import stamp
from onboarding.simulator.visit import Answer, Refused

if TYPE_CHECKING:
    from datetime import datetime

    from onboarding.simulator.policy import Policy
    from onboarding.simulator.state import Contract, Profile, World
    from onboarding.simulator.visit import Json, Visit

UPLOADED: Final = (".png", ".jpg", ".jpeg", ".heic", ".pdf")
_LINK_S: Final = 300.0
_ASKED_FOR: Final = (("Passport", False), ("Proof of address", True))  # name, is it optional


@dataclass
class Paper:
    """A document that Deel asks a worker for, and what was uploaded for it."""

    id: str
    name: str
    is_optional: bool
    filename: str | None = None
    content: bytes = field(default=b"", repr=False)
    uploaded_at: datetime | None = None


@dataclass
class Desk:
    """What Deel keeps of a worker's papers. `version`: of the agreement that waits for a signature."""

    papers: list[Paper]
    payslips: list[Json]
    version: str = "1"
    signature: str | None = field(default=None, repr=False)


def new_desk(profile: Profile) -> Desk:
    """Two documents asked for, two payslips."""
    space = uuid.UUID(profile.hris_profile_id)
    papers = [Paper(str(uuid.uuid5(space, name)), name, is_optional) for name, is_optional in _ASKED_FOR]
    months = (("2026-01-01", "2026-01-31"), ("2026-02-01", "2026-02-28"))
    payslips = [{"id": f"{space.hex[:8]}-{begin}", "from": begin, "to": end, "status": "paid"} for begin, end in months]
    return Desk(papers, payslips)


def download_agreement(world: World, _policy: Policy, visit: Visit) -> Answer:
    """GET /eor/workers/contracts/{contract_id}/employee-agreement/download."""
    contract = _own_contract(visit)
    _same_version(_desk(world, visit), next(iter(visit.query("version")), None))
    return Answer(200, {"data": _link(world, f"agreements/{contract.id}.pdf")})


def sign(world: World, _policy: Policy, visit: Visit) -> Answer:
    """POST /eor/workers/contracts/{contract_id}/signatures."""
    _own_contract(visit)
    desk, signature = _desk(world, visit), visit.data.get("signature")
    if not isinstance(signature, str) or not signature:
        raise Refused(400, "Must have required property 'signature'", "/data/signature")
    _same_version(desk, visit.data.get("version"))
    if desk.signature is not None:
        raise Refused(400, "The agreement is signed already")
    desk.signature = signature
    return Answer(201, {"data": {"created": True}})


def list_hr_documents(_world: World, _policy: Policy, visit: Visit) -> Answer:
    """GET /eor/workers/contracts/{contract_id}/hr-documents."""
    contract = _own_contract(visit)
    return Answer(200, {"data": [{"id": f"{contract.id}-letter", "name": "Employment verification letter"}]})


def list_documents(world: World, _policy: Policy, visit: Visit) -> Answer:
    """GET /eor/workers/compliance-documents."""
    return Answer(200, {"data": {"documents": [_document(paper) for paper in _desk(world, visit).papers]}})


def upload(world: World, _policy: Policy, visit: Visit) -> Answer:
    """POST /eor/workers/compliance-documents/{document_id}, a form with a `file`."""
    asked_for = visit.parameters["document_id"]
    paper = next((paper for paper in _desk(world, visit).papers if paper.id == asked_for), None)
    if paper is None:
        raise Refused(404, "Compliance document not found")
    filename, content = _file_in(visit)
    if PurePath(filename).suffix.lower() not in UPLOADED:
        raise Refused(400, "The file is none of PNG, JPG, JPEG, HEIC, PDF")
    paper.filename, paper.content, paper.uploaded_at = filename, content, world.clock.now()
    return Answer(200, {"data": {"success": True}})


def list_payslips(world: World, _policy: Policy, visit: Visit) -> Answer:
    """GET /eor/workers/{worker_id}/payslips; the worker's id is taken to be the HRIS profile's."""
    return Answer(200, {"data": world.desk(_worker_in_path(world, visit)).payslips})


def download_payslip(world: World, _policy: Policy, visit: Visit) -> Answer:
    """GET /eor/workers/{worker_id}/payslips/{payslip_id}/download. Deel documents no 404: an unknown one is 403."""
    payslips = world.desk(_worker_in_path(world, visit)).payslips
    if visit.parameters["payslip_id"] not in [payslip["id"] for payslip in payslips]:
        raise Refused(403, "Payslip does not belong to the worker")
    return Answer(200, {"data": {"url": _link(world, visit.parameters["payslip_id"])["url"]}})


def own_contract(world: World, visit: Visit) -> tuple[str | None, str | None]:
    """What a route with a contract's id in its path is about."""
    contract = world.contracts.get(visit.parameters["contract_id"])
    return visit.parameters["contract_id"], contract.profile.hris_profile_id if contract and contract.profile else None


def worker_in_path(world: World, visit: Visit) -> tuple[str | None, str | None]:
    """What a route with a worker's id in its path is about."""
    profile = world.profiles.get(visit.parameters["worker_id"])
    return (profile.contract.id if profile else None), visit.parameters["worker_id"]


def _own_contract(visit: Visit) -> Contract:
    assert visit.worker is not None
    contract = visit.worker.contract
    if contract.id != visit.parameters["contract_id"]:
        raise Refused(404, "Contract not found")
    return contract


def _worker_in_path(world: World, visit: Visit) -> Profile:
    """A worker's own, or any of the organisation's where its token asks."""
    profile = world.profile(visit.organization.id, visit.parameters["worker_id"])
    if profile is None or visit.worker not in (None, profile):
        raise Refused(403, "The worker is not yours")  # Deel documents no 404 here
    return profile


def _desk(world: World, visit: Visit) -> Desk:
    assert visit.worker is not None
    return world.desk(visit.worker)


def _same_version(desk: Desk, version: object) -> None:
    if version is not None and version != desk.version:
        raise Refused(409, "Employment Agreement version mismatch")


def _file_in(visit: Visit) -> tuple[str, bytes]:
    kind = visit.request.headers.get("content-type", "")
    whole = f"Content-Type: {kind}\r\n\r\n".encode() + visit.request.body
    form = email.message_from_bytes(whole, policy=email.policy.HTTP)
    for part in form.iter_parts() if form.is_multipart() else ():
        if part.get_param("name", header="content-disposition") == "file" and part.get_filename():
            return str(part.get_filename()), bytes(part.get_content())
    raise Refused(400, "A file is required")


def _document(paper: Paper) -> Json:
    return {
        "id": paper.id,
        "name": paper.name,
        "status": "AWAITING_EX_REVIEW" if paper.filename else None,
        "country": "DE",
        "fillable": False,
        "filenames": [paper.filename] if paper.filename else [],
        "description": "",
        "is_optional": paper.is_optional,
        "uploaded_at": stamp(paper.uploaded_at) if paper.uploaded_at else None,
        "has_template": False,
        "rejection_message": "",
        "required_in_30_days": False,
        "is_acknowledgement_only_document": False,
    }


def _link(world: World, name: str) -> Json:
    expires_at = world.clock.now() + timedelta(seconds=_LINK_S)
    return {"url": f"https://files.example/{name}", "expires_at": stamp(expires_at)}
