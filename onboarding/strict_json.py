"""JSON from strangers, read strictly: what two readers could understand differently is refused."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_DEPTH: Final = 50
"""How many objects and arrays may lie inside one another. Deel's own bodies need eight."""


class NotJson(ValueError):  # noqa: N818 - says what the text is
    """No JSON in UTF-8; or a number that JSON does not know, or that is too long to be one."""


class DuplicateKeys(ValueError):  # noqa: N818
    """An object has one key twice: whoever checked it may have seen the other value."""


class TooDeep(ValueError):  # noqa: N818
    """More than MAX_DEPTH objects and arrays inside one another."""


def parse(body: bytes) -> object:
    """Read one document; a byte order mark before it is allowed, as .NET writes one.

    Raises NotJson, DuplicateKeys, TooDeep. Their texts carry nothing of the body.
    """
    try:
        document = json.loads(body.decode("utf-8-sig"), object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except DuplicateKeys:
        raise
    except RecursionError:
        raise TooDeep from None
    except ValueError:  # UnicodeDecodeError, JSONDecodeError, an integer beyond Python's limit of digits
        raise NotJson from None
    if _deeper_than(MAX_DEPTH, document):
        raise TooDeep
    return document


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise DuplicateKeys
    return found


def _refuse_constant(_name: str) -> NoReturn:
    raise NotJson


def _deeper_than(limit: int, document: object) -> bool:
    """Level by level, as recursion is what a hostile body tries to exhaust."""
    level = _containers([document])
    for _ in range(limit):
        inner = (node.values() if isinstance(node, dict) else node for node in level)
        level = [child for children in inner for child in _containers(children)]
    return bool(level)


def _containers(nodes: Iterable[object]) -> list[dict[str, object] | list[object]]:
    return [node for node in nodes if isinstance(node, dict | list)]
