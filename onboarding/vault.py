"""The vault's cryptography, and nothing else: the store keeps what is made here.

Each worker has a data key of their own; it seals what is theirs, and lies in the store wrapped by a key of
ONBOARDING_VAULT_KEYS. To drop the data key is to erase the worker; to rotate is to wrap the data keys again.
All of it is AES-256-GCM with a random nonce. The associated data says where a ciphertext belongs, so that one
moved to another row or column does not open.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
import re
import secrets
import tempfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NoReturn, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic import SecretBytes, SecretStr

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_VERSION: Final = b"\x01"  # of the blob's form, so that another can follow
_KEY_ID = re.compile(r"[A-Za-z0-9_-]{1,32}")


class VaultError(Exception):
    """The vault does not open. Says nothing of what it holds, nor whose it is."""


class KeyMissing(VaultError):  # noqa: N818 - reads as what happened
    """A data key was wrapped by a key that this process does not have."""

    def __init__(self, key_id: str) -> None:
        super().__init__(
            f"ONBOARDING_VAULT_KEYS lacks key id {key_id}: put that key back behind the first one"
            " (the first encrypts, all decrypt)"
        )
        self.key_id = key_id


class Tampered(VaultError):  # noqa: N818 - reads as what happened
    """A ciphertext was moved, cut or altered, or was sealed by another data key."""

    def __init__(self, column: str) -> None:
        super().__init__(f"{column} does not open: its ciphertext was moved from another row or column, cut or altered")
        self.column = column


class _NeverPickled:
    """A key stays in the process that holds it."""

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"{type(self).__name__} is not pickled")


@dataclass(frozen=True)
class DataKey(_NeverPickled):
    """A worker's key, in memory only."""

    id: str
    subject: str
    key: SecretBytes = field(repr=False)


@dataclass(frozen=True)
class WrappedKey:
    """A data key as a row holds it."""

    id: str
    subject: str
    master_key_id: str
    blob: bytes = field(repr=False)


@dataclass(frozen=True)
class Keyring(_NeverPickled):
    """The keys of ONBOARDING_VAULT_KEYS by their id: the first encrypts, all decrypt."""

    keys: Mapping[str, SecretBytes] = field(repr=False)

    @classmethod
    def from_setting(cls, setting: str) -> Self:
        """Read `id:base64,base64,...`: 32 bytes each; a key without an id gets a digest's first 8 digits.

        Raises ValueError, without any part of the setting in its text.
        """
        keys: dict[str, SecretBytes] = {}
        for entry in filter(None, (part.strip() for part in setting.split(","))):
            name, _, encoded = entry.rpartition(":")
            key = _decoded(encoded)
            key_id = name or hashlib.sha256(key).hexdigest()[:8]
            if not _KEY_ID.fullmatch(key_id) or key_id in keys:
                raise ValueError("a key's id is odd or there twice")
            keys[key_id] = SecretBytes(key)
        if not keys:
            raise ValueError("no key")
        return cls(keys)

    @classmethod
    def kept_in(cls, path: Path) -> Self:
        """Read the key file at `path`; make it (mode 0600) where there is none.

        Processes that make it at the same moment end with the same key. Raises OSError, ValueError.
        """
        if not path.exists():
            _make_key_file(path)
        return cls.from_setting(path.read_text("ascii").strip())

    @property
    def first(self) -> str:
        """The id of the key that encrypts."""
        return next(iter(self.keys))

    def new_data_key(self, subject: str) -> tuple[DataKey, WrappedKey]:
        """Make a key for a subject, and the form in which it is stored."""
        raw = SecretBytes(AESGCM.generate_key(KEY_BYTES * 8))
        data_key = DataKey(secrets.token_hex(8), subject, raw)
        return data_key, self._wrap(data_key)

    def unwrap(self, wrapped: WrappedKey) -> DataKey:
        """Open a stored data key. Raises KeyMissing, Tampered."""
        master = self.keys.get(wrapped.master_key_id)
        if master is None:
            raise KeyMissing(wrapped.master_key_id)
        place = _wrap_place(wrapped.id, wrapped.subject, wrapped.master_key_id)
        raw = _decrypt(master, place, wrapped.blob, "the data key")
        return DataKey(wrapped.id, wrapped.subject, SecretBytes(raw))

    def rewrap(self, wrapped: WrappedKey) -> WrappedKey:
        """Wrap the same data key by the first key. Raises KeyMissing, Tampered."""
        return self._wrap(self.unwrap(wrapped))

    def _wrap(self, data_key: DataKey) -> WrappedKey:
        place = _wrap_place(data_key.id, data_key.subject, self.first)
        blob = _encrypt(self.keys[self.first], place, data_key.key.get_secret_value())
        return WrappedKey(data_key.id, data_key.subject, self.first, blob)


def seal(key: DataKey, binding: tuple[str | int, ...], plaintext: SecretStr) -> bytes:
    """Encrypt a value for the one place that `binding` names.

    `binding` is what identifies the row, and last the column: (organisation, profile, issue number, column).
    """
    place = _value_place(key, binding)
    return _encrypt(key.key, place, plaintext.get_secret_value().encode("utf-8", "surrogatepass"))


def open_sealed(key: DataKey, binding: tuple[str | int, ...], blob: bytes) -> SecretStr:
    """Decrypt what `seal` made for the same key and binding. Raises Tampered for anything else."""
    plaintext = _decrypt(key.key, _value_place(key, binding), blob, str(binding[-1]))
    return SecretStr(plaintext.decode("utf-8", "surrogatepass"))


def _value_place(key: DataKey, binding: tuple[str | int, ...]) -> bytes:
    return _associated("value", *binding, key.id)


def _wrap_place(data_key_id: str, subject: str, master_key_id: str) -> bytes:
    return _associated("data key", data_key_id, subject, master_key_id)


def _associated(*parts: str | int) -> bytes:
    """A JSON list: no choice of parts can look like another, whatever characters they hold."""
    return json.dumps(parts, ensure_ascii=False, separators=(",", ":")).encode()


def _encrypt(key: SecretBytes, place: bytes, plaintext: bytes) -> bytes:
    nonce = os.urandom(_NONCE_BYTES)
    return _VERSION + nonce + AESGCM(key.get_secret_value()).encrypt(nonce, plaintext, _VERSION + place)


def _decrypt(key: SecretBytes, place: bytes, blob: bytes, column: str) -> bytes:
    version, nonce, ciphertext = blob[:1], blob[1 : 1 + _NONCE_BYTES], blob[1 + _NONCE_BYTES :]
    if version != _VERSION or len(nonce) != _NONCE_BYTES:
        raise Tampered(column)
    try:
        return AESGCM(key.get_secret_value()).decrypt(nonce, ciphertext, version + place)
    except InvalidTag:
        raise Tampered(column) from None


def _decoded(encoded: str) -> bytes:
    try:
        key = base64.b64decode(encoded, validate=True)
    except binascii.Error:
        raise ValueError("a key is not base64") from None
    if len(key) != KEY_BYTES:
        raise ValueError(f"a key is not {KEY_BYTES} bytes long")
    return key


def _make_key_file(path: Path) -> None:
    """Write beside it, then link: the name appears with its whole content, and the first process wins."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=".vault-") as file:  # mode 0600
        file.write(base64.b64encode(AESGCM.generate_key(KEY_BYTES * 8)).decode() + "\n")
        file.flush()
        os.fsync(file.fileno())
        try:
            os.link(file.name, path)
        except FileExistsError:
            return
