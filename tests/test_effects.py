"""No effect without a fail point on each side of it: where a process can die, a test must be able to kill it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# What reaches the world: Deel, a target, the broker, the store.
EFFECTS = {"send", "publish", "apply_async", "delay", "retry", "ack", "acknowledge", "reject", "begin"}
EFFECTS |= {"handle_request"}  # of httpcore
# Beneath, or above, the place that has the points: each with the place.
ELSEWHERE = {
    "onboarding/transport/http.py: wire.handle_request": "steps.call, upkeep._try",
    "onboarding/transport/http.py: self._pool.handle_request": "steps.call, upkeep._try",
    "onboarding/deel/client.py: self._http.send": "steps.call, access.call",
    "onboarding/transport/apps.py: self._http.send": "an app's own request: what it came to, the app sees",
    "onboarding/self_service.py: deel.get": "as above",
    "onboarding/self_service.py: deel.post": "as above",
    "onboarding/web/proxy.py: deel.request": "as above",
    "onboarding/subscriptions.py: deel.subscriptions": "an engineer's command: typed again, it goes by what is there",
    "onboarding/subscriptions.py: deel.subscribe": "as above",
    "onboarding/subscriptions.py: deel.change_subscription": "as above",
    "onboarding/store/engine.py: engine.begin": "Store.write; reading is no effect",
    "onboarding/store/migrate.py: store.engine.begin": "one transaction: all of the schema or none",
    "onboarding/web/gateway.py: self._publisher.publish": "tasks/producer.py",
    "tasks/chain.py: task.retry": "tasks/producer.py",
    "tasks/publish.py: chain(*links).apply_async": "tasks/producer.py",
    "tasks/publish.py: producer.publish": "tasks/producer.py",
    "tasks/beat.py: self.apply_async": "upkeep takes its turn in the store; a message more or less is nothing",
}


def modules() -> Iterator[Path]:
    for package in ("onboarding", "tasks"):
        for path in sorted((ROOT / package).rglob("*.py")):
            if not {"simulator", "cli", "migrations"} & set(path.relative_to(ROOT).parts):
                yield path


def is_effect(call: ast.Call) -> bool:
    match call.func:
        case ast.Attribute(value=ast.Call(func=ast.Name(id="_deel"))) | ast.Attribute(value=ast.Attribute(attr="deel")):
            return True  # _deel(run, world).anything, client.deel.anything
        case ast.Attribute(value=ast.Name(id="deel")):
            return True  # as given by who knows the organisation
        case ast.Attribute(attr=name):
            return name in EFFECTS
        case _:
            return False


def unguarded(path: Path, text: str) -> Iterator[str]:
    """The effects of a module that have no fail point before and behind them, nor are what `call` is given."""
    for function in ast.walk(ast.parse(text)):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        calls = [node for node in ast.walk(function) if isinstance(node, ast.Call)]
        points = [call.lineno for call in calls if ast.unparse(call.func) == "fail_point"]
        given = {id(node) for call in calls if ast.unparse(call.func) == "call" for node in ast.walk(call)}
        for call in filter(is_effect, calls):
            between = bool(points) and min(points) < call.lineno < max(points)
            if not between and id(call) not in given:
                yield f"{path.relative_to(ROOT)}: {ast.unparse(call.func)}"


def test_every_effect_has_a_point_on_each_side():
    """Or is listed, with the place that has it."""
    found = {each for path in modules() for each in unguarded(path, path.read_text())}
    assert found == set(ELSEWHERE)


@pytest.mark.parametrize(
    ("path", "old", "new"),
    [
        (
            "onboarding/steps.py",
            "call(run.step, lambda: _deel(run, world).create_worker(",
            "(lambda _: _deel(run, world).create_worker(",
        ),
        ("onboarding/issuing.py", 'call("access", lambda: deel.me(', "(lambda: deel.me("),
        ("onboarding/upkeep.py", '    fail_point("upkeep.calling")\n', ""),
        ("tasks/intake.py", '    fail_point("intake_ack.after")\n', ""),
        ("tasks/producer.py", 'fail_point("publish.before")', "pass"),
        ("tasks/request.py", 'fail_point("task_ack.after")', "pass"),
    ],
)
def test_one_that_loses_its_point_is_seen(path: str, old: str, new: str):
    """The check can fail: it does, for each kind of effect."""
    text = (ROOT / path).read_text()
    assert old in text
    assert set(unguarded(ROOT / path, text.replace(old, new, 1))) - set(ELSEWHERE)
