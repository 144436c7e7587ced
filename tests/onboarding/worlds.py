"""A world for tests: real store, real client, simulated Deel, a driver that plays broker and worker."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from pydantic import SecretStr
from sqlalchemy import case, null, update

from onboarding import notify
from onboarding.events import Message
from onboarding.intake import Intake
from onboarding.perform import Again, Anew, Onward, Order, perform
from onboarding.runs import ACTIVE, STEPS, Backoff, Step
from onboarding.settings import Settings
from onboarding.simulator import Simulator, Sink
from onboarding.store import runs, tokens
from onboarding.store.engine import Store
from onboarding.store.sql import from_now
from onboarding.store.tables import organizations
from onboarding.store.tables import runs as runs_table
from onboarding.world import World, build
from tests.onboarding.store.rows import take_due


class Death(BaseException):
    """The process died here: nothing of ours may catch it."""


def die() -> None:
    """For a fail point."""
    raise Death


class Driver:
    """Delivers messages to the steps as a broker would, and moves the clock so that nobody waits."""

    def __init__(self, world: World, deel: Simulator, sink: Sink, published: list[notify.Notification]) -> None:
        self.world, self.deel, self.sink, self.published = world, deel, sink, published
        self.sent: list[tuple[bytes, dict[str, str]]] = []
        self.intake = Intake(
            world.store,
            world.keyring,
            {label: SecretStr(key) for label, key in deel.signing_keys.items()},
            world.line,
        )

    @property
    def store(self) -> Store:
        return self.world.store

    def hire(self, contract: str = "c-1", *, signed: bool = True, **facts: Any) -> str:
        """A contract at Deel, its webhook taken in; returns the run's id."""
        self.deel.has_contract(contract, **{"email": f"{contract}@example.com", **facts})
        webhook = self.deel.webhook("contract.created", contract)
        headers = dict(webhook.headers) if signed else {}
        self.sent.append((webhook.body, headers))
        self.intake.accept(Message(webhook.body, headers, "contract.created"))
        return self.run(contract).id

    def plain(self, contract: str, **fields: str) -> None:
        """An unsigned event, whose facts have to be fetched."""
        body = json.dumps({"type": "contract.created", "contract_id": contract, **fields}).encode()
        self.intake.accept(Message(body, {}, "contract.created"))

    def probe_is_due(self) -> None:
        self.store.write(lambda db: db.execute(update(organizations).values(probe_at=from_now(-1))))

    def deliver(self, contract: str, step: Step, *, redelivered: bool = False) -> Order:
        """One message."""
        return perform(self.world, self.run(contract).id, step, redelivered=redelivered)

    def carry(self, contract: str = "c-1", *, rounds: int = 60) -> str:
        """Play broker until the run ends or rests: follow every order, without its waits. Returns the state."""
        step: Step | None = Step(self.run(contract).step)
        for _ in range(rounds):
            if step is None or self.run(contract).state not in ACTIVE:
                break
            match self.deliver(contract, step):
                case Onward():
                    step = step.following
                case Again():
                    self.pass_time()
                case Anew(back_to):
                    step = back_to
                case _:
                    break
        return str(self.run(contract).state)

    def recover(self, contract: str = "c-1") -> str:
        """After a death: the lease runs out, the reconciler sends the message anew."""
        for _ in range(8):
            self.pass_time()
            if not take_due(self.store):
                break
            self.carry(contract)
        return str(self.run(contract).state)

    def pass_time(self) -> None:
        """Leases run out and waits are over."""
        due = case((runs_table.c.nudge_at.is_not(None), from_now(-1)), else_=null())  # who waits for an act still does
        past = {"lease_until": from_now(-1), "next_attempt_at": None, "nudge_at": due}
        active = runs_table.c.state.in_(ACTIVE)
        self.store.write(lambda db: db.execute(update(runs_table).where(active).values(**past)))

    def run(self, contract: str = "c-1") -> Any:
        return self.store.read(lambda db: runs.find(db, contract))

    def timeline(self, contract: str = "c-1") -> list[tuple[str, str | None, str | None]]:
        rows = self.store.read(lambda db: runs.timeline(db, self.run(contract).id))
        return [(row.step, row.outcome, row.reason) for row in rows]

    def outcomes(self, step: Step, contract: str = "c-1") -> list[str | None]:
        return [outcome for at, outcome, _ in self.timeline(contract) if at == step]

    def vault_token(self, contract: str = "c-1") -> str | None:
        row = self.run(contract)
        live = self.store.read(lambda db: tokens.live(db, self.world.keyring, row.hris_profile_id))
        return live.token.get_secret_value() if live else None

    def as_promised(self, contract: str = "c-1") -> None:
        """The invariants of a completed run."""
        row = self.run(contract)
        assert row.state == "completed", (row.state, row.reason, self.timeline(contract))
        assert {step for step, outcome, _ in self.timeline(contract) if outcome == "done"} == set(STEPS)
        assert len(self.deel.profiles_of(contract)) == 1
        assert self.vault_token(contract) == self.deel.live_token(contract) is not None
        told = [one for one in self.sink.unique() if one.body["data"]["contract_id"] == contract]
        assert [one.body["type"] for one in told] == ["onboarding.completed"]
        assert all(one.verified for one in told)
        published = {one.id for one in self.published if one.data["contract_id"] == contract}
        assert published == {told[0].id}


@contextmanager
def driver(store_url: str, *, publish: Callable[[notify.Notification], None] | None = None) -> Iterator[Driver]:
    """A driver on a store, with a Deel of its own."""
    secret = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
    published: list[notify.Notification] = []
    with Simulator(rate=None) as deel, Sink(secret=secret) as sink:
        deel.policy.session_fields = ("hris_profile_id", "profile_id")
        settings = Settings(
            database_url=SecretStr(store_url),
            deel_url=deel.url,
            deel_token=SecretStr(deel.org_token),
            deel_rate=1000,
            vault_keys=SecretStr("k1:" + "A" * 43 + "="),
            notify_urls=(SecretStr(sink.url),),
            notify_secret=SecretStr(secret),
            notify_allow_private=True,
        )
        world = build(settings, publish or published.append)
        world = replace(world, backoff=Backoff(base_s=0.01))
        try:
            yield Driver(world, deel, sink, published)
        finally:
            world.close()
