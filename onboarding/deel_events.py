"""The names of Deel's webhook events. Source: Deel's API, webhook event types; its changelog, v1.15."""

from __future__ import annotations

from typing import Final

CONTRACT_CREATED: Final = "contract.created"

SUBSCRIBED: Final = (
    CONTRACT_CREATED,
    "contract.status.updated",
    "contract.terminated",
    "employee.created.eor",
    "onboarding.status.updated",
    "worker.v2.created",
)
"""What `onboarding webhook create` asks Deel for, sorted."""

_NAMES: Final = frozenset(
    {
        CONTRACT_CREATED,
        "contract.status.updated",
        "contract.amended",
        "contract.duplicated",
        "contract.terminated",
        "contract.archived",
        "contract.sign.team-member-invited",
        "employee.created.eor",
        "employee.created.direct",
        "employee.created.contractor",
        "employee.updated.direct",
        "worker.created",
        "worker.v2.created",
        "worker.v2.updated",
        "worker.v2.deleted",
        "onboarding.status.updated",
        "onboarding.checklist.updated",
        "eor.quote.created",
        "eor.amendment.status.updated",
        "eor.payslips.available",
        "profile.kyc.changed",
        "oauth2.token.revoked",
        "gp.payslips.available",
        "gp.termination.confirmed",
        "immigration.case.process.status.update",
        "bgcheck.result.available",
    }
)
_FAMILIES: Final = (
    "time-off.",
    "timesheet.",
    "invoice-adjustment.",
    "payment.statement.",
    "ats.application.",
    "it-",
    "engage.",
)


def known(name: str) -> bool:
    """Say whether Deel sends events of this name."""
    return name in _NAMES or name.startswith(_FAMILIES)
