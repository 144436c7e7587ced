"""What a dead letter looks like without what it says: its structure, and the few values that are no person's."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from onboarding.shapes import MASK, mask_shapes

MAX_LINES: Final = 60
_WORD: Final = re.compile(r"[A-Za-z0-9._:/+~-]{1,80}")  # an id, a type, a time: no blank, as in a name
_MAGIC: Final = 4  # first characters of a body: enough to tell JSON from XML, gzip or a form
_SHOWN: Final = frozenset(
    {
        *("type", "event_type", "id", "event_id", "contract_id", "contract_oid", "organization_id", "is_simulation"),
        *("specversion", "source", "subject", "time", "timestamp", "datacontenttype", "status", "resource_type"),
        *("content-type", "content-encoding", "x-deel-hmac-label"),
    }
)


def outline_of(body: bytes) -> dict[str, str]:
    """Path -> what lies there. For what is no JSON, how it begins."""
    try:
        lines = dict(_walk(json.loads(body), "", shown=False))
    except (ValueError, RecursionError):
        return {"": f"no JSON, or nested too deep; it begins with {body[:_MAGIC]!r}"}
    outline = dict(list(lines.items())[:MAX_LINES])
    return {**outline, "...": f"{len(lines) - MAX_LINES} more"} if len(lines) > MAX_LINES else outline


def outline_of_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """CloudEvents' attributes carry their prefix."""
    return {
        name: mask_shapes(value) if _is_shown(name) else _said(value, shown=False) for name, value in headers.items()
    }


def _walk(node: Any, path: str, *, shown: bool) -> Iterator[tuple[str, str]]:
    match node:
        case dict() if node:
            for name, value in node.items():
                key = name if _harmless(name) else MASK
                yield from _walk(value, f"{path}.{key}" if path else key, shown=_is_shown(name))
        case list() if node:
            for place, value in enumerate(node):
                yield from _walk(value, f"{path}[{place}]", shown=shown)
        case _:
            yield path, _said(node, shown=shown)


def _is_shown(name: str) -> bool:
    return name.lower().replace("cloudevents_", "cloudevents:").removeprefix("cloudevents:") in _SHOWN


def _harmless(text: str) -> bool:
    return _WORD.fullmatch(text) is not None and mask_shapes(text) == text


def _said(value: Any, *, shown: bool) -> str:
    match value:
        case None | bool():
            return json.dumps(value)
        case dict() | list():
            return "empty"
        case "":
            return "an empty text"
        case str() if shown and _harmless(value):
            return value
        case str():
            return f"a text of {len(value)}"
        case _:
            return str(value) if shown else "a number"
