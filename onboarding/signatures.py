"""The signature under a webhook: one verifier for all senders, each described by a Scheme."""

from __future__ import annotations

import base64
import hmac
import re
import time
from dataclasses import dataclass
from enum import Enum, StrEnum, auto
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pydantic import SecretStr

_TIME: Final = re.compile(rb"[0-9]{1,12}")
_KEY_PREFIX: Final = "whsec_"


class Verdict(Enum):
    """What a message's signature says."""

    RIGHT = auto()  # whoever wrote the body holds the key
    UNPROVEN = auto()  # there is none, or none of our keys could have made it
    WRONG = auto()  # not what the key makes of this body: tampered with, forged, too old, or our key is another


class Encoding(StrEnum):
    """How a sender writes the digest."""

    HEX = "hex"
    BASE64 = "base64"
    BASE64URL = "base64url"


@dataclass(frozen=True)
class Scheme:
    """How a sender signs: an HMAC over `signed`, in a header. Header names are lower case."""

    header: str
    signed: str = "{body}"  # {id} and {timestamp} stand for what came in those headers
    algorithm: Literal["sha256", "sha512"] = "sha256"
    encoding: Encoding = Encoding.HEX
    prefix: str = ""  # before each signature
    several: bool = False  # the header may hold more than one, with spaces between
    id_header: str | None = None
    timestamp_header: str | None = None  # whole seconds since 1970; signed as it came
    tolerance_s: float = 300.0  # how far that may be from now, either way
    label_header: str | None = None  # names the key
    base64_keys: bool = False  # the key is written in base64, maybe behind "whsec_"

    def key(self, secret: SecretStr) -> bytes:
        """Raises ValueError where it is not written as this scheme's keys are."""
        text = secret.get_secret_value()
        if not self.base64_keys:
            return text.encode(errors="surrogatepass")
        encoded = text.removeprefix(_KEY_PREFIX)
        return base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)

    def sign(self, body: bytes, key: bytes, *, message_id: bytes = b"", timestamp: bytes = b"") -> bytes:
        """What the header holds under this body, prefix and all."""
        values = {"{body}": body, "{id}": message_id, "{timestamp}": timestamp}
        parts = re.split(r"(\{\w+\})", self.signed)
        content = b"".join(values[part] if part in values else part.encode() for part in parts)
        return self.prefix.encode() + self._encode(hmac.digest(key, content, self.algorithm))

    def _encode(self, digest: bytes) -> bytes:
        match self.encoding:
            case Encoding.HEX:
                return digest.hex().encode()
            case Encoding.BASE64:
                return base64.b64encode(digest)
            case Encoding.BASE64URL:
                return base64.urlsafe_b64encode(digest)


DEEL: Final = Scheme("x-deel-signature", "POST{body}", label_header="x-deel-hmac-label")
"""Source: Deel's API, webhooks page: lowercase hex HMAC-SHA256 of "POST" and the raw body; no time is signed."""


def sign(body: bytes, key: bytes) -> bytes:
    """Make the signature that Deel sends for this body."""
    return DEEL.sign(body, key)


def judge(
    scheme: Scheme,
    body: bytes,
    headers: Mapping[str, object],
    keys: Mapping[str, SecretStr],
    clock: Callable[[], float] = time.time,
) -> Verdict:
    """Compare, in constant time, with the key of that label; without a label, with every key.

    `headers`: names in lower case, values text or bytes; what is neither counts as absent. It never raises, whatever
    they hold. A signature that comes without a label and fits no key is wrong, not unproven: Deel always sends the
    label, and who drops it must not get a tampered body through.
    """
    candidates = _candidates(scheme, _octets(headers, scheme.label_header), keys)
    if headers.get(scheme.header) in (None, "", b"") or not candidates:
        return Verdict.UNPROVEN
    message_id, timestamp = _octets(headers, scheme.id_header), _octets(headers, scheme.timestamp_header)
    if scheme.timestamp_header is not None and not _recent(timestamp, scheme.tolerance_s, clock):
        return Verdict.WRONG
    made = [_bare(scheme.sign(body, key, message_id=message_id, timestamp=timestamp)) for key in candidates]
    # Whoever has no key may send as many signatures as the header has room for: that costs a comparison each.
    given = _octets(headers, scheme.header)
    offered = [_bare(each) for each in (given.split(b" ") if scheme.several else [given])]
    right = [hmac.compare_digest(one, other) for one in offered for other in made]
    return Verdict.RIGHT if any(right) else Verdict.WRONG


def _candidates(scheme: Scheme, label: bytes, keys: Mapping[str, SecretStr]) -> list[bytes]:
    """The keys that may have signed. An empty key proves nothing: anybody has it."""
    named = [secret for name, secret in keys.items() if not label or name.encode(errors="surrogatepass") == label]
    return [key for secret in named if (key := scheme.key(secret))]


def _recent(timestamp: bytes, tolerance_s: float, clock: Callable[[], float]) -> bool:
    return _TIME.fullmatch(timestamp) is not None and abs(clock() - int(timestamp)) <= tolerance_s


def _bare(signature: bytes) -> bytes:
    """Without padding: some senders leave it out, and it says nothing."""
    return signature.rstrip(b"=")


def _octets(headers: Mapping[str, object], name: str | None) -> bytes:
    """Bytes, as only those are compared in constant time whatever they hold; b"" for what is no text."""
    value = headers.get(name) if name else None
    if isinstance(value, str):
        return value.encode(errors="surrogatepass")
    return value if isinstance(value, bytes) else b""
