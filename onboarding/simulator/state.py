"""What Deel knows: organisations, tokens, contracts, profiles, sessions. No HTTP here."""

from __future__ import annotations

import base64
import itertools
import json
import secrets
import uuid
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from onboarding.simulator.self_service import Desk, new_desk

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from onboarding.simulator.clock import Clock

WORKER_SCOPES: Final = frozenset({"worker:read", "worker:write"})


@dataclass(frozen=True)
class Organization:
    """`number` is what GET /people/me calls its id."""

    id: str
    number: int
    name: str


@dataclass(eq=False)
class OrgToken:
    """A static token of an organisation."""

    organization: Organization
    scopes: frozenset[str]
    revoked: bool = False


@dataclass(frozen=True, eq=False)
class Profile:
    """A worker, under five ids. Only `hris_profile_id` opens a session."""

    contract: Contract = field(repr=False)
    user_id: str
    profile_id: str
    hris_profile_id: str
    number: int
    user_number: int
    created_at: datetime


@dataclass(eq=False)
class Contract:
    """An EOR contract, or one of another type, with the worker whom it expects."""

    id: str
    organization: Organization
    type: str
    status: str
    email: str = field(repr=False)  # "": none is named
    first_name: str = field(repr=False)
    last_name: str = field(repr=False)
    created_at: datetime
    visible_at: datetime
    number: int  # the order of the list
    external_id: str | None = None
    invited: bool = False
    profiles: list[Profile] = field(default_factory=list, repr=False)
    impersonated_by: str | None = field(default=None, repr=False)  # the e-mail that people/me shows instead
    strangers_coming: int = 0  # who each issue a token right after one of ours

    @property
    def full_name(self) -> str:
        return f"{self.first_name} {self.last_name}".strip()

    @property
    def profile(self) -> Profile | None:
        """The latest; there are several only where a repeated POST /eor/worker makes duplicates."""
        return self.profiles[-1] if self.profiles else None


@dataclass(eq=False)
class Session:
    """A worker token. `ours`: issued over HTTP, by whom we test; else by a stranger."""

    token: str = field(repr=False)
    profile: Profile
    expires_at: datetime
    ours: bool
    dies_at: datetime | None = None  # superseded or deleted

    def lives(self, now: datetime) -> bool:
        return now < self.expires_at and (self.dies_at is None or now < self.dies_at)


class World:
    """Deel's database. Not locked: its user holds the one lock."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.organizations: dict[str, Organization] = {}
        self.org_tokens: dict[str, OrgToken] = {}
        self.contracts: dict[str, Contract] = {}
        self.profiles: dict[str, Profile] = {}  # by HRIS profile id
        self.sessions: dict[str, Session] = {}  # by token
        self._desks: dict[str, Desk] = {}  # by HRIS profile id
        self._sessions_of: dict[str, list[Session]] = defaultdict(list)  # by HRIS profile id, oldest first
        self._numbers = itertools.count(100_001)

    def organization(self, organization_id: str) -> Organization:
        """Made when it is named for the first time."""
        if organization_id not in self.organizations:
            name = f"Acme {len(self.organizations) + 1}"
            self.organizations[organization_id] = Organization(organization_id, next(self._numbers), name)
        return self.organizations[organization_id]

    def add_token(self, organization_id: str, scopes: Collection[str]) -> str:
        token = secrets.token_urlsafe(32)
        self.org_tokens[token] = OrgToken(self.organization(organization_id), frozenset(scopes))
        return token

    def add_contract(self, contract: Contract) -> None:
        """Raises ValueError where Deel has that id already."""
        if contract.id in self.contracts:
            raise ValueError(f"contract {contract.id} exists already")
        self.contracts[contract.id] = contract

    def next_number(self) -> int:
        return next(self._numbers)

    def contract(self, organization_id: str, contract_id: str) -> Contract | None:
        """Only what this organisation may see, now."""
        contract = self.contracts.get(contract_id)
        if contract and contract.organization.id == organization_id and self._visible(contract):
            return contract
        return None

    def contracts_of(self, organization_id: str) -> list[Contract]:
        """Visible now, oldest first."""
        mine = (c for c in self.contracts.values() if c.organization.id == organization_id)
        return [contract for contract in mine if self._visible(contract)]

    def profile(self, organization_id: str, hris_profile_id: str) -> Profile | None:
        profile = self.profiles.get(hris_profile_id)
        return profile if profile and self.contract(organization_id, profile.contract.id) else None

    def create_profile(self, contract: Contract) -> Profile:
        """Another one, whether or not the contract has one."""
        user, profile, hris = (str(uuid.uuid4()) for _ in range(3))
        numbers = self.next_number(), self.next_number()
        made = Profile(contract, user, profile, hris, *numbers, created_at=self.clock.now())
        contract.profiles.append(made)
        self.profiles[made.hris_profile_id] = made
        return made

    def desk(self, profile: Profile) -> Desk:
        """The worker's papers."""
        return self._desks.setdefault(profile.hris_profile_id, new_desk(profile))

    def live_sessions(self, profile: Profile) -> list[Session]:
        """Oldest first; two at most, while a superseded one lingers."""
        now = self.clock.now()
        return [session for session in self.sessions_of(profile) if session.lives(now)]

    def sessions_of(self, profile: Profile) -> list[Session]:
        """All that ever were, oldest first."""
        return self._sessions_of[profile.hris_profile_id]

    def issue(self, profile: Profile, *, life_s: float, lag_s: float, ours: bool) -> Session:
        """A new token; the live ones die after `lag_s` seconds."""
        now = self.clock.now()
        self.end_sessions(profile, now + timedelta(seconds=lag_s))
        session = Session(_worker_token(), profile, now + timedelta(seconds=life_s), ours)
        self.sessions[session.token] = session
        self.sessions_of(profile).append(session)
        return session

    def end_sessions(self, profile: Profile, at: datetime) -> bool:
        """Let the live tokens die then, if not before. False: there was none."""
        live = self.live_sessions(profile)
        for session in live:
            session.dies_at = min(session.dies_at or at, at)
        return bool(live)

    def _visible(self, contract: Contract) -> bool:
        return self.clock.now() >= contract.visible_at


def _worker_token() -> str:
    """Looks like the JWT of Deel's examples; nothing in it means anything."""
    parts = ({"alg": "HS256", "typ": "JWT"}, {"jti": secrets.token_hex(16)})
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    return ".".join([*encoded, secrets.token_urlsafe(32)])
