"""What a secret or a person looks like in a text or in a field's name: the rules behind masking.mask."""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import pairwise
from typing import Final

MASK: Final = "[masked]"

# Names of fields. A longer name that ends in one of them counts too (worker_token, xAuthToken), except a word of
# ours.
DENIED: Final = (
    "token", "tokens", "password", "passwords", "passwd", "pwd", "passphrase", "secret", "secrets", "auth",
    "authorization", "cookie", "cookies", "credentials", "signature", "dsn", "api_key", "private_key", "secret_key",
    "access_key", "encryption_key", "session_key", "signing_key", "vault_key", "vault_keys", "username", "email",
    "emails", "email_address", "first_name", "last_name", "middle_name", "full_name", "legal_name",
    "preferred_name", "display_name", "surname", "date_of_birth", "phone", "phone_number", "iban", "ssn",
    "national_id", "passport_number",
)  # fmt: skip
_OURS: Final = ("issuetoken", "verifytoken", "badsignature")
_ENDINGS: Final = tuple(name.replace("_", "") for name in DENIED)
_LONGEST: Final = max(map(len, DENIED))

# Other ways to write the @ of an address.
_AT: Final = re.compile(
    r"[\uff20\ufe6b]|%(?:25)*40|&(?:#0{0,8}64|#[xX]0{0,8}40|commat);|\\(?:x|u00|U000000)40|=40(?=[A-Za-z])"
)

# A first look: nearly every string in a log has nothing of all this, and goes no further.
_SUSPECT: Final = re.compile(rf"""[@"']|(?<![0-9])[:=]|(?i:bearer)|[Bb]asic|whsec_|eyJ|-----BEGIN|{_AT.pattern}""")

_SEPARATOR: Final = re.compile(  # "token": ..., token=...; and loosely token: ..., token = ...
    r"""\\{0,8}["']\s{0,8}[:,]\s{0,8}b?|=b?(?=[^\s=])|(?P<loose>[ ]{1,8}=[ ]{1,8}|:[ ]{1,8})(?:b(?=["']))?"""
)
_TOLD: Final = re.compile(  # as a loose value: not prose, no code, no small number
    r"""(?!\d{1,5}(?![^\s,;)\]}]))(?=[^\s"'\\,;&)\]}(]*\d)[^\s"'\\,;&)\]}(]+(?![^\s,;)\]}])|["']"""
)
_LAST: Final = re.compile(r"(?!\d{1,5}(?:\s|\Z))[^\s(]+[ ]{0,8}(?:[\r\n]|\Z)")  # ... or all that is left of the line
_VALUE: Final = re.compile(
    r"""(?!\\{0,8}(?:None|null|[Tt]rue|[Ff]alse)\b|\[masked\]|SecretStr\('\*)"""
    r"""(?:\\{0,8}(?P<quote>["']).{0,4000}?(?P=quote)|[^\s"'\\,;&)\]}]+)""",
    re.DOTALL,
)
_HEADER: Final = re.compile(
    r"""(?P<kept>\b(?:authorization|x-auth-token|cookie)\s*:\s*)[^\s"'](?:[^\r\n"']*[^\s"'])?""", re.IGNORECASE
)
_SCHEME: Final = re.compile(r"(?P<kept>\b(?:(?i:bearer)|[Bb]asic(?=\s+[a-z]*[A-Z0-9+/=]))\s+)[\w.~+/=-]{6,}")
_USERINFO: Final = re.compile(  # a password may hold a slash or an @; what follows host:port is none
    r"""(?P<kept>://)(?:[^\s/@:"'<>]{0,512}:(?!\d+[/?#])[^\s"'<>]{0,512}|[^\s/"'<>]{0,512})(?=@)"""
)
SERVICE_KEY: Final = r"onb_(?P<id>[0-9a-f]{12})_[\w-]{43}"
"""Of the token service (onboarding/service_keys.py)."""
_KEYS: Final = re.compile(
    rf"(?P<kept>)(?:whsec_[\w+/=-]+|{SERVICE_KEY}|(?<![A-Za-z0-9])eyJ[\w-]{{5,}}(?:\.[\w-]*){{0,4}})"
)
_PEM: Final = re.compile(
    r"(?P<kept>)-----BEGIN [A-Z0-9 ]{1,40}-----(?:[^-]|-(?!----))*(?:-----END [A-Z0-9 ]{1,40}-----)?"
)
_CHAT: Final = re.compile(  # a webhook's path is its password
    r"(?P<kept>\b(?:hooks\.slack(?:-gov)?\.com|discord(?:app)?\.com/api/webhooks|webhook\.office\.com)/)[\w./@%~-]+",
    re.IGNORECASE,
)
_SHAPES: Final = (
    (("-----begin",), _PEM),
    (("hooks.slack", "discord", "webhook.office"), _CHAT),
    (("://",), _USERINFO),
    (("whsec_", "eyj", "onb_"), _KEYS),
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
_LITERAL: Final = re.compile(r"""[^\s<>()\[\]{}|,;:"\\/?&=@]{1,64}@\[(?:IPv6:)?[0-9A-Fa-f:.]{2,45}\]""")
_ON_HOST: Final = re.compile(r"@(?:[A-Za-z][A-Za-z0-9-]*|\d{1,3}(?:\.\d{1,3}){3})[.!'`]*\Z")
_NODE: Final = re.compile(r"['`]*[\w-]*\Z", re.ASCII)  # Celery's: celery@host, worker-1@10.0.0.5


@lru_cache(maxsize=4096)
def denied(name: str | bytes) -> bool:
    """Whether a field of this name holds what must not be seen."""
    text = name.decode("utf-8", "replace") if isinstance(name, bytes) else str.__str__(name)
    return _denied(text.strip())


def _denied(name: str) -> bool:
    """Without regard to case, dashes, underscores and spaces: `firstName`, `first-name` and `First Name` are one."""
    word = name.lower().replace("_", "").replace("-", "").replace(" ", "")
    return word.endswith(_ENDINGS) and not word.endswith(_OURS)


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
    masked = _RUN.sub(_address, _LITERAL.sub(MASK, _QUOTED_LOCAL.sub(MASK, plain)))
    return text if masked == plain else masked


def _mask_fields(text: str) -> str:
    """The values of denied fields, as a repr, JSON or a query writes them."""
    parts: list[str] = []
    start = 0
    for separator in _SEPARATOR.finditer(text):
        if _denied(text[max(start, separator.start() - _LONGEST) : separator.start()]):
            value = _VALUE.match(text, separator.end())
            if value and separator.start() >= start and (not separator["loose"] or _is_told(text, separator)):
                parts += text[start : separator.end()], MASK
                start = value.end()
    return "".join((*parts, text[start:]))


def _is_told(text: str, separator: re.Match[str]) -> bool:
    """Whether a value stands behind `token: ` or `token = `, and not the rest of a sentence or of a line of code."""
    if _TOLD.match(text, separator.end()):
        return True
    return ":" in separator.group() and _LAST.match(text, separator.end()) is not None


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
    on_host = _ON_HOST.search(run)
    if on_host and not _NODE.match(run[: on_host.start()]):  # a dot or a plus: no node's name, but a person's
        end = on_host.end() - (len(run) - len(run.rstrip(".!'`")))
    start = len(run) - len(run.lstrip("'`"))
    return run[:start] + MASK + run[end:] if end else run
