"""What a worker does with the token: payslips, the agreement's signature, documents. Typed calls over its client.

Each raises DeelFailure, as every call to Deel does; VersionMismatch where the agreement is another one by now.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

from pydantic import Field, TypeAdapter, ValidationError

from onboarding.deel import ParkRun, TryLater, wire
from onboarding.deel.failures import failure_of, request_id_of
from onboarding.runs import Reason
from onboarding.transport import Reply, TransportError

if TYPE_CHECKING:
    from onboarding.transport import Client

T = TypeVar("T")

KINDS: Final = {
    ".pdf": "application/pdf",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".heic": "image/heic",
}
"""What Deel takes as a document. Source: its OpenAPI of compliance documents."""


class VersionMismatch(ParkRun):
    """The agreement that was to be signed is not the one that waits for a signature."""


class Payslip(wire.Wire):
    """Without an end while its period goes on."""

    id: wire.Id
    begins: Annotated[date, Field(alias="from")]
    ends: Annotated[date | None, Field(alias="to")] = None
    status: str


class Document(wire.Wire):
    """One that Deel asks the worker for. `status`: None until one was uploaded."""

    id: wire.Id
    name: str
    status: str | None = None
    is_optional: bool = False
    uploaded_at: wire.Detail[wire.Moment] = None
    rejection_message: wire.Detail[str] = None
    is_acknowledgement_only_document: wire.Detail[bool] = None


class _Documents(wire.Wire):
    documents: list[Document]


def payslips(deel: Client, worker_id: str) -> list[Payslip]:
    """GET /eor/workers/{worker_id}/payslips. The worker's id is taken to be the HRIS profile's: Deel does not say."""
    return _read(list[Payslip], _ask(lambda: deel.get(f"/eor/workers/{_in_path(worker_id)}/payslips")))


def documents(deel: Client) -> list[Document]:
    """GET /eor/workers/compliance-documents."""
    return _read(_Documents, _ask(lambda: deel.get("/eor/workers/compliance-documents"))).documents


def upload(deel: Client, document_id: str, filename: str, kind: str, content: bytes) -> None:
    """POST /eor/workers/compliance-documents/{document_id}: what was uploaded before is replaced."""
    path, files = f"/eor/workers/compliance-documents/{_in_path(document_id)}", {"file": (filename, content, kind)}
    _ask(lambda: deel.post(path, files=files))


def sign(deel: Client, contract_id: str, signature: str, version: str | None) -> None:
    """POST /eor/workers/contracts/{contract_id}/signatures. Raises VersionMismatch for a version that is no more."""
    body = {"signature": signature} | ({"version": version} if version else {})
    path = f"/eor/workers/contracts/{_in_path(contract_id)}/signatures"
    _ask(lambda: deel.post(path, json={"data": body}))


def _in_path(identifier: str) -> str:
    if not wire.is_safe_id(identifier):
        raise ParkRun(Reason.REQUEST_REJECTED)
    return identifier


def _ask(send: Callable[[], Any]) -> Reply:
    """Deel's answer, where it has a 2xx status. Raises DeelFailure."""
    try:
        answer = send()
    except TransportError:
        answer = None
    if answer is None:
        raise TryLater(Reason.DEEL_UNAVAILABLE)
    reply = Reply(answer.status_code, answer.headers, answer.content)
    if reply.status == HTTPStatus.CONFLICT:
        raise VersionMismatch(Reason.REQUEST_REJECTED, reply.status, request_id_of(reply))
    if not answer.is_success:
        raise failure_of(reply, not_found=None, of_worker=True)
    return reply


def _read(kind: type[T], reply: Reply) -> T:
    try:
        return TypeAdapter(wire.One[kind]).validate_json(reply.body).data  # type: ignore[valid-type]
    except ValidationError:
        failure = TryLater(Reason.DEEL_UNAVAILABLE, reply.status, request_id_of(reply))
    raise failure  # out here: pydantic's error holds the body
