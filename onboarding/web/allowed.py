"""Which of Deel's calls an app may make through the proxy, and that they concern its worker and nobody else."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from onboarding.deel.wire import is_safe_id

MAX_JSON: Final = 64 << 10
MAX_UPLOAD: Final = 8 << 20
"""Of a document, with the form around it."""


class NotAllowed(Exception):  # noqa: N818 - what the path is
    """The path is on no list, or it names another worker or contract."""


class WrongMethod(Exception):  # noqa: N818 - what the method is
    """The path is on the list, with other methods."""

    def __init__(self, right: frozenset[str]) -> None:
        super().__init__(right)
        self.right = right


@dataclass(frozen=True)
class Call:
    """A call that may be made. `name`, its method and template, holds no id."""

    name: str
    max_body: int


_UPLOAD: Final = "POST /eor/workers/compliance-documents/{document_id}"
# The worker's own reads, signing, documents and payslips. Nothing that opens a log-in (`/magic-link`), moves money
# (`/eor/workers/banks`) or ends the work. Source: Deel's OpenAPI; {worker_id} is taken to be the HRIS profile's.
ALLOWED: Final = (
    "GET /people/me",
    "GET /people/{worker_id}",
    "GET /eor/workers/contracts/{contract_id}/offer-letter",
    "GET /eor/workers/contracts/{contract_id}/employee-agreement/download",
    "POST /eor/workers/contracts/{contract_id}/signatures",
    "GET /eor/workers/contracts/{contract_id}/hr-documents",
    "GET /eor/workers/compliance-documents",
    _UPLOAD,
    "POST /eor/workers/compliance-documents/{document_id}/acknowledgement",
    "GET /eor/workers/compliance-documents/{document_id}/download",
    "GET /eor/workers/compliance-documents/{document_id}/templates/download",
    "GET /eor/workers/tax-documents",
    "GET /eor/workers/{worker_id}/payslips",
    "GET /eor/workers/{worker_id}/payslips/{payslip_id}/download",
)
_BODIES: Final = {_UPLOAD: MAX_UPLOAD}
_ROUTES: Final = [
    (re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", template)), method, f"{method} {template}")
    for method, _, template in (line.partition(" ") for line in ALLOWED)
]


def allowed(method: str, path: str, own: Mapping[str, str]) -> Call:
    """The call that this is. `own`: the ids that the path may name, by their place in it.

    Raises NotAllowed, WrongMethod. Every segment is a word of the list or a safe id: no step up, nothing encoded.
    """
    methods = set()
    for pattern, right, name in _ROUTES:
        found = pattern.fullmatch(path)
        if found and all(
            is_safe_id(value) and own.get(place, value) == value for place, value in found.groupdict().items()
        ):
            if right == method:
                return Call(name, _BODIES.get(name, 0 if method == "GET" else MAX_JSON))
            methods.add(right)
    if methods:
        raise WrongMethod(frozenset(methods))
    raise NotAllowed
