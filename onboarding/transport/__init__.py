"""The one package that knows httpx."""

from onboarding.targets import TargetRefused
from onboarding.transport.apps import Acting, AsyncClient, Client, TransportError, async_client_of, client_of
from onboarding.transport.http import CheckedTarget, Http, NoReply, Reply, check_target, post_to_target

__all__ = [
    "Acting",
    "AsyncClient",
    "CheckedTarget",
    "Client",
    "Http",
    "NoReply",
    "Reply",
    "TargetRefused",
    "TransportError",
    "async_client_of",
    "check_target",
    "client_of",
    "post_to_target",
]
