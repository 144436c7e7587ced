"""One call on its way through the simulator, and what may come of it."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from onboarding.simulator.faults import Fault, Kind
    from onboarding.simulator.ledger import TokenKind
    from onboarding.simulator.policy import Policy
    from onboarding.simulator.server import Request
    from onboarding.simulator.state import Organization, Profile, Session, World

Json = dict[str, Any]


@dataclass(frozen=True)
class Answer:
    """`body` None is an empty one; `page` is sent as it is, in place of JSON."""

    status: int
    body: Json | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    page: str | None = None


class Refused(Exception):  # noqa: N818 - Deel's answer, no failure of the simulator
    """Deel refuses a call. `path` names the faulty field, as its schema validator does."""

    def __init__(self, status: int, message: str, path: str | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.path = status, message, path


@dataclass(frozen=True)
class Caller:
    """Who the bearer token says is calling. `alive` False: known once, good for nothing now."""

    kind: TokenKind
    organization: Organization | None = None
    session: Session | None = None
    scopes: frozenset[str] = frozenset()
    alive: bool = False


@dataclass(frozen=True)
class Route:
    """`scopes`: any one suffices. `concerns` tells contract and HRIS profile id, for faults and the ledger."""

    name: str  # as in Deel's reference: "GET /people/me"
    answer: Callable[[World, Policy, Visit], Answer]
    concerns: Callable[[World, Visit], tuple[str | None, str | None]]
    scopes: frozenset[str]
    for_workers: bool = False
    for_organizations: bool = True

    @property
    def method(self) -> str:
        return self.name.partition(" ")[0]

    @property
    def template(self) -> str:
        return self.name.partition(" ")[2]


@dataclass
class Visit:
    """A request and all that was found out about it."""

    request: Request
    route: Route | None
    parameters: Mapping[str, str]  # from the path
    caller: Caller
    key: str | None = None  # Idempotency-Key
    holds_key: bool = False  # this call is the key's first
    fault: Fault | None = None
    at: float = 0.0  # monotonic
    counted: bool = False
    refused: bool = False
    replayed: bool = False
    request_id: str = field(default_factory=lambda: str(uuid.uuid4()))

    def suffers(self, kind: Kind) -> bool:
        """Whether this is the fault that was dealt to the call."""
        return self.fault is not None and self.fault.kind is kind

    @property
    def organization(self) -> Organization:
        """The caller's. Only where the call was admitted."""
        assert self.caller.organization is not None
        return self.caller.organization

    @property
    def worker(self) -> Profile | None:
        """Whose worker token this is."""
        return self.caller.session.profile if self.caller.session else None

    @cached_property
    def data(self) -> Json:
        """The body's `data`; empty where there is none, or no JSON."""
        try:
            body = json.loads(self.request.body or b"{}")
        except (ValueError, RecursionError):  # the latter for what is nested too deep
            return {}
        data = body.get("data") if isinstance(body, dict) else None
        return data if isinstance(data, dict) else {}

    def query(self, name: str) -> list[str]:
        """All values of a query parameter, written `name` or `name[]`."""
        query = self.request.query
        return [*query.get(name, []), *query.get(f"{name}[]", [])]
