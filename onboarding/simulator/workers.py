"""The routes that change something: worker profiles and worker tokens."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from onboarding.simulator.clock import stamp
from onboarding.simulator.visit import Answer, Refused

if TYPE_CHECKING:
    from onboarding.simulator.policy import Policy, SessionField
    from onboarding.simulator.state import Contract, Profile, World
    from onboarding.simulator.visit import Visit

_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


def create_worker(world: World, policy: Policy, visit: Visit) -> Answer:
    """POST /eor/worker."""
    contract = _contract_named(world, visit)
    if contract.type != "eor":
        raise Refused(400, "Contract is not an EOR contract")
    profile = contract.profile
    if profile is not None and policy.repeat_worker == "400":
        raise Refused(400, "A worker exists for this contract already")
    if profile is None or policy.repeat_worker == "duplicate":
        profile = world.create_profile(contract)
    ids = {
        "user_id": profile.user_id,
        "profile_id": profile.profile_id,
        "hris_profile_id": profile.hris_profile_id,
    }
    return Answer(policy.worker_created_status, {"data": ids})


def create_session(world: World, policy: Policy, visit: Visit) -> Answer:
    """POST /workers/session. A stranger who was announced comes in right behind."""
    profile = _profile_named(world, policy, visit)
    if policy.second_session == "refuse" and world.live_sessions(profile):
        raise Refused(400, "An active access token exists for this worker already")
    session = world.issue(profile, life_s=policy.token_life_s, lag_s=policy.supersede_lag_s, ours=True)
    if profile.contract.strangers_coming > 0:
        profile.contract.strangers_coming -= 1
        world.issue(profile, life_s=policy.token_life_s, lag_s=0.0, ours=False)
    return Answer(201, {"data": {"token": session.token, "expires_at": stamp(session.expires_at)}})


def delete_session(world: World, policy: Policy, visit: Visit) -> Answer:
    """DELETE /workers/{worker_id}/session; the worker's id is taken to be the HRIS profile's, or GET /people's."""
    named = visit.parameters["worker_id"]
    if policy.delete_wants == "worker_id":
        found = (profile for profile in world.profiles.values() if str(profile.number) == named)
        named = _hris_id(next(found, None)) or ""
    profile = world.profile(visit.organization.id, named)
    if profile is None:
        raise Refused(404, "Worker not found")
    ended = world.end_sessions(profile, world.clock.now())
    if not ended and policy.delete_repeat_status == 404:  # noqa: PLR2004 - HTTP's own number
        raise Refused(404, "The worker has no active access token")
    return Answer(204)


def contract_in_body(world: World, visit: Visit) -> tuple[str | None, str | None]:
    """What POST /eor/worker is about."""
    contract_id = visit.data.get("contract_id")
    if not isinstance(contract_id, str):
        return None, None
    contract = world.contracts.get(contract_id)
    return contract_id, _hris_id(contract.profile if contract else None)


def profile_in_body(world: World, visit: Visit) -> tuple[str | None, str | None]:
    """What POST /workers/session is about, by whichever field."""
    if "contract_id" in visit.data:
        return contract_in_body(world, visit)
    named = (visit.data.get(field) for field in ("profile_id", "hris_profile_id"))
    profile = next((world.profiles[name] for name in named if name in world.profiles), None)
    return (profile.contract.id if profile else None), _hris_id(profile)


def profile_in_path(world: World, visit: Visit) -> tuple[str | None, str | None]:
    """What a route with an HRIS profile id in its path is about."""
    (named,) = visit.parameters.values()
    profile = world.profiles.get(named)
    return (profile.contract.id if profile else None), named


def _contract_named(world: World, visit: Visit) -> Contract:
    contract = world.contract(visit.organization.id, _text(visit, "contract_id"))
    if contract is None:
        raise Refused(404, "Contract not found")
    return contract


def _profile_named(world: World, policy: Policy, visit: Visit) -> Profile:
    """Deel's OpenAPI file asks for `profile_id`, and means the HRIS profile's; its guide names another field."""
    field: SessionField = next((f for f in policy.session_fields if f in visit.data), policy.session_fields[0])
    if field == "contract_id":
        profile = _contract_named(world, visit).profile
    else:
        named = _text(visit, field)
        if not _UUID.fullmatch(named):
            raise Refused(400, 'must match format "uuid"', f"/data/{field}")
        profile = world.profile(visit.organization.id, named)
    if profile is None:
        raise Refused(404, "Worker profile not found")
    return profile


def _text(visit: Visit, field: str) -> str:
    path = f"/data/{field}"
    if field not in visit.data:
        raise Refused(400, f"Must have required property '{field}'", path)
    value = visit.data[field]
    if not isinstance(value, str):
        raise Refused(400, "must be string", path)
    return value


def _hris_id(profile: Profile | None) -> str | None:
    return profile.hris_profile_id if profile else None
