"""`onboarding gateway`: the process that HRIS and Deel post their webhooks to."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

import click

from onboarding.cli.options import examples
from onboarding.cli.printing import hint
from onboarding.cli.refusal import WRONG_USAGE, Refusal
from onboarding.cli.shell import Shell
from onboarding.cli.start import start
from onboarding.settings import Settings, unknown

if TYPE_CHECKING:
    from socket import socket

NOT_STARTED = "the gateway was not started"


@click.command("gateway", epilog=examples("onboarding gateway", "onboarding gateway --host 0.0.0.0 --port 8080"))
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", default=8080, show_default=True, type=click.IntRange(0, 65535), help="The port to listen on.")
@click.pass_obj
def gateway_command(shell: Shell, *, host: str, port: int) -> None:
    """Run the gateway: HRIS webhooks in over HTTP, onto the queue.

    Deel posts to /webhooks/deel, with a key of ONBOARDING_WEBHOOK_SECRETS; every source of
    ONBOARDING_GATEWAY_SOURCES to /webhooks/ and its name. Answers 2xx once the broker has confirmed.
    Needs neither store nor vault nor a token for Deel. TLS is the business of what stands before it.
    """
    settings = start("INFO")
    for line in unknown():
        hint(line)
    _require(settings)
    with _listening(host, port) as listener:
        hint(f"Listening on {host} port {listener.getsockname()[1]}. Ctrl-C stops it.")
        shell.serve_gateway(listener)


def _require(settings: Settings) -> None:
    """Raises Refusal where it could not do its work."""
    if find_spec("uvicorn") is None or find_spec("starlette") is None:
        raise Refusal(NOT_STARTED, "uvicorn and starlette are not installed.", then=("pip install '.[web]'",))
    if settings.embedded:
        raise Refusal(
            NOT_STARTED,
            "ONBOARDING_BROKER_URL is not set, or memory://: that broker lives in one process, which no other reaches.",
            then=("export ONBOARDING_BROKER_URL=amqp://user:password@host:5672/vhost",),
            code=WRONG_USAGE,
        )
    if not settings.webhook_secrets and not settings.gateway_sources:
        raise Refusal(
            NOT_STARTED,
            "Nobody may post to it: set ONBOARDING_WEBHOOK_SECRETS for Deel, or ONBOARDING_GATEWAY_SOURCES.",
            then=("export ONBOARDING_WEBHOOK_SECRETS=LABEL=KEY",),
            code=WRONG_USAGE,
        )


def _listening(host: str, port: int) -> socket:
    from onboarding.web.protocol import listen  # noqa: PLC0415 - it needs the extra [web]

    try:
        return listen(host, port)
    except OSError as error:
        why = f"Nobody can listen on {host} port {port}: {error.strerror or 'no such address'}."
    raise Refusal(NOT_STARTED, why, then=(f"onboarding gateway --host {host} --port {port % 65535 + 1}",))
