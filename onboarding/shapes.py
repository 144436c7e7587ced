"""What a secret or a person looks like in a text or in a field's name: the rules behind masking.mask."""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import pairwise
from typing import Final

MASK: Final = "[masked]"

# Names of fields, in lower case, dashes as underscores. A longer name that ends in one of the first list counts
# too (worker_token, x-auth-token), except a step's.
_ENDINGS: Final = (
    "token", "password", "passwd", "secret", "authorization", "cookie", "dsn", "email", "e_mail", "email_address",
    "api_key", "apikey", "private_key", "signing_key", "vault_key", "vault_keys", "credentials", "first_name",
    "last_name", "middle_name", "full_name", "legal_name", "preferred_name", "display_name", "surname",
    "date_of_birth", "phone", "phone_number", "iban", "national_id", "passport_number",
)  # fmt: skip
_NAMES: Final = frozenset({"tokens", "passwords", "secrets", "cookies", "emails", "auth", "pwd", "ssn"})
_STEPS: Final = ("issue_token", "verify_token")
_LONGEST: Final = max(map(len, (*_ENDINGS, *_STEPS)))
DENIED: Final = (*_ENDINGS, *sorted(_NAMES))

# Other ways to write the @ of an address.
_AT: Final = re.compile(r"[\uff20\ufe6b]|%(?:25)*40|&#(?:64|x40);|\\u0040")

# A first look: nearly every string in a log has nothing of all this, and goes no further.
_SUSPECT: Final = re.compile(rf"""[@"']|(?<![0-9])[:=]|[Bb]earer|BEARER|[Bb]asic|whsec_|eyJ|{_AT.pattern}""")

_SEPARATOR: Final = re.compile(r"""\\{0,8}["']\s{0,8}[:,]\s{0,8}b?|=b?(?=[^\s=])""")  # "token": ..., token=...
_VALUE: Final = re.compile(
    r"""(?!\\{0,8}(?:None|null|[Tt]rue|[Ff]alse)\b|\[masked\]|SecretStr\('\*)"""
    r"""(?:\\{0,8}(?P<quote>["']).{0,4000}?(?P=quote)|[^\s"'\\,;&)\]}]+)""",
    re.DOTALL,
)
_HEADER: Final = re.compile(
    r"""(?P<kept>\b(?:authorization|x-auth-token|cookie)\s*:\s*)[^\s"'](?:[^\r\n"']*[^\s"'])?""", re.IGNORECASE
)
_SCHEME: Final = re.compile(r"(?P<kept>\b(?:[Bb]earer|BEARER|[Bb]asic(?=\s+[a-z]*[A-Z0-9+/=]))\s+)[\w.~+/=-]{6,}")
_USERINFO: Final = re.compile(  # a password may hold a slash or an @; what follows host:port is none
    r"""(?P<kept>://)(?:[^\s/@:"'<>]{0,512}:(?!\d+[/?#])[^\s"'<>]{0,512}|[^\s/"'<>]{0,512})(?=@)"""
)
_KEYS: Final = re.compile(r"(?P<kept>)(?:whsec_[\w+/=-]+|(?<![A-Za-z0-9])eyJ[\w-]{5,}(?:\.[\w-]*){0,4})")
_SHAPES: Final = (
    (("://",), _USERINFO),
    (("whsec_", "eyj"), _KEYS),
    (("authorization", "x-auth-token", "cookie"), _HEADER),
    (("bearer", "basic"), _SCHEME),
)

_DENSEST: Final = 40  # characters from which a text that looks random is taken for a key
_DENSE: Final = re.compile(rf"(?<![\w+/-])[A-Za-z0-9+/_-]{{{_DENSEST},}}={{0,2}}")
_KEY_LENGTH: Final = 44  # of 32 bytes in base64

_QUOTED_LOCAL: Final = re.compile(r'"[^"\n]{1,128}"(?=@)')
_RUN: Final = re.compile(r"""[^\s<>()\[\]{}|,;:"\\/?&=]+""")  # no address goes beyond one
_DOT: Final = re.compile(r"[.\u3002\uff0e\uff61]")
_LABEL: Final = r"[A-Za-z0-9_%\-\u00a1-\u3001\u3003-\uff0d\uff0f-\uff60\uff62-\U0010ffff]+"
_DOMAIN: Final = re.compile(rf"@{_LABEL}(?:{_DOT.pattern}{_LABEL})+")


@lru_cache(maxsize=4096)
def denied(name: str | bytes) -> bool:
    """Whether a field of this name holds what must not be seen."""
    text = name.decode("utf-8", "replace") if isinstance(name, bytes) else str.__str__(name)
    word = _plain(text.strip())
    return (word in _NAMES or word.endswith(_ENDINGS)) and not word.endswith(_STEPS)


def _plain(name: str) -> str:
    return name.lower().replace("-", "_").replace(" ", "_")


def mask_shapes(text: str) -> str:
    """Mask what has the shape of an address, a token or a key, or stands as the value of a denied field."""
    if len(text) < _DENSEST and _SUSPECT.search(text) is None:
        return text
    lowered = text.lower()
    for words, shape in _SHAPES:
        if any(word in lowered for word in words):  # far quicker than a search that finds nothing
            text = shape.sub(rf"\g<kept>{MASK}", text)
    text = _mask_fields(text)
    if len(text) >= _DENSEST:
        text = _DENSE.sub(_dense, text)
    plain = _AT.sub("@", text)
    if "@" not in plain:
        return text
    masked = _RUN.sub(_address, _QUOTED_LOCAL.sub(MASK, plain))
    return text if masked == plain else masked


def _mask_fields(text: str) -> str:
    """The values of denied fields, as a repr, JSON or a query writes them."""
    parts: list[str] = []
    start = 0
    for separator in _SEPARATOR.finditer(text):
        name = _plain(text[max(start, separator.start() - _LONGEST) : separator.start()])
        if name.endswith(_ENDINGS) and not name.endswith(_STEPS):
            value = _VALUE.match(text, separator.end())
            if value and separator.start() >= start:
                parts += text[start : separator.end()], MASK
                start = value.end()
    return "".join((*parts, text[start:]))


def _dense(match: re.Match[str]) -> str:
    run = match.group()
    mixed = any(map(str.isupper, run)) and any(map(str.islower, run))
    if mixed and len(run) == _KEY_LENGTH and run.endswith("="):
        return MASK
    return MASK if mixed and any(map(_random, (run, *run.split("/")))) else run


def _random(run: str) -> bool:
    """Long, and of upper case, lower case and digits that take turns as in no name, number or path."""
    kinds = [(char.isupper(), char.isdigit()) for char in run if char.isalnum()]
    upper, digits = sum(kind[0] for kind in kinds), sum(kind[1] for kind in kinds)
    turns = sum(one != other for one, other in pairwise(kinds))
    mixed = upper > (0.16 if digits else 0.3) * len(kinds)
    return len(run) >= _DENSEST and mixed and turns > 0.36 * len(kinds)


def _address(match: re.Match[str]) -> str:
    run = match.group()
    before = match.string[max(0, match.start() - len(MASK)) : match.start()]
    if run.rfind("@") == 0 and (before == MASK or not before[-1:].strip()):
        return run  # the host after what is hidden already, or a decorator
    end = 0
    for domain in _DOMAIN.finditer(run):
        names = _DOT.split(domain.group())[1:]
        if any(not name[0].isdigit() for name in names):  # else a version or an IP address: a node's name
            end = domain.end()
    start = len(run) - len(run.lstrip("'`"))
    return run[:start] + MASK + run[end:] if end else run
