"""A day of troubles for the canary test: who is hired, what goes wrong, which values may never be seen again."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from kombu import Connection
from sqlalchemy import text

from onboarding.simulator import answers, state
from tasks import topology
from tests.integration.canaries import Canary
from tests.integration.system import ROOT, System
from tests.servers import POSTGRES, empty_broker, empty_store, rabbitmqctl

REASONS = {
    *("token_superseded", "identity_mismatch", "not_eor", "request_rejected", "notify_rejected", "crash_loop"),
}
SABOTAGE = Path(__file__).with_name("sabotage")
QUOTED = f"canary.quoted.{secrets.token_hex(8)}@people.example"  # what Deel's error messages quote


class Troubles:
    """What a system has to endure. `canaries` knows every value that went in."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._people: list[Canary] = [Canary.of("an address in Deel's errors", QUOTED)]
        self._dead = self._ended = 0
        system.environment |= {"PYTHONPATH": f"{SABOTAGE}:{ROOT}", "CANARY_ADDRESS": self._address("careless")}
        system.environment["ONBOARDING_NOTIFY_URLS"] += f"/{secrets.token_hex(16)}"

    def canaries(self) -> list[Canary]:
        """People, tokens, keys and passwords."""
        deel, environment = self._system.deel, self._system.environment
        tokens = [Canary.of("a worker token", token) for token in deel._world.sessions]
        keys = {
            "the organisation's token": deel.org_token,
            "the vault's key": environment["ONBOARDING_VAULT_KEYS"].partition(":")[2],
            "the notifications' key": self._system.secret,
            "the webhooks' key": next(iter(deel.signing_keys.values())),
            "Sentry's key": urlsplit(environment["ONBOARDING_SENTRY_DSN"]).username or "",
            "the target's path": environment["ONBOARDING_NOTIFY_URLS"].rpartition("/")[2],
        }
        for name in ("BROKER_URL", "DATABASE_URL"):
            password = urlsplit(environment[f"ONBOARDING_{name}"].partition(";")[0]).password or ""
            keys |= {f"the password in {name}": password} if len(password) > 12 else {}
        raw = [Canary("the vault's key, raw", base64.b64decode(keys["the vault's key"]))]
        return [*self._people, *tokens, *raw, *(Canary.of(name, value) for name, value in keys.items())]

    def endure(self) -> None:
        """Every trouble but the last, side by side."""
        system, deel = self._system, self._system.deel
        # taken first: by intake's defect, so that it becomes a dead letter and no run
        self._send({"type": "contract.created", "contract_id": "c-buried"})
        self._spoil()
        names = ["plain", "500", "rejected", "html", "truncated", "halfme", "before", "after", "defect", "crash"]
        for name in names:
            self._hire(f"c-{name}")
        self._hire("c-contractor", type="ongoing_time_based")
        self._known("c-superseded")
        deel.supersedes_after_issue("c-superseded")
        self._known("c-stolen")
        deel.supersedes_after_issue("c-stolen", times=9)
        self._known("c-impostor")
        deel.impersonates("c-impostor", self._address("impostor"))
        for name in ("superseded", "stolen", "impostor", "plain"):  # the plain one for the second time
            self._webhook(f"c-{name}")
        self._known("c-unsigned")
        self._send({"type": "contract.created", "contract_id": "c-unsigned", "worker_email": self._address("unsigned")})
        self._garbage()
        self._plant()
        self._ended += len(names) + 5  # the contractor, the superseded, the stolen, the impostor, the unsigned
        system.until(lambda: self._all_ended(), 60, "all of the day ended")

    def lose_the_organisation(self) -> None:
        """Deel refuses the organisation's token."""
        system = self._system
        system.deel.revoke_token(system.deel.org_token)
        self._known("c-paused")
        self._webhook("c-paused")
        system.until(lambda: system.runs().get("c-paused", None), 10, "c-paused is taken")
        system.until(lambda: system.runs()["c-paused"].reason == "org_token_rejected", 20, "the organisation is paused")

    def told(self) -> bool:
        """Whether onboarding.failed was sent for every parked run."""
        return all(row.told == row.parkings for row in self._parked())

    def reported(self, reports: list[dict[str, Any]]) -> bool:
        """Whether Sentry has heard of every parked run."""
        told = {
            report["tags"].get("run_id") for report in reports if report.get("fingerprint", ["none"])[0] == "parked"
        }
        return told >= {row.id for row in self._parked()}

    def _spoil(self) -> None:
        """What Deel and the notifications' target are going to do wrong."""
        deel = self._system.deel
        self._system.sink.answers(500, to="onboarding.completed")
        self._system.sink.answers(410, to="onboarding.completed")
        deel.fails("POST /eor/worker", status=500, contract="c-500")
        deel.fails("POST /eor/worker", status=422, contract="c-rejected")
        deel.answers_html("POST /workers/session", contract="c-html")
        deel.truncates("POST /workers/session", contract="c-truncated")
        deel.truncates("GET /people/me", contract="c-halfme")
        deel.cuts_connection(before="POST /eor/worker", contract="c-before")
        deel.cuts_connection(after="POST /workers/session", contract="c-after")

    def _all_ended(self) -> bool:
        states = self._system.states()
        with self._system.store.engine.connect() as db:
            letters = db.execute(text("SELECT count(*) FROM dead_letters")).scalar_one()
        return states.get("completed", 0) + states.get("failed", 0) == self._ended and letters >= self._dead

    def _parked(self) -> list[Any]:
        with self._system.store.engine.connect() as db:
            return list(db.execute(text("SELECT * FROM runs WHERE state = 'failed'")).all())

    def _garbage(self) -> None:
        """What nobody understands and nobody should write, with addresses in every corner of it."""
        address, token = self._address("garbage"), self._secret("a token in garbage")
        publish = self._system.publish
        publish(f"\xff {address} {token}".encode("latin-1"))
        publish(address.encode(), {"x-who": address}, routing_key=f"person.{address}", message_id=address)
        publish(json.dumps({"on": "a day"}).encode(), content_type=address)
        self._send({"type": "contract.created", "contract_id": address})
        self._send({"type": f"for {address}", "contract_id": "c-1"})
        self._send({"type": "contract.created", "contract_id": "c-1", "organization_id": f"{token}@{address}"})
        self._send({"specversion": "1.0", "type": "contract.created", "subject": address, "source": token, "id": token})
        self._known("c-forged")
        webhook = self._system.deel.webhook("contract.created", "c-forged")
        publish(webhook.body, {**webhook.headers, "x-deel-signature": "f" * 64})
        self._dead += 1 + 8  # the first is the one that intake's defect buried

    def _plant(self) -> None:
        """Past our own code, onto queues that only our own code should write to."""
        address = self._address("planted", planted=True)
        token = self._secret("a planted token", planted=True, like="eyJ")  # unknown to any process: known by its shape
        task = {"lang": "py", "task": "onboarding.no_such_task", "id": secrets.token_hex(8), "argsrepr": address}
        with Connection(self._system.broker_url) as connection:
            put = connection.Producer().publish
            steps = {"exchange": topology.STEPS, "routing_key": topology.STEPS}
            put(f"{address} email={token}".encode(), **steps, content_type="application/json", content_encoding="utf-8")
            put([[address, token], {"email": address}, {}], **steps, serializer="json", headers=task)
            for deaths in ([{"reason": address, "queue": address}], address, None):
                put(address.encode(), exchange=topology.DEAD, routing_key=address, headers={"x-death": deaths})
            # an encoding by which py-amqp can read the body, and nobody write it again
            hris = {"exchange": topology.HRIS_EVENTS, "routing_key": "contract.created"}
            put(b"a" * 70 + f"..{address}".encode(), **hris, content_encoding="idna", content_type="text/plain")
        self._dead += 5

    def _hire(self, contract: str, **facts: Any) -> None:
        self._known(contract, **facts)
        self._webhook(contract)

    def _known(self, contract: str, **facts: Any) -> None:
        """A contract at Deel, whose worker has an address and names of their own."""
        facts |= {name: f"{name.title()}{secrets.token_hex(6)}" for name in ("first_name", "last_name")}
        self._people += [Canary.of(f"the {name} of {contract}", facts[name]) for name in ("first_name", "last_name")]
        self._system.deel.has_contract(contract, email=self._address(contract), **facts)

    def _webhook(self, contract: str) -> None:
        webhook = self._system.deel.webhook("contract.created", contract)
        self._system.publish(webhook.body, dict(webhook.headers))

    def _send(self, document: dict[str, str]) -> None:
        self._system.publish(json.dumps(document).encode())

    def _address(self, of: str, *, planted: bool = False) -> str:
        local = f"canary.{of}.{secrets.token_hex(6)}".lower()
        self._people.append(Canary.of(f"the address of {of}", local, planted=planted))
        return f"{local}@people.example"

    def _secret(self, name: str, *, planted: bool = False, like: str = "") -> str:
        value = like + secrets.token_hex(24)
        self._people.append(Canary.of(name, value, planted=planted))
        return value


@contextmanager
def quoting_deel() -> Iterator[None]:
    """A Deel whose errors quote people, and whose worker tokens have no shape by which to know them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(state, "_worker_token", lambda: f"wt-{secrets.token_hex(60)}")
        patch.setattr(answers, "GATEWAY_PAGE", f"<html><h1>{{status}}</h1><p>{QUOTED}</p></html>")
        for status in (401, 422, 500):
            patch.setitem(answers.MESSAGES, status, f"{QUOTED} may not do that")
        yield


@contextmanager
def credentials(broker_url: str, store_url: str) -> Iterator[tuple[str, str]]:
    """The same broker and store, empty, by users whose passwords would be recognised."""
    empty_store(store_url)
    empty_broker(broker_url)
    with ExitStack() as stack:
        yield stack.enter_context(_broker_user(broker_url)), stack.enter_context(_store_role(store_url))


@contextmanager
def _broker_user(url: str) -> Iterator[str]:
    """Without rabbitmqctl the user stays who it was."""
    user, password = f"canary-{secrets.token_hex(4)}", secrets.token_hex(16)
    if not rabbitmqctl("add_user", user, password):
        yield url
        return
    try:
        assert rabbitmqctl("set_permissions", "-p", urlsplit(url).path.removeprefix("/"), user, ".*", ".*", ".*")
        yield ";".join([_as(url, user, password)] * 2)  # as of a cluster: Celery calls the second one an alternate
    finally:
        rabbitmqctl("delete_user", user)


@contextmanager
def _store_role(url: str) -> Iterator[str]:
    role, password = f"canary_{secrets.token_hex(4)}", secrets.token_hex(16)
    with psycopg.connect(POSTGRES, autocommit=True) as admin:
        admin.execute(f"CREATE ROLE {role} LOGIN SUPERUSER PASSWORD '{password}'")
        try:
            yield _as(url, role, password)
        finally:
            admin.execute(f"DROP ROLE {role}")


def _as(url: str, user: str, password: str) -> str:
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=f"{user}:{password}@{host}").geturl()
