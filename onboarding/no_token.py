"""Why there is no worker token to hand out.

    NoToken                why; `reason` and `advice` where there are, `after_s` where waiting helps
    ├── UnknownContract    no run is of this contract
    ├── ConsentMissing     the worker's consent is asked for and not on record
    ├── NotReady           its onboarding has not come that far yet
    ├── Parked             its onboarding failed or was cancelled: an engineer decides
    │   └── PingPong       another system keeps superseding our tokens: `onboarding replay` tries again
    ├── OrganisationPaused Deel refuses the organisation's token, or an engineer paused it
    ├── NotNow             Deel does not answer, or the budget is spent: ask again
    └── Refused            Deel refuses to issue one for this worker

None of them holds a token, an address or a body.
"""

from __future__ import annotations

from onboarding.runs import Reason


class NoToken(Exception):  # noqa: N818 - reads as what happened
    """There is no token to hand out."""

    def __init__(self, contract_id: str, why: str, reason: Reason | None = None, after_s: float | None = None) -> None:
        super().__init__(contract_id, why, reason, after_s)
        self.contract_id, self.why, self.reason, self.after_s = contract_id, why, reason, after_s

    def __str__(self) -> str:
        """The contract, why, and what to do about it."""
        return f"no token for contract {self.contract_id}: {self.why}" + (f" {self.advice}" if self.advice else "")

    @property
    def advice(self) -> str:
        """The reason's line for an engineer; empty where there is no reason."""
        return self.reason.advice if self.reason else ""


class UnknownContract(NoToken):
    """No run is of this contract."""


class ConsentMissing(NoToken):
    """Consent is asked for, and not on record or withdrawn."""


class NotReady(NoToken):
    """The onboarding goes on, and has not come so far that a token was seen to work."""


class Parked(NoToken):
    """The onboarding failed or was cancelled."""


class PingPong(Parked):
    """Another system keeps superseding our tokens: we stopped."""


class OrganisationPaused(NoToken):
    """Nothing is issued for this organisation until it is resumed."""


class NotNow(NoToken):
    """Ask again, in `after_s` seconds where that is known."""


class Refused(NoToken):
    """Deel says no to this worker's token: asking again changes nothing."""
