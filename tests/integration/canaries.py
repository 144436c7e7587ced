"""Values that must never be seen again, and the search for them in whatever form they may be written."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import quote

PIECE = 24  # characters: what is twice as long counts as seen when its first or its last so many are


@dataclass(frozen=True)
class Canary:
    """A secret or personal value. `planted`: the test itself puts it on the broker, past our own code."""

    name: str
    value: bytes
    planted: bool = False

    @classmethod
    def of(cls, name: str, value: str, *, planted: bool = False) -> Canary:
        """Of a text."""
        return cls(name, value.encode(), planted)

    @cached_property
    def forms(self) -> frozenset[bytes]:
        """In lower case: as it is, URL-quoted, hex, and base64 at each alignment in a longer text."""
        return frozenset(form.lower() for piece in _pieces(self.value) for form in _written(piece))


def found(canaries: Iterable[Canary], evidence: Mapping[str, bytes]) -> list[str]:
    """Which canary was seen where: names and places, never a value."""
    lowered = {place: content.lower() for place, content in evidence.items()}
    return [
        f"{canary.name} in {place}"
        for canary in canaries
        for place, content in lowered.items()
        if any(form in content for form in canary.forms)
    ]


def _pieces(value: bytes) -> list[bytes]:
    return [value[:PIECE], value[-PIECE:]] if len(value) >= 2 * PIECE else [value]


def _written(piece: bytes) -> Iterator[bytes]:
    yield piece
    yield quote(piece, safe="").encode()
    yield piece.hex().encode()
    for before in range(3):
        bits = (before + len(piece)) * 8
        encoded = base64.b64encode(bytes(before) + piece)[-(-before * 8 // 6) : bits // 6]
        yield encoded
        yield encoded.translate(bytes.maketrans(b"+/", b"-_"))
