"""What a signed webhook tells of a contract and its worker. Whatever is not as it should be is missing."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from pydantic import SecretStr

_CONTRACT_TYPE: Final = re.compile(r"[a-z][a-z0-9_]{0,39}")
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_ADDRESS: Final = re.compile(r"""[^\s@<>()\[\],;:"\\]+@[^\s@<>()\[\],;:"\\.]+(\.[^\s@<>()\[\],;:"\\.]+)+""")
_MAX_ADDRESS: Final = 254  # characters, RFC 5321

# The likeliest first. Not `alternate_email`: nobody has verified those.
# Source: Deel's webhook payloads (contract.created), events guide (worker_email), EOR contract (employee).
_EMAIL_FIELDS: Final = (
    ("worker", "email"),
    ("worker", "expected_email"),
    ("invitations", "worker_email"),
    ("employee", "email"),
    ("worker_email",),
)


@dataclass(frozen=True)
class Told:
    """Facts that a correctly signed Deel webhook carries. Any of it may be missing."""

    contract_type: str | None = None
    emails: tuple[SecretStr, ...] = ()  # the worker's, as `address` writes them, the likeliest first
    hris_profile_id: str | None = None


def facts(resource: object) -> Told:
    """Read a webhook's resource (a contract)."""
    found = filter(None, (address(_at(resource, *path)) for path in _EMAIL_FIELDS))
    profile_id = _matching(_UUID, _at(resource, "worker", "id"))
    return Told(
        contract_type=_matching(_CONTRACT_TYPE, _at(resource, "type")),
        emails=tuple(dict.fromkeys(found)),
        hris_profile_id=profile_id.lower() if profile_id else None,
    )


def address(value: object) -> SecretStr | None:
    """An e-mail address in the one form in which addresses are compared; None where it is none.

    Only ASCII letters are lowered: str.lower and str.casefold make different addresses equal
    (the Kelvin sign becomes k, a sharp s becomes ss), and equality is what proves a worker's identity.
    """
    if not isinstance(value, str) or len(value) > _MAX_ADDRESS:
        return None
    if not value.isprintable() or not _ADDRESS.fullmatch(value):  # unprintable: zero-width, surrogates
        return None
    return SecretStr(value.encode().lower().decode())


def _matching(pattern: re.Pattern[str], value: object) -> str | None:
    return value if isinstance(value, str) and pattern.fullmatch(value) else None


def _at(node: object, *path: str) -> object:
    for name in path:
        node = node.get(name) if isinstance(node, dict) else None
    return node
