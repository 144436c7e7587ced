"""Deel White Label onboarding: the domain. It knows neither Celery nor a web framework."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onboarding.acting import AsWorker

__version__ = "0.1.0"


def as_worker(contract_id: str, because: str, *, who: str | None = None) -> AsWorker:
    """Act as a contract's worker: `with` gives an httpx client that carries its token, `async with` the async one.

        with onboarding.as_worker("c-42", because="fetch payslips") as deel:
            deel.get("/people/me")

    The token is renewed when it is about to expire, or is refused once; `because` and `who` (the process's user, where
    none is named) go into the audit. Raises onboarding.no_token.NoToken where there is none, SettingsError.
    """
    from onboarding.acting import as_worker as act  # noqa: PLC0415 - `import onboarding` alone loads no HTTP client

    return act(contract_id, because, who=who)
