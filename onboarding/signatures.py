"""Deel's signature under a webhook: what it proves about a message."""

from __future__ import annotations

import hashlib
import hmac
from enum import Enum, auto
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import SecretStr


class Verdict(Enum):
    """What a message's signature says."""

    RIGHT = auto()  # whoever wrote the body holds the key
    UNPROVEN = auto()  # there is none, or none of our keys could have made it
    WRONG = auto()  # not what the key makes of this body: tampered with, forged, or our key is another


def judge(body: bytes, signature: object, label: object, keys: Mapping[str, SecretStr]) -> Verdict:
    """Compare, in constant time, with the key of that label; without a label, with every key.

    A signature that comes without a label and fits no key is wrong, not unproven: Deel always sends the
    label, and who drops it must not get a tampered body through.
    Source: Deel's API, webhooks page: lowercase hex HMAC-SHA256 of "POST" and the raw body.
    """
    candidates = _candidates(_octets(label), keys)
    if signature in (None, "") or not candidates:
        return Verdict.UNPROVEN
    given = _octets(signature)
    right = any(hmac.compare_digest(given, sign(body, key)) for key in candidates)
    return Verdict.RIGHT if right else Verdict.WRONG


def sign(body: bytes, key: bytes) -> bytes:
    """Make the signature that Deel sends for this body."""
    return hmac.new(key, b"POST" + body, hashlib.sha256).hexdigest().encode()


def _candidates(label: bytes, keys: Mapping[str, SecretStr]) -> list[bytes]:
    """The keys that may have signed. An empty key proves nothing: anybody has it."""
    named = [secret for name, secret in keys.items() if not label or _octets(name) == label]
    return [key for secret in named if (key := _octets(secret.get_secret_value()))]


def _octets(text: object) -> bytes:
    """Bytes, as only those are compared in constant time whatever they hold; b"" for what is no text."""
    return text.encode(errors="surrogatepass") if isinstance(text, str) else b""
