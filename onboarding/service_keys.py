"""Service keys: what an app shows the token service. Made here, printed once, kept as a digest.

A key is 256 random bits: nobody guesses one, so its SHA-256 tells nothing, and no slow hash is needed; that is for
passwords, which people choose. Its shape is known to masking, and to whoever looks for leaked secrets.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from pydantic import SecretStr

from onboarding.shapes import SERVICE_KEY

_KEY: Final = re.compile(SERVICE_KEY)


class Scope(StrEnum):
    """What a key may do. Who may fetch tokens may use the proxy as well: that can do less."""

    TOKEN = "token"  # noqa: S105 - a word
    PROXY = "proxy"


@dataclass(frozen=True)
class NewKey:
    """One that was just made."""

    id: str
    key: SecretStr
    digest: str


def make() -> NewKey:
    """A new one."""
    number = secrets.token_hex(6)
    key = f"onb_{number}_{secrets.token_urlsafe(32)}"
    return NewKey(number, SecretStr(key), digest_of(key))


def id_in(text: str) -> str | None:
    """The id of the key that this would be; None: it is no key."""
    found = _KEY.fullmatch(text)
    return found["id"] if found else None


def digest_of(key: str) -> str:
    """What the store keeps of it."""
    return hashlib.sha256(key.encode()).hexdigest()


def is_key(text: str, digest: str) -> bool:
    """In constant time."""
    return hmac.compare_digest(digest_of(text), digest)
