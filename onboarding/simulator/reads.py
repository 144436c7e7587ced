"""The routes that only read: contracts, people, the organisation."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Final

from onboarding.simulator import bodies
from onboarding.simulator.visit import Answer, Refused

if TYPE_CHECKING:
    from onboarding.simulator.policy import Policy
    from onboarding.simulator.state import Contract, Profile, World
    from onboarding.simulator.visit import Visit

DEFAULT_LIMIT: Final = 20
MAX_LIMIT: Final = 100  # Deel's is not documented: who asks for more gets pages of this


def get_contract(world: World, _policy: Policy, visit: Visit) -> Answer:
    """GET /contracts/{contract_id}."""
    contract = world.contract(visit.organization.id, visit.parameters["contract_id"])
    if contract is None:
        raise Refused(404, "Contract not found")
    return Answer(200, {"data": bodies.contract_detail(contract)})


def list_contracts(world: World, policy: Policy, visit: Visit) -> Answer:
    """GET /contracts. Not simulated: team_id, countries, currencies, sort_by, expand."""
    rows = [contract for contract in world.contracts_of(visit.organization.id) if _wanted(contract, visit)]
    newest_first = visit.query("order_direction") == ["desc"]
    if newest_first:
        rows.reverse()
    after = _cursor(visit)
    rest = [row for row in rows if after is None or (row.number < after if newest_first else row.number > after)]
    page = rest[: _limit(visit)]
    ended = len(page) == len(rest) and policy.end_cursor == "empty"
    cursor = "" if ended or not page else _as_cursor(page[-1])
    return Answer(
        200,
        {
            "data": [bodies.contract_row(contract) for contract in page],
            "page": {"cursor": cursor, "total_rows": len(rows)},
        },
    )


def list_people(world: World, _policy: Policy, visit: Visit) -> Answer:
    """GET /people. Simulated of its filters: search, hiring_types[], hiring_statuses[]."""
    found = [
        profile
        for contract in world.contracts_of(visit.organization.id)
        for profile in contract.profiles
        if _person_wanted(profile, visit)
    ]
    offset, limit = _number(visit, "offset", 0), _limit(visit)
    page = {"offset": offset, "total_rows": len(found), "items_per_page": limit}
    rows = [bodies.person(profile) for profile in found[offset : offset + limit]]
    return Answer(200, {"data": rows, "page": page})


def get_person(world: World, _policy: Policy, visit: Visit) -> Answer:
    """GET /people/{hris_profile_id}; a worker sees nobody but itself."""
    asked_for = visit.parameters["hris_profile_id"]
    if visit.worker and visit.worker.hris_profile_id != asked_for:
        raise Refused(403, "Worker tokens cannot access this resource")
    profile = world.profile(visit.organization.id, asked_for)
    if profile is None:
        raise Refused(404, "Person not found")
    return Answer(200, {"data": bodies.person(profile)})


def get_me(_world: World, policy: Policy, visit: Visit) -> Answer:
    """GET /people/me."""
    worker, organization = visit.worker, visit.organization
    body = bodies.worker_self(worker, policy) if worker else bodies.service_account(organization)
    return Answer(200, {"data": body} if policy.me_wrapped else body)


def list_organizations(_world: World, _policy: Policy, visit: Visit) -> Answer:
    """GET /organizations: the token's own."""
    return Answer(200, {"data": [{"id": visit.organization.id, "name": visit.organization.name}]})


def contract_in_path(world: World, visit: Visit) -> tuple[str | None, str | None]:
    """What GET /contracts/{contract_id} is about."""
    contract_id = visit.parameters["contract_id"]
    contract = world.contracts.get(contract_id)
    return contract_id, contract.profile.hris_profile_id if contract and contract.profile else None


def token_holder(_world: World, visit: Visit) -> tuple[str | None, str | None]:
    """What GET /people/me is about."""
    return (visit.worker.contract.id, visit.worker.hris_profile_id) if visit.worker else (None, None)


def nobody(_world: World, _visit: Visit) -> tuple[str | None, str | None]:
    """Listings are about no one contract."""
    return None, None


def _wanted(contract: Contract, visit: Visit) -> bool:
    types, statuses = visit.query("types"), visit.query("statuses")
    external_ids, searched = visit.query("external_id"), visit.query("search")
    return (
        (not types or contract.type in types)
        and (not statuses or contract.status in statuses)
        and (not external_ids or contract.external_id in external_ids)
        and (not searched or searched[0].casefold() in contract.full_name.casefold())
    )


def _person_wanted(profile: Profile, visit: Visit) -> bool:
    contract = profile.contract
    types, statuses, searched = (visit.query(name) for name in ("hiring_types", "hiring_statuses", "search"))
    known_as = f"{contract.full_name} {contract.email}".casefold()
    return (
        (not types or contract.type in types)
        and (not statuses or bodies.hiring_status(contract) in statuses)
        and (not searched or searched[0].casefold() in known_as)
    )


def _limit(visit: Visit) -> int:
    limit = _number(visit, "limit", DEFAULT_LIMIT)
    if limit < 1:
        raise Refused(400, "limit must be at least 1", "/limit")
    return min(limit, MAX_LIMIT)


def _number(visit: Visit, name: str, default: int) -> int:
    (text,) = visit.query(name)[-1:] or [str(default)]
    if not (text.isascii() and text.isdigit()):
        raise Refused(400, f'{name} must match pattern "^[0-9]+$"', f"/{name}")
    return int(text)


def _as_cursor(contract: Contract) -> str:
    return base64.urlsafe_b64encode(str(contract.number).encode()).decode()


def _cursor(visit: Visit) -> int | None:
    (text,) = visit.query("after_cursor")[-1:] or [""]
    if not text:
        return None
    try:
        return int(base64.urlsafe_b64decode(text))
    except (binascii.Error, ValueError):
        raise Refused(400, "after_cursor is not a cursor") from None
