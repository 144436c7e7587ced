"""How Deel shows what it knows: contracts, people, and who a token belongs to."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from onboarding.simulator.clock import stamp

if TYPE_CHECKING:
    from onboarding.simulator.policy import Policy
    from onboarding.simulator.state import Contract, Organization, Profile
    from onboarding.simulator.visit import Json

_TITLE = "Backend Engineer"
_TEAM = {"id": "5f0c2d9e-6f7f-4a60-9d5e-0a3b8c1d2e4f", "name": "General"}
_UNSIGNED = {"client_signed_at": None, "worker_signature": "", "worker_signed_at": None}


def contract_detail(contract: Contract) -> Json:
    """GET /contracts/{contract_id}. The worker has an id once the profile is made."""
    return {
        **_contract(contract),
        "worker": _worker(contract),
        "client": {"team": _TEAM, "full_name": contract.organization.name, "email": None},
        "job_title": _TITLE,
        "start_date": start_date(contract),
        "updated_at": stamp(contract.created_at),
        "special_clause": "",
        "employment_details": {"type": contract.type, "days_per_week": 5, "hours_per_day": 8},
    }


def contract_row(contract: Contract) -> Json:
    """GET /contracts, one row. Its `worker` must have an id, so it is null until there is one."""
    return {
        **_contract(contract),
        "worker": _row_worker(contract),
        "client": {"team": _TEAM},
        "is_shielded": False,
        "notice_period": 0,
    }


def person(profile: Profile) -> Json:
    """GET /people, one row, and GET /people/{hris_profile_id}."""
    contract = profile.contract
    hired = {"hiring_type": contract.type, "hiring_status": hiring_status(contract)}
    return {
        "id": profile.hris_profile_id,
        "worker_id": str(profile.number),
        "first_name": contract.first_name,
        "last_name": contract.last_name,
        "full_name": contract.full_name,
        "emails": [{"type": "primary", "value": contract.email or None}],
        "created_at": stamp(profile.created_at),
        "external_id": contract.external_id,
        **hired,
        "employments": [
            {"id": contract.id, "name": _TITLE, "contract_status": contract.status, "is_ended": False, **hired}
        ],
    }


def worker_self(profile: Profile, policy: Policy) -> Json:
    """GET /people/me with a worker token: numbers where other routes have uuids, and no HRIS profile id."""
    contract = profile.contract
    email = contract.impersonated_by or contract.email
    return {
        "id": profile.number,
        "user_id": profile.user_number,
        "email": email,
        "username": email,
        "first_name": contract.first_name,
        "middle_name": None,
        "last_name": contract.last_name,
        "full_name": contract.full_name,
        "profile_type": policy.worker_profile_type,
        **_belongs_to(contract.organization),
    }


def service_account(organization: Organization) -> Json:
    """GET /people/me with a token of the organisation."""
    email = f"api-{organization.number}@service-accounts.example"
    return {
        "id": organization.number,
        "user_id": organization.number,
        "email": email,
        "username": email,
        "first_name": "API",
        "middle_name": None,
        "last_name": organization.name,
        "full_name": f"API {organization.name}",
        "profile_type": "service_account",
        **_belongs_to(organization),
    }


def hiring_status(contract: Contract) -> str:
    return "active" if contract.status == "in_progress" else "onboarding"


def start_date(contract: Contract) -> str:
    return stamp(contract.created_at + timedelta(days=30))


def _contract(contract: Contract) -> Json:
    return {
        "id": contract.id,
        "type": contract.type,
        "title": _TITLE,
        "status": contract.status,
        "external_id": contract.external_id,
        "created_at": stamp(contract.created_at),
        "signatures": _UNSIGNED,
        "invitations": {"client_email": None, "worker_email": contract.email if contract.invited else None},
        "is_archived": False,
        "termination_date": contract.termination_date or None,
    }


def _row_worker(contract: Contract) -> Json | None:
    if contract.profile is None:
        return None
    return {
        "id": contract.profile.hris_profile_id,
        "email": contract.email or None,
        "full_name": contract.full_name,
        "alternate_email": [],
    }


def _worker(contract: Contract) -> Json:
    """Without `date_of_birth`: Deel's file wants exactly one of "string" and "string", which nothing can be."""
    names = {"first_name": contract.first_name, "last_name": contract.last_name}
    if contract.profile is None:
        return {"expected_email": contract.email, **names} if contract.email else names
    return {**(_row_worker(contract) or {}), **names}


def _belongs_to(organization: Organization) -> Json:
    return {
        "organization_id": organization.number,
        "organization_name": organization.name,
        "avatar_url": None,
        "client_country": None,
        "contractor_country": None,
        "hris_enabled": True,
        "hris_organization_user_id": None,
        "slack_team_id": None,
        "slack_user_id": None,
    }
