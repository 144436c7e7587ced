"""Webhooks as Deel sends them, one of each kind that is understood, about a worker who does not exist.

The simulated Deel writes and signs them: there is one way to make a body.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from onboarding.deel_events import SUBSCRIBED
from onboarding.simulator.clock import Clock
from onboarding.simulator.state import Contract, World
from onboarding.simulator.webhooks import Webhook, envelope, sign

if TYPE_CHECKING:
    from pydantic import SecretStr

NAMES: Final = SUBSCRIBED
_STATUS: Final = {"contract.status.updated": "waiting_for_employee_sign", "contract.terminated": "cancelled"}


def sample(
    name: str, contract_id: str, organization_id: str, *, label: str, key: SecretStr, real: bool = False
) -> Webhook:
    """Body and headers. Unless `real`, it says of itself that Deel simulated it: it then starts no run."""
    now = datetime.now(UTC)
    world = World(Clock())
    contract = Contract(
        id=contract_id,
        organization=world.organization(organization_id),
        type="eor",
        status=_STATUS.get(name, "under_review"),
        email=f"{contract_id}@workers.example".lower(),
        first_name="Ada",
        last_name="Sample",
        created_at=now,
        visible_at=now,
        number=1,
    )
    if not name.startswith("contract."):  # those tell of a profile
        world.create_profile(contract)
    told = envelope(name, contract, now, {}, is_simulation=not real, as_array=False)
    return sign(told, label, key.get_secret_value())
