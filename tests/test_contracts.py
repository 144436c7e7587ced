"""The published contracts, docs/asyncapi.yaml and docs/*.openapi.yaml, say what the code does."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from http import HTTPStatus
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from kombu import Exchange

from onboarding import __version__, notify
from onboarding.events import Consented, Dead, Event, read
from onboarding.signatures import DEEL
from onboarding.web.allowed import ALLOWED
from onboarding.web.gateway import Gateway
from onboarding.web.tokens import TokenService
from onboarding.webhook_sources import DEELS_NAME, PROFILES
from tasks import topology
from tests.onboarding.conftest import onboard  # noqa: F401 - a fixture
from tests.onboarding.hris_messages import CLOUD_EVENT, KEYS, PLAIN, STRUCTURED, WEBHOOK, message, signed, webhook
from tests.onboarding.web.conftest import SIGNED, TOKEN, Desk, Door, desk, door, served, served_tokens  # noqa: F401 - fixtures
from tests.openapi import Draft202012Validator  # it imports jsonschema without the grammars, which cost seconds

DOCS = Path(__file__).parents[1] / "docs"
WEB = Path(__file__).parents[1] / "onboarding" / "web"
FILES = ("asyncapi.yaml", "gateway.openapi.yaml", "tokens.openapi.yaml")


@cache
def file(name: str) -> Any:
    return yaml.safe_load((DOCS / name).read_text())


def at(document: Any, pointer: str) -> Any:
    for part in pointer.removeprefix("#/").split("/"):
        document = document[part]
    return document


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        node = list(node.values())
    if isinstance(node, list):
        for each in node:
            yield from references(each)


def fits(name: str, schema: str, value: object) -> bool:
    """Whether a value is what a file's schema says. Its references are to places of its own file."""
    whole = {**file(name), "$ref": f"#/components/schemas/{schema}"}
    return bool(Draft202012Validator(whole).is_valid(value))


@pytest.mark.parametrize("name", FILES)
def test_the_files_hold_together(name: str):
    """Every reference leads somewhere, every schema is one, and the version is ours."""
    document = file(name)
    for reference in references(document):
        assert at(document, reference) is not None, reference
    for schema in document["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)
    assert document["info"]["version"] == __version__


def test_the_brokers_names_are_the_codes():
    """Each exchange and queue, of its kind."""
    bindings = {name: channel["bindings"]["amqp"] for name, channel in file(FILES[0])["channels"].items()}
    exchanges = {one["exchange"]["name"]: one["exchange"] for one in bindings.values() if "exchange" in one}
    ours: list[Exchange] = [topology.HRIS_EVENTS, topology.OUTGOING]
    assert set(exchanges) == {exchange.name for exchange in ours}
    for exchange in ours:
        said = exchanges[exchange.name]
        assert (said["type"], said["durable"], said["autoDelete"]) == (exchange.type, exchange.durable, False)
    queues = {one["queue"]["name"] for one in bindings.values() if "queue" in one}
    assert queues == {topology.INTAKE_QUEUE.name, topology.DEAD_QUEUE.name}
    assert (topology.INTAKE_QUEUE.exchange, topology.INTAKE_QUEUE.routing_key) == (topology.HRIS_EVENTS, "#")
    assert topology.DEAD_EXCHANGE.name == topology.DEAD_QUEUE.name
    headers = set(file(FILES[0])["components"]["schemas"]["deelHeaders"]["properties"])
    assert headers == {DEEL.header, DEEL.label_header}


CONSENT = {"type": "worker.consent.given", "contract_id": "c-1", "evidence": "DOC-1", "version": "terms-3"}
SHAPES = {"deelWebhook": WEBHOOK, "cloudEvent": CLOUD_EVENT, "plain": PLAIN, "consent": CONSENT}
KINDS = ["contract.created", "contract.terminated", "worker.consent.given", "worker.consent.withdrawn"]


@pytest.mark.parametrize("shape", SHAPES)
def test_each_example_is_taken_in(shape: str):
    """And is what its own schema says; so is what the tests of intake are full of."""
    told = file(FILES[0])["components"]["messages"][shape]
    examples = [each["payload"] for each in told["examples"]]
    for payload in [*examples, SHAPES[shape]]:
        assert fits(FILES[0], shape, payload), payload
        (answer,) = read(message(payload), KEYS)
        assert isinstance(answer, Consented if shape == "consent" else Event), answer


ODD: list[Any] = [None, "", "no id", "ada@example.com", ".", "x" * 129, True, 1.5, {}, [], "c-1", 17]


@pytest.mark.parametrize("shape", SHAPES)
@given(data=st.data())
def test_what_the_schema_admits_is_never_dead(shape: str, data: st.DataObject):
    """Whatever ids and types it holds: what a producer may send by the file, intake understands."""
    odd = st.sampled_from(ODD)
    contract, organization, kind = data.draw(odd), data.draw(odd), data.draw(odd | st.sampled_from(KINDS))
    named = {"contract_id": contract, "organization_id": organization}
    document: Any = {
        "plain": {"type": kind, **named},
        "cloudEvent": {**CLOUD_EVENT, "type": kind, "data": named},
        "consent": {"type": kind, **named, "evidence": data.draw(odd), "version": data.draw(odd)},
        "deelWebhook": webhook(
            meta={"event_type": kind, "organization_id": organization}, resource={"contract_id": contract}
        ),
    }[shape]
    if fits(FILES[0], shape, document):
        for answer in read(message(document), KEYS):
            assert not isinstance(answer, Dead), (document, answer)


@pytest.mark.parametrize(
    ("shape", "document"),
    [
        ("plain", {"type": "contract.created"}),
        ("plain", {"type": "contract.created", "contract_id": "no id"}),
        ("plain", {**PLAIN, "organization_id": "no id"}),
        ("consent", {name: value for name, value in CONSENT.items() if name != "evidence"}),
        ("plain", {"type": "worker.consent.given", "contract_id": "c-1"}),
        ("cloudEvent", {**CLOUD_EVENT, "type": "worker.consent.given"}),
        ("cloudEvent", {**CLOUD_EVENT, "specversion": "0.3"}),
        ("cloudEvent", {**CLOUD_EVENT, "data": {}}),
        ("deelWebhook", {"data": {"meta": {"event_type": "contract.created"}, "resource": {}}}),
        ("deelWebhook", {"data": {"meta": {"event_type": "contract.created"}, "resource": [{"id": "a b"}]}}),
    ],
)
def test_what_is_dead_does_not_fit(shape: str, document: Any):
    """The file does not promise what intake refuses."""
    assert all(isinstance(answer, Dead) for answer in read(message(document), KEYS))
    assert not fits(FILES[0], shape, document)


def test_a_cloud_event_of_the_binary_form_has_the_prefix_that_the_file_names():
    """`cloudEvents:` before each attribute."""
    assert "cloudEvents:" in file(FILES[0])["components"]["messages"]["cloudEvent"]["summary"]
    headers = {f"cloudEvents:{name}": value for name, value in CLOUD_EVENT.items() if name != "data"}
    (answer,) = read(message(CLOUD_EVENT["data"], headers=headers), KEYS)
    assert isinstance(answer, Event)
    (structured,) = read(message(CLOUD_EVENT, content_type=STRUCTURED), KEYS)
    assert isinstance(structured, Event)


@pytest.mark.parametrize(("kind", "make"), [("completed", notify.completed), ("failed", notify.failed)])
def test_what_goes_out_is_what_the_file_says(kind: str, make: Any):
    """Each field, and no other; the routing keys are the two types."""
    now = datetime.now(UTC)
    run = SimpleNamespace(
        id="r-1", organization_id="o-1", contract_id="c-1", hris_profile_id="p-1", token_expires_at=now,
        reason="crash_loop", step="notify", parkings=1,
    )  # fmt: skip
    sent = json.loads(make(run, now).body())
    assert fits(FILES[0], kind, sent), sent
    assert not fits(FILES[0], kind, {**sent, "token": "x"})
    assert not fits(FILES[0], kind, {**sent, "data": {**sent["data"], "worker_token": "x"}})
    keys = file(FILES[0])["channels"]["onboardingEvents"]["parameters"]["outcome"]["enum"]
    assert keys == [notify.COMPLETED, notify.FAILED]


def tree(module: str) -> ast.Module:
    return ast.parse((WEB / f"{module}.py").read_text())


def statuses_in(*modules: str) -> set[int]:
    nodes = [node for name in modules for node in ast.walk(tree(name)) if isinstance(node, ast.Attribute)]
    return {getattr(HTTPStatus, node.attr).value for node in nodes if ast.unparse(node.value) == "HTTPStatus"}


def test_every_status_that_the_gateway_gives_is_told():
    """No other, and none that it never gives: read out of its code."""
    # starlette's: what went well, a path or method that is not there, and what nobody foresaw
    told = {int(status) for status in file(FILES[1])["paths"]["/webhooks/{source}"]["post"]["responses"]}
    assert told == statuses_in("gateway", "requests", "protocol") | {200, 404, 405, 500}


TOKEN_PARTS = ("tokens", "holders", "proxy", "troubles", "requests")


def test_every_status_and_word_of_the_token_service_is_told():
    """No other, and none that it never gives: read out of its code."""
    paths = file(FILES[2])["paths"]
    operations = [path[method] for path in paths.values() for method in ("get", "post") if method in path]
    told = {int(status) for operation in operations for status in operation["responses"]}
    named = statuses_in(*TOKEN_PARTS, "protocol") - {HTTPStatus.MULTIPLE_CHOICES}
    assert told == named | {200, 201, 204, 405}  # beside what goes well, Deel's own
    error = set(file(FILES[2])["components"]["schemas"]["Error"]["properties"]["error"]["enum"])
    only_logged = {"no_key", "unknown_key", "revoked_key", "contract_of_another_organisation", "allow"}
    assert error == refusals_in(*TOKEN_PARTS) - only_logged | {"unauthorized", "not_found", "method_not_allowed"}


def refusals_in(*modules: str) -> set[str]:
    """The words that refusals are made with."""
    makers = ("Refused", "NoEntry", "_later", "__init__")
    calls = [call for name in modules for call in ast.walk(tree(name)) if isinstance(call, ast.Call)]
    made = [call for call in calls if ast.unparse(call.func).rpartition(".")[2] in makers]
    words = [node.value for call in made for node in ast.walk(call) if isinstance(node, ast.Constant)]
    return {word for word in words if isinstance(word, str) and word.isidentifier() and word.islower()}


def test_the_token_services_paths_and_calls_are_told():
    """With their methods; the list of calls is the code's."""
    paths = file(FILES[2])["paths"]
    (mount,) = TokenService(SimpleNamespace(store=None)).routes()  # type: ignore[arg-type]
    routes = {f"{mount.path}{route.path}".replace(":path}", "}"): route.methods for route in mount.routes}  # type: ignore[attr-defined]
    assert set(routes) == set(paths)
    assert routes["/v1/workers/{contract_id}/token"] == {"POST"}
    proxied = paths["/v1/workers/{contract_id}/deel/{path}"]
    assert tuple(proxied["x-allowed"]) == ALLOWED
    assert {method.upper() for method in proxied if method in ("get", "post")} == {line.split()[0] for line in ALLOWED}


def test_a_tokens_answers_are_what_the_file_says(desk: Desk):  # noqa: F811 - the fixture
    """Good and bad ones, each against its schema."""
    key = desk.key()
    assert fits(FILES[2], "Token", desk.ask(key)[1])
    for shown, path, status in ((key, TOKEN.replace("c-1", "c-9"), 404), ("", TOKEN, 401), (key, "/v1/x", 404)):
        answer = desk.ask(shown, path)
        assert (answer[0], fits(FILES[2], "Error", answer[1])) == (status, True)
    for body, good in ((b'{"because": "x"}', True), (b'{"because": ""}', False), (b'{"who": "x"}', False)):
        assert fits(FILES[2], "Ask", json.loads(body)) is good
        assert (desk.ask(key, body=body)[0] == 200) is good


def test_the_gateways_paths_are_told():
    """With their methods."""
    told = {(path, method.upper()) for path, methods in file(FILES[1])["paths"].items() for method in methods}
    routes = Gateway((), SimpleNamespace(ready=True)).app().routes  # type: ignore[arg-type]
    assert {(route.path, method) for route in routes for method in route.methods - {"HEAD"}} == told  # type: ignore[attr-defined]


def test_every_profile_is_told():
    """By its header."""
    told = {name: scheme["name"] for name, scheme in file(FILES[1])["components"]["securitySchemes"].items()}
    schemes = {DEELS_NAME: DEEL, **{name: profile.scheme for name, profile in PROFILES.items()}}
    told.pop("hmac")  # the settings name its header
    assert told == {name: scheme.header for name, scheme in schemes.items() if name != "hmac"}


def test_answers_are_what_the_file_says(door: Door):  # noqa: F811 - the fixture
    """Good and bad ones, each against its schema."""
    genuine = signed(WEBHOOK)
    queued = door.ask("POST", "/webhooks/deel", genuine.body, {k: str(v) for k, v in genuine.headers.items()})
    assert queued[0] == 200
    assert fits(FILES[1], "Queued", queued[1])
    for path, headers, status in (("deel", {}, 401), ("none", {}, 404), ("deel", {"content-encoding": "x"}, 415)):
        answer = door.ask("POST", f"/webhooks/{path}", b"{}", headers)
        assert answer[0] == status
        assert fits(FILES[1], "Error", answer[1])
    door.publisher.away = True
    status, body, headers = door.ask("POST", "/webhooks/deel", genuine.body, SIGNED | dict(genuine.headers))  # type: ignore[arg-type]
    assert (status, fits(FILES[1], "Error", body), int(headers["retry-after"]) > 0) == (503, True, True)
    for path, status in (("/healthz", 200), ("/readyz", 503)):
        answer = door.ask("GET", path)
        assert (answer[0], fits(FILES[1], "Health", answer[1])) == (status, True)
