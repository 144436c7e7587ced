"""What a message is read as: something to do, something to know, nothing, or a dead letter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onboarding.runs import Advised

if TYPE_CHECKING:
    from onboarding.consent_events import Evidence
    from onboarding.envelopes import Source
    from onboarding.told import Told


class Why(Advised):
    """Why a message starts no run, and what a tired engineer does about it."""

    # ignored
    SIMULATION = "simulation", "A delivery that Deel simulated. Nothing to do: it must start no run."
    TYPE_NOT_USED = "type_not_used", "An event of Deel's that starts nothing here. Nothing to do."
    NO_RUN = "no_run", "Understood, and of no contract or worker that has a run. Nothing to do."
    CONTRACT_TERMINATED = (
        "contract_terminated",
        "The contract had ended before. Nothing to do.",
    )
    ERASED = "erased", "The contract's worker was erased: no event starts it again. Nothing to do."
    UNKNOWN_TYPE = (
        "unknown_type",
        "No event of Deel's. If it should start a run, its sender must write `contract.created`.",
    )
    # dead
    BAD_SIGNATURE = (
        "bad_signature",
        "Not signed with its label's key. Compare ONBOARDING_WEBHOOK_SECRETS with Deel, then have it sent again.",
    )
    TOO_LARGE = (
        "too_large",
        "Over 256 KiB. Let its sender send ids only: the facts are fetched from Deel.",
    )
    TOO_DEEP = "too_deep", "JSON nested over 50 levels: no HRIS needs that. Mend its sender."
    TOO_MANY = "too_many", "Over 1000 elements in one message. Let its sender send smaller ones."
    UNSUPPORTED_ENCODING = "unsupported_encoding", "Compressed, or not UTF-8. Let its sender send plain UTF-8."
    NOT_JSON = "not_json", "No JSON in UTF-8. Mend its sender."
    DUPLICATE_KEYS = "duplicate_keys", "An object has one key twice, so nobody knows which counts. Mend its sender."
    WRONG_SHAPE = (
        "wrong_shape",
        "Neither Deel's webhook body, a CloudEvent 1.0 nor the plain form, or it names no event type. Mend its sender.",
    )
    NO_CONTRACT_ID = "no_contract_id", "It names no contract. Mend its sender, or `onboarding send` it by hand."
    BAD_CONTRACT_ID = (
        "bad_contract_id",
        "Its contract id is none: 1 to 128 of letters, digits and . _ ~ - are. Mend its sender.",
    )
    CONSENT_INCOMPLETE = (
        "consent_incomplete",
        "A consent needs `evidence` (a reference) and `version`, nothing personal in them. `onboarding consent`.",
    )
    BAD_ORGANIZATION_ID = (
        "bad_organization_id",
        "Its organisation id is none: 1 to 128 of letters, digits and . _ ~ - are. Mend its sender.",
    )


@dataclass(frozen=True)
class Event:
    """Starts a run, unless its contract has one."""

    dedup_key: str
    source: Source
    type: str
    contract_id: str
    organization_id: str | None  # None: the organisation of the configured token
    signed: bool  # by Deel, with a key that we know
    told: Told | None  # only when signed, or listed by Deel
    behind: bool = False  # the runs of other events go first


@dataclass(frozen=True)
class News:
    """Of a contract or of a worker whom we may know: starts nothing."""

    dedup_key: str
    source: Source
    type: str
    contract_id: str | None
    hris_profile_id: str | None
    organization_id: str | None
    signed: bool
    told: Told | None


@dataclass(frozen=True)
class Ending:
    """The contract has ended; unsigned, Deel is asked first."""

    dedup_key: str
    source: Source
    type: str
    contract_id: str
    organization_id: str | None
    signed: bool


@dataclass(frozen=True)
class Consented:
    """The worker gave or withdrew the consent."""

    dedup_key: str
    source: Source
    type: str
    contract_id: str
    organization_id: str | None
    given: bool
    evidence: Evidence


@dataclass(frozen=True)
class Ignored:
    """Understood, and nothing to do."""

    dedup_key: str
    source: Source
    type: str
    contract_id: str | None
    organization_id: str | None
    why: Why
    signed: bool = False


@dataclass(frozen=True)
class Dead:
    """Not understood, or not believed: a dead letter."""

    dedup_key: str
    source: Source
    why: Why


Answer = Event | News | Ending | Consented | Ignored | Dead
