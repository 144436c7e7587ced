"""Deel's own OpenAPI files as a judge: what goes over the wire is compared with what Deel publishes.

A field that Deel's file does not name fails too: an invented field, or a misspelt one, must not pass
merely because so little in those files is marked as required.

What Deel's files get wrong: most fields of an answer and every request body are optional in them, no 429 is listed for our calls, `Idempotency-Key` is not declared, an empty 204 is typed as a JSON object, the session's field is `profile_id` where the guide says `hris_profile_id`, POST /eor/worker answers 201 where the guide says 200, and two component names hold a space, which strict validators refuse.
"""  # noqa: E501 - that is to be one line

from __future__ import annotations

import json
import os
import re
import sys
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest
import yaml

sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type] # iri alone needs it; its grammars cost 5 s
from jsonschema import Draft202012Validator, FormatChecker  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / os.environ.get("DEEL_OPENAPI", "../shared/reference/openapi")
FILES = ("workersession", "eorworkeraccounts", "people", "contracts", "organizations")
FILES += ("eorworkeragreements", "eorworkercompliance", "eorworkerdocuments", "eorworkerpayslips", "eorpayslips")
SPECS_PRESENT: bool = all((FOLDER / f"deel-subpackage-{name}-api-openapi.yml").is_file() for name in FILES)


def validate_response(method: str, path_template: str, status: int, body: object) -> None:
    """Fail unless `body` (parsed JSON; None for an empty one) is what Deel documents for this answer.

    Skips where Deel's files are absent, but fails there under CI=true. A status that Deel does not
    document for the call fails as well.
    """
    name, operation = _operation(method, path_template)
    answers = operation["responses"]
    if str(status) not in answers:
        pytest.fail(f"Deel documents no {status} for {method} {path_template}, only {', '.join(answers)}")
    if status == 204 and body is None:
        return  # Deel types its empty 204 as a JSON object; HTTP allows a 204 no body at all.
    _check(name, answers[str(status)]["content"]["application/json"]["schema"], body)


def validate_request(method: str, path_template: str, body: object) -> None:
    """Fail unless Deel documents `body` (parsed JSON; None for none) as a body of this call.

    Skips where Deel's files are absent, but fails there under CI=true.
    """
    name, operation = _operation(method, path_template)
    if "requestBody" not in operation:
        assert body is None, f"Deel documents no body for {method} {path_template}"
        return
    _check(name, operation["requestBody"]["content"]["application/json"]["schema"], body)


def validate_target(method: str, path_template: str, target: str) -> None:
    """Fail unless Deel documents each parameter in `target`: the ids in its path, the names and values in its query.

    Skips where Deel's files are absent, but fails there under CI=true.
    """
    name, operation = _operation(method, path_template)
    parts = urlsplit(target)
    pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", path_template)
    ids = re.fullmatch(pattern, parts.path)
    assert ids, f"{parts.path} is no {path_template}"
    documented = {(each["in"], each["name"]): each["schema"] for each in operation["parameters"]}
    given = [("path", key, unquote(value)) for key, value in ids.groupdict().items()]
    given += [("query", key, value) for key, value in parse_qsl(parts.query, keep_blank_values=True)]
    for place, key, value in given:
        assert (place, key) in documented, f"Deel documents no {key} in the {place} of {method} {path_template}"
        schema = documented[place, key]
        each = schema["items"] if schema.get("type") == "array" else schema  # a list's name comes once for each value
        _check(name, each, _as_typed(value, each))


def _as_typed(text: str, schema: dict[str, Any]) -> object:
    """A parameter's text as the JSON that its schema is about; as it is where it is not of that type."""
    if schema.get("type") in ("integer", "number", "boolean"):
        try:
            return json.loads(text)
        except ValueError:
            return text
    return text


def require_specs() -> None:
    """Skip the test where Deel's files are absent; under CI=true that is a failure."""
    if SPECS_PRESENT:
        return
    message = f"Deel's OpenAPI files are not in {FOLDER} (set DEEL_OPENAPI)"
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)


def _operation(method: str, path_template: str) -> tuple[str, dict[str, Any]]:
    require_specs()
    for name in FILES:
        for path, operations in _spec(name)["paths"].items():
            if _unnamed(path) == _unnamed(path_template) and method.lower() in operations:
                return name, operations[method.lower()]
    pytest.fail(f"Deel documents no {method} {path_template}")


def _unnamed(path: str) -> str:
    """A path without the names of its parameters, which differ from page to page of Deel's."""
    return re.sub(r"\{[^}]*\}", "{}", path)


def _check(name: str, schema: dict[str, Any], body: object) -> None:
    within = {**schema, "components": _spec(name)["components"]}  # where its "#/components/..." leads
    validator = Draft202012Validator(within, format_checker=FormatChecker())
    faults = [f"{fault.json_path}: {fault.message}" for fault in validator.iter_errors(body)]
    assert not faults, "\n".join(faults)


@cache
def _spec(name: str) -> dict[str, Any]:
    text = (FOLDER / f"deel-subpackage-{name}-api-openapi.yml").read_text(encoding="utf-8")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's, where built: ten times as quick
    loaded: dict[str, Any] = yaml.load(text, loader)
    _close(loaded)
    return loaded


def _close(node: object) -> None:
    """Let every object schema refuse fields that it does not name."""
    if isinstance(node, dict):
        for child in node.values():
            _close(child)
        if isinstance(node.get("properties"), dict) and node.get("type") == "object":
            node.setdefault("additionalProperties", False)
    elif isinstance(node, list):
        for child in node:
            _close(child)
