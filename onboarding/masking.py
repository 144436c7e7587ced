"""The one function that keeps tokens, keys and people out of logs and error reports: `mask`.

Three nets, one behind the other: values that this process knows to be secret, whatever they look like; shapes
(e-mail addresses, tokens, keys, credentials in URLs); and names of fields. It would rather mask too much than
too little, but never an id, a time, a module, a path or a word of ours: an engineer needs those.
"""

from __future__ import annotations

import base64
import json
import threading
from collections import Counter, OrderedDict
from collections.abc import Collection, Iterator, Mapping
from datetime import date, time, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Final
from urllib.parse import quote, quote_plus
from uuid import UUID

from pydantic import SecretStr

from onboarding.shapes import MASK, denied, mask_shapes

MAX_DEPTH: Final = 16
MAX_VALUES: Final = 50_000  # in one call, keys included
MAX_TEXT: Final = 64 * 1024  # characters of one string
MAX_TEXTS: Final = 1 << 20  # characters in one call
MAX_SECRETS: Final = 1024
_SHORTEST: Final = 6  # characters; a shorter secret would blank ordinary words
_SHORT: Final = 40  # characters; what is masked once is remembered
_CUT: Final = "[cut]"
_AS_THEY_ARE: Final = bool | int | float | None | date | time | timedelta | Decimal | UUID


class _Secrets:
    """Values seen as secret, in every form in which they may be written. The oldest leave first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._forms: OrderedDict[str, frozenset[str]] = OrderedDict()
        self._offsets: dict[str, int] = {}  # form -> where the part that it is found by stands in it
        self._by_part: dict[str, tuple[str, ...]] = {}
        self._holders: Counter[str] = Counter()  # form -> how many of the values are written so
        self.longest = 0
        self.generation = 0  # grows with each secret: nothing masked before it may be used after it

    def add(self, value: str) -> None:
        with self._lock:
            if value in self._forms:
                self._forms.move_to_end(value)
                return
            self._forms[value] = frozenset(_forms(value))
            self._holders.update(self._forms[value])
            for form in self._forms[value] - self._offsets.keys():
                self._file(form)
            self.generation += 1
            if len(self._forms) > MAX_SECRETS:
                self._forget(self._forms.popitem(last=False)[1])

    def _file(self, form: str) -> None:
        """By the part that it shares with the fewest others: all JWTs begin alike, all addresses of a firm end so."""
        offsets = (0, (len(form) - _SHORTEST) // 2, len(form) - _SHORTEST)
        parts = {form[at : at + _SHORTEST]: at for at in offsets}
        part = min(parts, key=lambda part: len(self._by_part.get(part, ())))
        self._offsets[form] = parts[part]
        self._by_part[part] = (*self._by_part.get(part, ()), form)
        self.longest = max(self.longest, len(form))

    def _forget(self, forms: frozenset[str]) -> None:
        self._holders.subtract(forms)
        for form in [form for form in forms if self._holders[form] == 0]:
            del self._holders[form]
            at = self._offsets.pop(form)
            part = form[at : at + _SHORTEST]
            left = tuple(other for other in self._by_part[part] if other != form)
            if left:
                self._by_part[part] = left
            else:
                del self._by_part[part]

    def mask(self, text: str) -> str:
        """One look per character, however many secrets there are."""
        by_part = self._by_part
        if not by_part:
            return text
        found: list[tuple[int, int]] = []
        for at in range(len(text) - _SHORTEST + 1):
            for form in by_part.get(text[at : at + _SHORTEST], ()):
                start = at - self._offsets.get(form, at + 1)  # forgotten meanwhile: it would begin before the text
                if start >= 0 and text.startswith(form, start):
                    found.append((start, start + len(form)))
        return _without(text, sorted(found)) if found else text


def _without(text: str, spans: list[tuple[int, int]]) -> str:
    """The text with a mask in place of each span, and one for those that overlap."""
    parts: list[str] = []
    end = 0
    for start, following in spans:
        if start >= end:
            parts += text[end:start], MASK
        end = max(end, following)
    return "".join((*parts, text[end:]))


_secrets = _Secrets()


def remember_secret(value: str | SecretStr) -> None:
    """From now on, mask this value wherever it stands, also base64-, URL- or JSON-encoded.

    Values under 6 characters are ignored. The last 1,024 values are kept.
    """
    text = value.get_secret_value() if isinstance(value, SecretStr) else str.__str__(value)
    if len(text) >= _SHORTEST and text not in MASK:
        _secrets.add(text)


def _forms(value: str) -> Iterator[str]:
    raw = value.encode("utf-8", "surrogatepass")
    written = [
        value,
        quote(raw),
        quote(raw, safe=""),
        quote_plus(raw),
        json.dumps(value)[1:-1],
        json.dumps(value, ensure_ascii=False)[1:-1],
        repr(value)[1:-1],
        repr(f"'\"{value}")[4:-1],  # as in a longer text that holds both kinds of quotes
        repr(raw)[2:-1],
        *_base64_forms(raw),
    ]
    for form in written:
        if len(form) >= _SHORTEST and form not in MASK:
            yield form


def _base64_forms(raw: bytes) -> Iterator[str]:
    """The characters that no neighbour can change, at each of the three alignments in a longer text."""
    for before in range(3):
        bits = (before + len(raw)) * 8
        encoded = base64.b64encode(bytes(before) + raw).decode()[-(-before * 8 // 6) : bits // 6]
        yield encoded
        yield encoded.replace("+", "-").replace("/", "_")


def mask(value: object) -> object:
    """The same value without what must not be seen; containers are copied. Never raises.

    What is neither text, number, time, UUID nor container becomes its masked repr. Bounded: 16 levels deep,
    50,000 values, 65,536 characters per string, a million of all strings; what lies beyond is cut.
    """
    try:
        return _Walk().mask(value, 0)
    except Exception:  # noqa: BLE001 - whatever it is, it is not shown
        return MASK


class _Walk:
    def __init__(self) -> None:
        self.left = MAX_VALUES
        self.characters = MAX_TEXTS

    def mask(self, value: object, depth: int) -> object:
        self.left -= 1
        if isinstance(value, str):
            return self._text(str.__str__(value))  # a subclass might print something else than it holds
        if isinstance(value, _AS_THEY_ARE):
            return value
        if depth >= MAX_DEPTH or self.left < 0:
            return _CUT
        if isinstance(value, Mapping):
            return self._mapping(value, depth + 1)
        if isinstance(value, tuple):
            return tuple(self._several(value, depth + 1))
        if isinstance(value, list | set | frozenset):
            return list(self._several(value, depth + 1))
        if isinstance(value, bytes | bytearray | memoryview):
            text = self._text(bytes(value).decode("utf-8", "surrogateescape"))
            return text.encode("utf-8", "surrogateescape")
        return self._text(_shown(value))

    def _text(self, text: str) -> str:
        if self.characters <= 0:
            return _CUT
        self.characters -= min(len(text), MAX_TEXT)
        return _text(text)

    def _mapping(self, mapping: Mapping[object, object], depth: int) -> dict[object, object]:
        masked: dict[object, object] = {}
        for name, value in mapping.items():
            if self.left < 0:
                masked[_CUT] = _CUT
                break
            shown = self.mask(name, depth) if isinstance(name, str | _AS_THEY_ARE) else self._text(_shown(name))
            masked[shown] = self._field(name, value, depth)
        return masked

    def _several(self, values: Collection[object], depth: int) -> Iterator[object]:
        name = next(iter(values)) if len(values) == 2 else None  # noqa: PLR2004 - perhaps a header: name, value
        for value in values:
            if self.left < 0:
                yield _CUT
                return
            yield self.mask(value, depth) if value is name else self._field(name, value, depth)

    def _field(self, name: object, value: object, depth: int) -> object:
        told = value is None or isinstance(value, bool)  # there is none, there is one: nothing to hide
        if not told and isinstance(name, str | bytes) and denied(name):
            return MASK
        return self.mask(value, depth)


def _text(text: str) -> str:
    if len(text) <= _SHORT:
        return _masked_short(text, _secrets.generation)
    if len(text) <= MAX_TEXT:
        return _masked(text)
    # A secret may stand across the cut and show its first half: drop as much again as one can be long.
    return _masked(text[:MAX_TEXT])[: -max(_secrets.longest, 1024)] + _CUT


@lru_cache(maxsize=4096)
def _masked_short(text: str, _generation: int) -> str:
    """Field names, levels, steps, modules: the same few over and over."""
    return _masked(text)


def _masked(text: str) -> str:
    known = _secrets.mask(text)
    masked = mask_shapes(known)
    return known if masked == known else _secrets.mask(masked)  # what came together may be a secret again


def _shown(value: object) -> str:
    try:
        return repr(value)
    except Exception:  # noqa: BLE001 - somebody's repr, somebody's error
        return f"<{type(value).__name__}>"
