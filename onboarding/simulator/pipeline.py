"""The order in which Deel looks at a call: limit, token, scope, fault, idempotency, then the work.

All state lies behind one lock; a slow call waits outside of it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING

from onboarding.simulator import answers, routes
from onboarding.simulator.faults import Faults, Kind
from onboarding.simulator.idempotency import (
    MAX_LENGTH,
    METHODS,
    TWIN_RETRY_AFTER_S,
    First,
    IdempotencyKeys,
    InProgress,
)
from onboarding.simulator.ledger import Call, Ledger
from onboarding.simulator.limiter import Limiter
from onboarding.simulator.policy import Policy
from onboarding.simulator.server import Response
from onboarding.simulator.state import WORKER_SCOPES, World
from onboarding.simulator.visit import Answer, Caller, Refused, Visit

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from onboarding.simulator.server import Request

CUT = Answer(0)
"""No answer at all."""


@dataclass
class Pipeline:
    """`wait_s` waits so many seconds and says whether the server is being stopped meanwhile."""

    world: World
    policy: Policy
    limiter: Limiter
    faults: Faults
    lock: threading.RLock
    wait_s: Callable[[float], bool]
    ledger: Ledger = field(default_factory=Ledger)
    keys: IdempotencyKeys = field(default_factory=IdempotencyKeys)

    def respond(self, request: Request) -> Response | None:
        """None cuts the connection."""
        with self.lock:
            visit = self._receive(request)
            answer = self._admit(visit)
        if answer is None:
            stopped = visit.suffers(Kind.SLOW) and self.wait_s(visit.fault.seconds if visit.fault else 0.0)
            with self.lock:
                answer = self._perform(visit, stopped=stopped)
        if visit.suffers(Kind.CUT_AFTER):
            answer = CUT
        with self.lock:
            self._record(visit, answer.status)
        return _on_the_wire(visit, answer)

    def _receive(self, request: Request) -> Visit:
        route, parameters = routes.find(request.method, request.path)
        key = request.headers.get("idempotency-key")
        return Visit(request, route, parameters, self._caller(request), key=key)

    def _caller(self, request: Request) -> Caller:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return Caller("none")
        if org := self.world.org_tokens.get(token):
            return Caller("org", org.organization, scopes=org.scopes, alive=not org.revoked)
        if session := self.world.sessions.get(token):
            alive = session.lives(self.world.clock.now())
            organization = session.profile.contract.organization
            return Caller("worker", organization, session, scopes=WORKER_SCOPES, alive=alive)
        return Caller("none")

    def _admit(self, visit: Visit) -> Answer | None:
        """None: the work may begin."""
        if not self._within_limit(visit):
            return answers.rate_limited(self.policy.retry_after_s)
        if visit.route is None:
            return answers.path_not_found()
        try:
            routes.authorise(visit.route, visit.caller, self.policy)
            routes.check_version(visit.request.headers.get("x-version"))
        except Refused as refused:
            return answers.error(visit, refused.status, refused.message)
        contract_id, _ = visit.route.concerns(self.world, visit)
        visit.fault = self.faults.take(visit.route.name, contract_id)
        return self._fails(visit) or self._begin(visit)

    def _within_limit(self, visit: Visit) -> bool:
        """A token that Deel never knew counts against nobody."""
        visit.at = visit.request.arrived
        organization = visit.caller.organization
        if organization is None or not (visit.caller.alive or self.policy.auth_failures_count):
            return True
        counts = self.policy.refused_calls_count
        admitted, visit.at = self.limiter.admit(organization.id, visit.at, refused_count=counts)
        visit.refused, visit.counted = not admitted, admitted or counts
        return admitted

    def _fails(self, visit: Visit) -> Answer | None:
        """The faults that keep Deel from doing anything."""
        match visit.fault:
            case None:
                return None
            case fault if fault.kind is Kind.CUT_BEFORE:
                return CUT
            case fault if fault.kind is Kind.HTML:
                return answers.gateway_page(fault.status)
            case fault if fault.kind is Kind.STATUS and fault.status == HTTPStatus.TOO_MANY_REQUESTS:
                return answers.rate_limited(self.policy.retry_after_s)
            case fault if fault.kind is Kind.STATUS and fault.status == HTTPStatus.SERVICE_UNAVAILABLE:
                return answers.unavailable(visit, self.policy.retry_after_s)
            case fault if fault.kind is Kind.STATUS:
                return answers.error(visit, fault.status)
            case _:
                return None

    def _begin(self, visit: Visit) -> Answer | None:
        """The answer that the call's Idempotency-Key got before, if it has one."""
        key = visit.key
        if key is None or visit.request.method not in METHODS or not self.policy.idempotency:
            return None
        if len(key) > MAX_LENGTH:
            return answers.error(visit, 400, f"Idempotency-Key is longer than {MAX_LENGTH} characters")
        match self.keys.begin(visit.organization.id, key, self.world.clock.now()):
            case InProgress():
                return answers.twin_in_progress(TWIN_RETRY_AFTER_S)
            case First() as first:
                visit.replayed = True
                headers = {**first.answer.headers, "x-original-request-id": first.request_id}
                return Answer(first.answer.status, first.answer.body, headers)
            case None:
                visit.holds_key = True
        return None

    def _perform(self, visit: Visit, *, stopped: bool) -> Answer:
        """The work itself, and what its Idempotency-Key keeps of it: a success only."""
        answer = CUT if stopped else self._work(visit)
        if visit.fault is not None and visit.fault.kind is Kind.STATUS_AFTER:
            answer = answers.error(visit, visit.fault.status)
        if visit.holds_key and visit.key is not None:
            succeeded = HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES
            first = First(answer, visit.request_id, self.world.clock.now()) if succeeded else None
            self.keys.finish(visit.organization.id, visit.key, first)
        return answer

    def _work(self, visit: Visit) -> Answer:
        assert visit.route is not None
        try:
            return visit.route.answer(self.world, self.policy, visit)
        except Refused as refused:
            return answers.error(visit, refused.status, refused.message, refused.path)

    def _record(self, visit: Visit, status: int) -> None:
        caller, route = visit.caller, visit.route
        concerns = route.concerns(self.world, visit) if route else (None, None)
        self.ledger.record(
            Call(
                at_monotonic=visit.at,
                at=self.world.clock.now(),
                method=visit.request.method,
                route=route.name if route else "",
                path=visit.request.path,
                status=status,
                organization_id=caller.organization.id if caller.organization else None,
                contract_id=concerns[0],
                profile_id=concerns[1],
                idempotency_key=visit.key,
                token_kind=caller.kind,
                counted=visit.counted,
                refused=visit.refused,
                replayed=visit.replayed,
                fault=str(visit.fault) if visit.fault else None,
                request_id=visit.request_id,
            )
        )


def _on_the_wire(visit: Visit, answer: Answer) -> Response | None:
    if answer is CUT:
        return None
    if answer.page is not None:
        return Response(answer.status, answer.page.encode(), answer.headers, "text/html")
    body = b"" if answer.body is None else json.dumps(answer.body).encode()
    if visit.suffers(Kind.TRUNCATED):
        body = body[: len(body) // 2]
    return Response(answer.status, body, answer.headers)
