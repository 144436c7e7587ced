"""The simulator as a test or the demo holds it: start it, tell it what Deel shall do, ask what it saw."""

from __future__ import annotations

import secrets
import threading
import uuid
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, Self

from onboarding.simulator import routes, webhooks
from onboarding.simulator.clock import Clock
from onboarding.simulator.faults import RANDOM_KINDS, Fault, Faults, Kind, RandomKind
from onboarding.simulator.limiter import Limiter
from onboarding.simulator.pipeline import Pipeline
from onboarding.simulator.policy import Policy
from onboarding.simulator.server import Server
from onboarding.simulator.state import Contract, Profile, Session, World

if TYPE_CHECKING:
    from collections.abc import Collection

    from onboarding.simulator.ledger import Ledger
    from onboarding.simulator.self_service import Desk
    from onboarding.simulator.server import Request, Response

LABEL: Final = "New Webhook"


class Simulator:
    """A Deel that fits in a test. `rate`: calls per second and organisation, None for no limit.

    Contracts live on its own clock (`clock.advance`); the limiter on the real one. `stop` keeps what it
    knows, so that a `start` after it is Deel back from an outage, at the same address.
    """

    def __init__(self, rate: int | None = 5, seed: int = 0) -> None:
        self.clock = Clock()
        self.signing_keys = {LABEL: f"whsec_{secrets.token_urlsafe(24)}"}
        self._lock = threading.RLock()
        self._world = World(self.clock)
        self._faults = Faults(seed)
        self._server = Server(self._respond)
        self._pipeline = Pipeline(
            self._world, Policy(), Limiter(rate), self._faults, self._lock, self._server.stopping.wait
        )
        self.organization_id = str(uuid.uuid4())
        self.org_token = self._world.add_token(self.organization_id, routes.ALL_SCOPES)

    def __enter__(self) -> Self:
        """Start."""
        return self.start()

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self.stop()

    def start(self) -> Self:
        """Listen on 127.0.0.1."""
        self._server.start()
        return self

    def stop(self) -> None:
        """Close the port and every connection, slow answers too."""
        self._server.stop()

    @property
    def url(self) -> str:
        """With the version in its path, as the guide has it."""
        return f"{self.unversioned_url}/v2"

    @property
    def unversioned_url(self) -> str:
        """For who names the version in X-Version."""
        return f"http://127.0.0.1:{self._server.port}/rest"

    @property
    def policy(self) -> Policy:
        """The switches; assign to its fields."""
        return self._pipeline.policy

    @property
    def ledger(self) -> Ledger:
        """Every call so far."""
        return self._pipeline.ledger

    # what Deel knows

    def add_token(self, scopes: Collection[str], organization_id: str | None = None) -> str:
        """Another token of an organisation; an unknown organisation is made."""
        with self._lock:
            return self._world.add_token(organization_id or self.organization_id, scopes)

    def revoke_token(self, token: str) -> None:
        """401 from now on. For tokens of organisations; raises KeyError for others."""
        with self._lock:
            self._world.org_tokens[token].revoked = True

    def restore_token(self, token: str) -> None:
        """The end of `revoke_token`."""
        with self._lock:
            self._world.org_tokens[token].revoked = False

    def has_contract(
        self,
        contract_id: str,
        *,
        email: str | None = None,
        type: str = "eor",  # noqa: A002 - Deel's word
        status: str = "under_review",
        first_name: str = "Ada",
        last_name: str = "Lovelace",
        external_id: str | None = None,
        with_profile: bool = False,
        invited: bool = False,
        visible_after_s: float = 0.0,
        organization_id: str | None = None,
    ) -> None:
        """Let Deel have a contract. Without an `email` it gets one of its own; "": it names none.

        `invited`: the list of contracts names the address too; before a profile is made it does nowhere else.
        `visible_after_s` of Deel's clock it is 404 and in no list. Raises ValueError for an id taken.
        """
        with self._lock:
            now = self.clock.now()
            contract = Contract(
                id=contract_id,
                organization=self._world.organization(organization_id or self.organization_id),
                type=type,
                status=status,
                email=f"{contract_id}@workers.example".lower() if email is None else email,
                first_name=first_name,
                last_name=last_name,
                created_at=now,
                visible_at=now + timedelta(seconds=visible_after_s),
                number=self._world.next_number(),
                external_id=external_id,
                invited=invited,
            )
            self._world.add_contract(contract)
            if with_profile:
                self._world.create_profile(contract)

    def impersonates(self, contract_id: str, email: str) -> None:
        """GET /people/me with this contract's worker token shows another person's e-mail."""
        with self._lock:
            self._world.contracts[contract_id].impersonated_by = email

    # strangers: somebody else who issues tokens

    def supersedes_after_issue(self, contract_id: str, times: int = 1) -> None:
        """A stranger issues a token right behind each of our next `times`: ours is dead on arrival."""
        with self._lock:
            self._world.contracts[contract_id].strangers_coming = times

    def supersede(self, contract_id: str) -> str:
        """A stranger issues a token now, and ours is dead at once. Raises LookupError without a profile."""
        with self._lock:
            life_s = self.policy.token_life_s
            return self._world.issue(self._profile(contract_id), life_s=life_s, lag_s=0.0, ours=False).token

    def changes_agreement(self, contract_id: str) -> str:
        """The agreement gets another version, which is returned: who signs the one before gets a 409."""
        with self._lock:
            desk = self._world.desk(self._profile(contract_id))
            desk.version = str(int(desk.version) + 1)
            return desk.version

    def desk_of(self, contract_id: str) -> Desk:
        """The worker's papers: what was signed and uploaded. Raises LookupError without a profile."""
        with self._lock:
            return self._world.desk(self._profile(contract_id))

    # what it came to

    def live_token(self, contract_id: str) -> str | None:
        """The latest that lives, ours or a stranger's."""
        with self._lock:
            profiles = self._world.contracts[contract_id].profiles
            live = [session for profile in profiles for session in self._world.live_sessions(profile)]
            return live[-1].token if live else None

    def tokens_issued_for(self, contract_id: str) -> int:
        """Over HTTP: neither strangers' nor replays of an Idempotency-Key count."""
        return sum(session.ours for session in self.sessions_of(contract_id))

    @property
    def contracts(self) -> frozenset[str]:
        """The ids of all that Deel has, visible or not."""
        with self._lock:
            return frozenset(self._world.contracts)

    def sessions_of(self, contract_id: str) -> list[Session]:
        """Every token that there ever was for it, strangers' too, oldest first."""
        with self._lock:
            profiles = self._world.contracts[contract_id].profiles
            return [session for profile in profiles for session in self._world.sessions_of(profile)]

    def profiles_of(self, contract_id: str) -> list[str]:
        """HRIS profile ids, oldest first."""
        with self._lock:
            return [profile.hris_profile_id for profile in self._world.contracts[contract_id].profiles]

    # what goes wrong: each for the next `times` calls of a route that pass limiter, token and scope

    def fails(self, route: str, status: int = 500, times: int = 1, contract: str | None = None) -> None:
        """Answer with this status and do nothing."""
        self._script(Kind.STATUS, route, times, contract, status=status)

    def fails_after(self, route: str, status: int = 500, times: int = 1, contract: str | None = None) -> None:
        """Do it, and answer with this status."""
        self._script(Kind.STATUS_AFTER, route, times, contract, status=status)

    def answers_html(self, route: str, times: int = 1, status: int = 502, contract: str | None = None) -> None:
        """Answer with a gateway's page and do nothing."""
        self._script(Kind.HTML, route, times, contract, status=status)

    def truncates(self, route: str, times: int = 1, contract: str | None = None) -> None:
        """Do it, and answer with half of the JSON."""
        self._script(Kind.TRUNCATED, route, times, contract)

    def cuts_connection(
        self, *, before: str | None = None, after: str | None = None, times: int = 1, contract: str | None = None
    ) -> None:
        """Answer nothing: `before` the route's work is done, or `after`. Raises ValueError for both or none."""
        if before is not None and after is None:
            self._script(Kind.CUT_BEFORE, before, times, contract)
        elif after is not None and before is None:
            self._script(Kind.CUT_AFTER, after, times, contract)
        else:
            raise ValueError("before or after, one of them")

    def is_slow(self, route: str, seconds: float, times: int = 1, contract: str | None = None) -> None:
        """Wait, then do it and answer, whether or not the caller is still there."""
        self._script(Kind.SLOW, route, times, contract, seconds=seconds)

    def random_faults(self, share: float = 0.2, kinds: tuple[RandomKind, ...] = RANDOM_KINDS) -> None:
        """Let this share of all calls fail, as the seed says; 0 ends it. Raises ValueError for unknown kinds."""
        with self._lock:
            self._faults.draw(share, kinds)

    # webhooks

    def webhook(
        self,
        event_type: str,
        contract_id: str,
        *,
        label: str = LABEL,
        is_simulation: bool = False,
        as_array: bool = False,
        **overrides: Any,
    ) -> webhooks.Webhook:
        """A signed delivery about a contract, visible or not. `overrides`: see `webhooks.envelope`.

        Raises KeyError for a contract that Deel does not have, and for a label without a key.
        """
        with self._lock:
            contract, now = self._world.contracts[contract_id], self.clock.now()
            envelope = webhooks.envelope(
                event_type, contract, now, overrides, is_simulation=is_simulation, as_array=as_array
            )
        return webhooks.sign(envelope, label, self.signing_keys[label])

    def _respond(self, request: Request) -> Response | None:
        return self._pipeline.respond(request)

    def _script(self, kind: Kind, route: str, times: int, contract_id: str | None, **how: Any) -> None:
        with self._lock:
            self._faults.script(Fault(kind, routes.check(route), times, contract_id, **how))

    def _profile(self, contract_id: str) -> Profile:
        profile = self._world.contracts[contract_id].profile
        if profile is None:
            raise LookupError(f"contract {contract_id} has no profile yet")
        return profile
