"""The names of Deel's webhook events. Source: Deel's API, webhook event types; its changelog, v1.15."""

from __future__ import annotations

from typing import Final

CONTRACT_CREATED: Final = "contract.created"
STATUS_UPDATED: Final = "contract.status.updated"
CONTRACT_TERMINATED: Final = "contract.terminated"
EMPLOYEE_CREATED: Final = "employee.created.eor"
WORKER_CREATED: Final = "worker.v2.created"
ONBOARDING_UPDATED: Final = "onboarding.status.updated"

EOR: Final = "eor"
ENDED: Final = frozenset(("completed", "cancelled", "user_cancelled", "rejected", "terminated"))
"""A contract's statuses that no onboarding follows. The last is in none of Deel's lists, and means what it says."""

CUT_SHORT: Final = ENDED - {"completed"}
"""Those that mean that the worker's token must end."""

SUBSCRIBED: Final = (
    CONTRACT_CREATED,
    STATUS_UPDATED,
    CONTRACT_TERMINATED,
    EMPLOYEE_CREATED,
    ONBOARDING_UPDATED,
    WORKER_CREATED,
)
"""What `onboarding webhook create` asks Deel for, sorted."""

_NAMES: Final = frozenset(
    {
        CONTRACT_CREATED,
        STATUS_UPDATED,
        "contract.amended",
        "contract.duplicated",
        CONTRACT_TERMINATED,
        "contract.archived",
        "contract.sign.team-member-invited",
        EMPLOYEE_CREATED,
        "employee.created.direct",
        "employee.created.contractor",
        "employee.updated.direct",
        "worker.created",
        WORKER_CREATED,
        "worker.v2.updated",
        "worker.v2.deleted",
        ONBOARDING_UPDATED,
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
