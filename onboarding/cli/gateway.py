"""`onboarding gateway`: the process that HRIS and Deel post their webhooks to."""

from __future__ import annotations

from collections.abc import Collection
from importlib.util import find_spec
from typing import TYPE_CHECKING

import click

from onboarding.cli.options import examples
from onboarding.cli.printing import hint
from onboarding.cli.refusal import WRONG_USAGE, Refusal
from onboarding.cli.shell import Shell
from onboarding.cli.start import require_store, start
from onboarding.settings import Settings, unknown

if TYPE_CHECKING:
    from socket import socket

WEBHOOKS, TOKENS = "webhooks", "tokens"
NOT_STARTED = "the gateway was not started"


@click.command("gateway", epilog=examples("onboarding gateway", "onboarding gateway --host 0.0.0.0 --port 8080"))
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", default=8080, show_default=True, type=click.IntRange(0, 65535), help="The port to listen on.")
@click.option("--only", type=click.Choice([WEBHOOKS, TOKENS]), help="Serve these and nothing else.")
@click.pass_obj
def gateway_command(shell: Shell, *, host: str, port: int, only: str | None) -> None:
    """Run the gateway: HRIS webhooks in over HTTP, onto the queue; worker tokens out.

    Deel posts to /webhooks/deel, with a key of ONBOARDING_WEBHOOK_SECRETS; every source of
    ONBOARDING_GATEWAY_SOURCES to /webhooks/ and its name. Answers 2xx once the broker has confirmed. For that it
    needs neither store nor vault nor a token for Deel.

    Where store and vault are configured as well, apps with a service key (`onboarding service-key`) get worker
    tokens, and act as workers, at /v1/workers/. Which of the two the world may reach is the business of what stands
    before it, and so is TLS; to serve them by two processes, start each with --only.
    """
    settings = start("INFO")
    for line in unknown():
        hint(line)
    parts = {only} if only else {WEBHOOKS, TOKENS} if _has_vault(settings) else {WEBHOOKS}
    _require(settings, parts)
    with _listening(host, port) as listener:
        hint(
            f"Listening on {host} port {listener.getsockname()[1]}, for {' and '.join(sorted(parts))}. Ctrl-C stops it."
        )
        shell.serve_gateway(listener, parts)


def _has_vault(settings: Settings) -> bool:
    """Whether there is a store and what opens its vault: who has neither is a gateway for webhooks."""
    if settings.sqlite_path is not None and not settings.sqlite_path.exists():
        return False
    return settings.vault_keys is not None or (settings.key_file is not None and settings.key_file.exists())


def _require(settings: Settings, parts: Collection[str]) -> None:
    """Raises Refusal where it could not do its work, SettingsError where the vault does not open."""
    if find_spec("uvicorn") is None or find_spec("starlette") is None:
        raise Refusal(NOT_STARTED, "uvicorn and starlette are not installed.", then=("pip install '.[web]'",))
    if TOKENS in parts:
        require_store(settings)
        settings.keyring()
    if WEBHOOKS not in parts:
        return
    if settings.embedded:
        raise Refusal(
            NOT_STARTED,
            "ONBOARDING_BROKER_URL is not set, or memory://: that broker lives in one process, which no other reaches.",
            then=("export ONBOARDING_BROKER_URL=amqp://user:password@host:5672/vhost", *_tokens_alone(parts)),
            code=WRONG_USAGE,
        )
    if not settings.webhook_secrets and not settings.gateway_sources:
        raise Refusal(
            NOT_STARTED,
            "Nobody may post to it: set ONBOARDING_WEBHOOK_SECRETS for Deel, or ONBOARDING_GATEWAY_SOURCES.",
            then=("export ONBOARDING_WEBHOOK_SECRETS=LABEL=KEY", *_tokens_alone(parts)),
            code=WRONG_USAGE,
        )


def _tokens_alone(parts: Collection[str]) -> tuple[str, ...]:
    return ("onboarding gateway --only tokens",) if TOKENS in parts else ()


def _listening(host: str, port: int) -> socket:
    from onboarding.web.protocol import listen  # noqa: PLC0415 - it needs the extra [web]

    try:
        return listen(host, port)
    except OSError as error:
        why = f"Nobody can listen on {host} port {port}: {error.strerror or 'no such address'}."
    raise Refusal(NOT_STARTED, why, then=(f"onboarding gateway --host {host} --port {port % 65535 + 1}",))
