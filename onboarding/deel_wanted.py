"""A webhook subscription as it should be at Deel, what may be wrong with the one that is there, and the remedy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onboarding.runs import Advised

if TYPE_CHECKING:
    from pydantic import SecretStr


@dataclass(frozen=True)
class Wanted:
    """`label`: what Deel calls its name, and sends as `x-deel-hmac-label`."""

    label: str
    url: str
    events: tuple[str, ...]  # sorted

    def document(self, signing_key: SecretStr) -> dict[str, object]:
        """As Deel wants it: every field, enabled, not wrapped in `data`."""
        return {
            "name": self.label,
            "description": "Made by `onboarding webhook create`",
            "status": "enabled",
            "url": self.url,
            "signing_key": signing_key.get_secret_value(),
            "api_version": "v2",
            "events": list(self.events),
        }


class Trouble(Advised):
    """What is wrong with a subscription, and why that matters. `onboarding webhook create` mends each."""

    MISSING = "missing", "Deel has no subscription of this label: no webhook comes."
    DISABLED = (
        "disabled",
        "Deel sends nothing: it disables a subscription after ten failed deliveries. See why the gateway failed first.",
    )
    URL_DIFFERS = "url_differs", "Deel sends its webhooks to another URL than ours."
    EVENTS_DIFFER = "events_differ", "Deel is not asked for the events that we want, or for others beside them."
    KEY_DIFFERS = "key_differs", "Deel signs with another key than ONBOARDING_WEBHOOK_SECRETS has: all are refused."
    DOUBLED = "doubled", "Two subscriptions send every event twice: harmless, and of no use. Delete one of them."
