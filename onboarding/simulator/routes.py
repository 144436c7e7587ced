"""Which call leads where, and who may make it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from onboarding.simulator import reads, self_service, workers
from onboarding.simulator.state import WORKER_SCOPES
from onboarding.simulator.visit import Refused, Route

if TYPE_CHECKING:
    from collections.abc import Callable

    from onboarding.simulator.policy import Policy
    from onboarding.simulator.state import World
    from onboarding.simulator.visit import Answer, Caller, Visit

BASES: Final = ("/rest/v2", "/rest")
VERSIONS: Final = (None, "2026-01-01")

_CONTRACTS = frozenset({"contracts:read"})
_PEOPLE = frozenset({"people:read"})
_ADMIN = frozenset({"admin:worker"})
_PAYSLIPS: Final[Any] = {
    "concerns": self_service.worker_in_path,
    "scopes": frozenset({"payslips:read"}),
    "for_workers": True,
}


def _own(name: str, answer: Callable[[World, Policy, Visit], Answer]) -> Route:
    """A route for workers alone."""
    scope = "worker:read" if name.startswith("GET ") else "worker:write"
    concerns = self_service.own_contract if "{contract_id}" in name else reads.token_holder
    return Route(name, answer, concerns, frozenset({scope}), for_workers=True, for_organizations=False)


ROUTES: Final = (
    Route("POST /eor/worker", workers.create_worker, workers.contract_in_body, frozenset({"people:write"})),
    Route("POST /workers/session", workers.create_session, workers.profile_in_body, _ADMIN),
    Route("DELETE /workers/{worker_id}/session", workers.delete_session, workers.profile_in_path, _ADMIN),
    Route("GET /contracts", reads.list_contracts, reads.nobody, _CONTRACTS),
    Route("GET /contracts/{contract_id}", reads.get_contract, reads.contract_in_path, _CONTRACTS),
    Route("GET /people", reads.list_people, reads.nobody, _PEOPLE),
    Route("GET /people/me", reads.get_me, reads.token_holder, _PEOPLE | {"worker:read"}, for_workers=True),
    Route("GET /people/{hris_profile_id}", reads.get_person, workers.profile_in_path, _PEOPLE, for_workers=True),
    _own("GET /eor/workers/contracts/{contract_id}/employee-agreement/download", self_service.download_agreement),
    _own("POST /eor/workers/contracts/{contract_id}/signatures", self_service.sign),
    _own("GET /eor/workers/contracts/{contract_id}/hr-documents", self_service.list_hr_documents),
    _own("GET /eor/workers/compliance-documents", self_service.list_documents),
    _own("POST /eor/workers/compliance-documents/{document_id}", self_service.upload),
    Route("GET /eor/workers/{worker_id}/payslips", self_service.list_payslips, **_PAYSLIPS),
    Route("GET /eor/workers/{worker_id}/payslips/{payslip_id}/download", self_service.download_payslip, **_PAYSLIPS),
    Route("GET /organizations", reads.list_organizations, reads.nobody, frozenset({"organizations:read"})),
)  # the first that fits is taken: /people/me stands before /people/{hris_profile_id}
_PATTERNS: Final = [(re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", route.template)), route) for route in ROUTES]
ALL_SCOPES: Final = frozenset[str]().union(*(route.scopes for route in ROUTES)) - WORKER_SCOPES


def find(method: str, path: str) -> tuple[Route | None, dict[str, str]]:
    """The route below either base path, and the parameters in its path."""
    base = next((base for base in BASES if path.startswith(f"{base}/")), None)
    if base is not None:
        for pattern, route in _PATTERNS:
            fits = pattern.fullmatch(path.removeprefix(base))
            if fits and route.method == method:
                return route, {name: unquote(value) for name, value in fits.groupdict().items()}
    return None, {}


def check(name: str) -> str:
    """The route's name again. Raises ValueError for one that Deel does not have: it would match nothing."""
    if name not in {route.name for route in ROUTES}:
        raise ValueError(f"no such route: {name}")
    return name


def authorise(route: Route, caller: Caller, policy: Policy) -> None:
    """Raises Refused (401, 403) where this caller may not make this call."""
    if not caller.alive:
        raise Refused(401, "Bearer token is missing, expired, or invalid")
    if caller.kind == "worker":
        if not route.for_workers:
            raise Refused(403, "Worker tokens cannot access this resource")
        return
    if route.name == "POST /eor/worker" and not policy.enforce_people_write:
        return
    if not route.for_organizations:
        raise Refused(403, "Only a worker token can access this resource")
    if not caller.scopes & route.scopes:
        raise Refused(403, f"Token lacks the required scope: {' or '.join(sorted(route.scopes))}")
    enabled = policy.admin_scopes_enabled
    here = enabled if isinstance(enabled, bool) else caller.organization and caller.organization.id in enabled
    if route.scopes == _ADMIN and not here:
        raise Refused(403, "The scope admin:worker is not enabled for this organization")


def check_version(version: str | None) -> None:
    """Raises Refused for an X-Version that Deel does not have. Source: Deel's API, versioning page."""
    if version not in VERSIONS:
        raise Refused(400, f"X-Version {version} is not a version of this API")
