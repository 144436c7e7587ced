"""Every setting, once: environment variables with the prefix ONBOARDING_, read when a process starts.

NAME_FILE names a file that holds the value of NAME (as container secrets do). An empty variable counts as
not set. Values are never printed: a fault is told by the variable's name, its rule and an example.
"""

from __future__ import annotations

import base64
import difflib
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Final, Literal
from urllib.parse import SplitResult, unquote, urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from onboarding.targets import deel_root, refuse_form
from onboarding.vault import Keyring
from onboarding.webhook_sources import Explained, WebhookSource, sources_of

PREFIX: Final = "ONBOARDING_"
_FILE: Final = "_FILE"
_SQLITE: Final = "sqlite:///"
_MEMORY: Final = "memory://"
_STRONG: Final = 12  # characters
_NOT_OURS: Final = frozenset({"ONBOARDING_FAILPOINTS", "ONBOARDING_FAILPOINTS_DIR"})  # failpoints.py reads them


class SettingsError(Exception):
    """What is wrong, one line per fault: the variable, the rule, an example. Never a value."""


def _checked(rule: Callable[[str], object]) -> AfterValidator:
    """For a secret whose text must pass `rule`, which raises ValueError where it does not."""

    def check(secret: SecretStr) -> SecretStr:
        rule(secret.get_secret_value())
        return secret

    return AfterValidator(check)


def _true(holds: object) -> None:
    if not holds:
        raise ValueError


def _url(text: str, *schemes: str) -> SplitResult:
    parts = urlsplit(text)
    _true(parts.scheme in schemes and parts.hostname and parts.port != 0)  # an odd port raises by itself
    return parts


def _target(text: str, *, allow_private: bool) -> None:
    parts = _url(text, "https", "http")
    refuse_form(
        parts.scheme, parts.hostname or "", parts.port or 443, has_user="@" in parts.netloc, allow_private=allow_private
    )


def _database_url(url: SecretStr) -> SecretStr:
    text = url.get_secret_value()
    if text.startswith(_SQLITE):
        path, mark, query = text.removeprefix(_SQLITE).partition("?")
        _true(path not in ("", ":memory:"))
        return SecretStr(f"{_SQLITE}{Path(path).absolute()}{mark}{query}")
    scheme, rest = urlsplit(text).scheme, text.partition("://")[2]
    _true(scheme in ("postgresql", "postgresql+psycopg") and rest)
    return SecretStr(f"postgresql+psycopg://{rest}")


def _broker_url(text: str) -> None:
    if text != _MEMORY:
        for node in text.split(";"):  # of a cluster, as kombu writes them
            _url(node, "amqp", "amqps")


def _sentry_dsn(text: str) -> None:
    parts = _url(text, "https", "http")
    _true(parts.username and parts.path.strip("/"))


def _header_safe(text: str) -> None:
    """Refused here, or the HTTP client would refuse it later with the token in its error's text."""
    _true(re.fullmatch(r"[!-~]+", text))


def _signing_secret(text: str) -> None:
    encoded = text.removeprefix("whsec_")
    key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    _true(encoded != text and 24 <= len(key) <= 64)  # noqa: PLR2004 - the bounds of Standard Webhooks


def _entries(value: object) -> object:
    return [entry.strip() for entry in value.split(",") if entry.strip()] if isinstance(value, str) else value


def _labelled(value: object) -> object:
    if not isinstance(value, str):
        return value
    entries = value.replace("\n", ",").split(",")  # a file may have a line for each
    pairs = [entry.partition("=") for entry in entries if entry.strip()]
    keys = {label.strip(): key.strip() for label, _, key in pairs}
    _true(len(keys) == len(pairs) and all(label and key for label, key in keys.items()))
    return keys


Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Settings(BaseModel):
    """What a process was told. A field's description is its rule, as a fault's line shows it."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, hide_input_in_errors=True)

    database_url: Annotated[SecretStr, AfterValidator(_database_url)] = Field(
        SecretStr("sqlite:///.onboarding/onboarding.db"),  # made absolute, from the working directory
        description="a PostgreSQL URL, or a SQLite file",
        examples=["postgresql+psycopg://user:password@host:5432/onboarding"],
    )
    broker_url: Annotated[SecretStr, _checked(_broker_url)] = Field(
        SecretStr(_MEMORY),
        description="an amqp:// or amqps:// URL, or memory:// for everything in one process",
        examples=["amqp://user:password@host:5672/vhost"],
    )
    deel_url: Annotated[str, AfterValidator(deel_root)] = Field(
        "https://api.letsdeel.com/rest/v2",
        description="the root of Deel's API: an https URL that ends in /rest or /rest/v2",
        examples=["https://api.letsdeel.com/rest/v2"],
    )
    deel_token: Annotated[SecretStr, _checked(_header_safe)] | None = Field(
        None,
        description="the organisation's API token, with contracts:read, people:write and admin:worker: "
        "printable ASCII, without the word Bearer",
        examples=["the token that Deel showed once"],
    )
    deel_rate: Positive = Field(
        5.0, description="requests per second to Deel, of all processes: a number above 0", examples=["5"]
    )
    deel_session_field: Literal["hris_profile_id", "profile_id"] = Field(
        "hris_profile_id", description="hris_profile_id or profile_id", examples=["hris_profile_id"]
    )
    vault_keys: Annotated[SecretStr, _checked(Keyring.from_setting)] | None = Field(
        None,
        description="keys, comma-separated: base64 of 32 bytes or id:base64, made once and kept; "
        "the first encrypts, all decrypt",
        examples=["$(openssl rand -base64 32)"],
    )
    notify_allow_private: bool = Field(
        default=False, description="on or off: may targets be plain http or have private addresses", examples=["off"]
    )
    notify_urls: Annotated[tuple[SecretStr, ...], BeforeValidator(_entries)] = Field(
        (),
        description="comma-separated https URLs, without user or password (http with ONBOARDING_NOTIFY_ALLOW_PRIVATE)",
        examples=["https://example.com/onboarded"],
    )
    notify_secret: Annotated[SecretStr, _checked(_signing_secret)] | None = Field(
        None,
        description="whsec_ and the base64 of 24 to 64 bytes; needed where ONBOARDING_NOTIFY_URLS is set",
        examples=["whsec_$(openssl rand -base64 32)"],
    )
    webhook_secrets: Annotated[Mapping[str, SecretStr], BeforeValidator(_labelled)] = Field(
        {}, description="label=key pairs, commas or lines between, no label twice", examples=["Deel production=key"]
    )
    gateway_sources: Annotated[tuple[WebhookSource, ...], BeforeValidator(sources_of)] = Field(
        (),
        description="TOML, a table for each source of webhooks but Deel, with its profile and keys",
        examples=["acme = {profile = 'standard', keys = {main = 'whsec_...'}}"],
    )
    consent: Literal["off", "required"] = Field("off", description="off or required", examples=["required"])
    sentry_dsn: Annotated[SecretStr, _checked(_sentry_dsn)] | None = Field(
        None, description="a Sentry DSN", examples=["https://key@sentry.example.com/1"]
    )
    log_format: Literal["console", "json"] = Field("console", description="console or json", examples=["json"])
    lease_seconds: Positive = Field(60.0, description="how long a claim holds: a number above 0", examples=["60"])
    crash_limit: int = Field(
        3, ge=1, description="starts without an end before a run is parked: 1 or more", examples=["3"]
    )
    retention_days: Annotated[int, Field(ge=1, le=36_500)] = Field(
        400, description="days until a completed or cancelled run is deleted: 1 to 36500", examples=["400"]
    )
    backfill_hours: Annotated[float, Field(ge=0, le=8760, allow_inf_nan=False)] = Field(
        6.0, description="hours between two readings of Deel's list of contracts: 0 (never) to 8760", examples=["6"]
    )

    @field_validator("notify_urls")
    @classmethod
    def _targets_can_be_told(cls, urls: tuple[SecretStr, ...], info: ValidationInfo) -> tuple[SecretStr, ...]:
        """What each send would be refused for, and each run parked, is said before anything starts."""
        for url in urls:
            _target(url.get_secret_value(), allow_private=bool(info.data.get("notify_allow_private")))
        return urls

    @field_validator("notify_secret")
    @classmethod
    def _targets_get_signatures(cls, secret: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if secret is None and info.data.get("notify_urls"):
            raise ValueError
        return secret

    @property
    def embedded(self) -> bool:
        """All in one process: the broker is its memory."""
        return self.broker_url.get_secret_value() == _MEMORY

    @property
    def production(self) -> bool:
        """The database is not SQLite."""
        return self.sqlite_path is None

    @property
    def sqlite_path(self) -> Path | None:
        """Of the SQLite file; None with PostgreSQL."""
        scheme, _, path = self.database_url.get_secret_value().partition(_SQLITE)
        return None if scheme else Path(path.partition("?")[0])

    @property
    def key_file(self) -> Path | None:
        """Where a laptop keeps the vault's key; None with PostgreSQL."""
        return self.sqlite_path.with_name("vault.key") if self.sqlite_path else None

    def require_deel_token(self, *, own_tokens: bool = False) -> None:
        """For processes that talk to Deel. `own_tokens`: organisations have some in the store.

        Raises SettingsError where there is none at all.
        """
        if self.deel_token is None and not own_tokens:
            raise SettingsError(
                f"{_fault('deel_token')}\n(Or each organisation its own: onboarding org token set ORG.)"
            )

    def keyring(self) -> Keyring:
        """The vault's keys: ONBOARDING_VAULT_KEYS; on a laptop, else, a key file beside the SQLite file.

        Raises SettingsError in production without keys, or where the key file cannot be read or made.
        """
        if self.vault_keys is not None:
            return Keyring.from_setting(self.vault_keys.get_secret_value())
        if self.key_file is None:
            raise SettingsError(f"{_fault('vault_keys')}\n(PostgreSQL is configured, so no key file is made.)")
        try:
            return Keyring.kept_in(self.key_file)
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or "it holds no key"
        raise SettingsError(f"The key file beside the SQLite file is of no use: {why}\n{_fault('vault_keys')}")

    def secrets(self) -> list[SecretStr]:
        """Every value that must never be printed: each process tells `masking.remember_secret` at its start."""
        words = [*self.notify_urls, *self.webhook_secrets.values()]
        words += [key for source in self.gateway_sources for key in source.keys.values()]
        words += filter(None, (self.deel_token, self.notify_secret, self.sentry_dsn))
        if self.vault_keys is not None:
            entries = self.vault_keys.get_secret_value().split(",")
            words += [SecretStr(entry.strip().rpartition(":")[2]) for entry in entries]
        return words + [word for url in (self.database_url, self.broker_url) for word in _passwords(url)]


def load(environ: Mapping[str, str] | None = None) -> Settings:
    """Read the settings from `environ` (the process's own by default).

    Raises SettingsError, with every fault that there is.
    """
    values: dict[str, str] = {}
    faults: dict[str, str] = {}
    for field in Settings.model_fields:
        try:
            values[field] = _value(_variable(field), os.environ if environ is None else environ)
        except SettingsError as fault:
            faults[field] = str(fault)
    try:
        settings = Settings.model_validate({field: value for field, value in values.items() if value})
    except ValidationError as error:
        for detail in error.errors(include_input=False, include_url=False):
            name, cause = str(detail["loc"][0]), detail.get("ctx", {}).get("error")
            faults.setdefault(name, _fault(name, str(cause) if isinstance(cause, Explained) else None))
    if faults:  # raised out here: pydantic's error, with the values in it, is not in its context
        raise SettingsError("\n".join(faults.values()))
    return settings


def unknown(environ: Mapping[str, str] | None = None) -> list[str]:
    """One line for each ONBOARDING_ variable that is no setting: a typo would else pass in silence."""
    known = [_variable(name) for name in Settings.model_fields]
    known += [name + _FILE for name in known]
    lines = []
    for name in sorted(os.environ if environ is None else environ):
        if name.startswith(PREFIX) and name not in known and name not in _NOT_OURS:
            like = difflib.get_close_matches(name, known, n=1, cutoff=0.8)
            lines.append(f"{name}: no such setting" + "".join(f"; do you mean {word}?" for word in like))
    return lines


def _value(name: str, environ: Mapping[str, str]) -> str:
    value, path = environ.get(name, "").strip(), environ.get(name + _FILE, "").strip()
    if value and path:
        raise SettingsError(f"{name} and {name}{_FILE} are both set: keep one of them")
    try:
        return Path(path).read_text("utf-8").strip() if path else value
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "it is not text"
    example = f"{name}{_FILE}=/run/secrets/{name.lower()}"
    raise SettingsError(f"{name}{_FILE}: names a file that cannot be read ({why}); for example {example}")


def _variable(field: str) -> str:
    return PREFIX + field.upper()


def _fault(field: str, told: str | None = None) -> str:
    about = Settings.model_fields[field]
    example = (about.examples or [""])[0]
    return f'{_variable(field)}: {told or about.description}; for example {_variable(field)}="{example}"'


def _passwords(url: SecretStr) -> list[SecretStr]:
    """Plain and percent-encoded. Weak ones are left out: where it is `onboarding`, logs would lose that word."""
    words = [urlsplit(node).password or "" for node in url.get_secret_value().split(";")]
    return [SecretStr(word) for word in {*words, *map(unquote, words)} if len(word) >= _STRONG]
