"""What each process has once: its world, made after the fork, as connections are not shared across one."""

from __future__ import annotations

import threading
from functools import cache

from sentry_sdk.integrations.celery import CeleryIntegration

from onboarding import __version__, observe
from onboarding.masking import remember_secret
from onboarding.settings import Settings
from onboarding.world import World, build
from tasks.publish import publish_notification

_lock = threading.Lock()


def world() -> World:
    """The process's world. Raises SettingsError when a setting that it needs is missing."""
    with _lock:
        return _build()


def forget_world() -> None:
    """After a fork: the parent's connections are not ours to use, nor to close."""
    _build.cache_clear()


def close_world() -> None:
    """Give connections back before the process ends."""
    if _build.cache_info().currsize:
        _build().close()
    _build.cache_clear()


def observe_errors(settings: Settings) -> None:
    """Sentry, if it is configured, and every secret of the settings known to the mask."""
    for secret in settings.secrets():
        remember_secret(secret)
    if settings.sentry_dsn is not None:
        environment = "production" if settings.production else "development"
        observe.init_sentry(
            settings.sentry_dsn,
            release=__version__,
            environment=environment,
            # no traces: their headers would carry the DSN's key in every message
            integrations=[CeleryIntegration(monitor_beat_tasks=False, propagate_traces=False)],
        )


@cache
def _build() -> World:
    from tasks.application import settings  # noqa: PLC0415 - the application imports this module

    return build(settings, publish_notification)
