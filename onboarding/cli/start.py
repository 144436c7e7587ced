"""What each command does first: read the settings, set up logging, open the store that is there."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from onboarding import observe
from onboarding.cli.refusal import Refusal
from onboarding.settings import Settings, load
from onboarding.store.engine import Store
from onboarding.who import who

__all__ = ["open_store", "require_store", "start", "use_the_demos_store", "who"]

FOLDER: Final = Path(".onboarding", "demo")
"""The demo's, beside which a laptop's own store lies."""
DEMOS_STORE: Final = FOLDER / "onboarding.db"


def start(level: str = "WARNING") -> Settings:
    """The settings; from here on log lines go to standard error, and none shows a secret of theirs.

    Raises SettingsError.
    """
    settings = load()
    observe.configure(settings.log_format, level=level)
    for secret in settings.secrets():
        observe.remember_secret(secret)
    return settings


def require_store(settings: Settings) -> None:
    """Raises Refusal where the SQLite file is not there: SQLite would make an empty one for whoever looks."""
    if settings.sqlite_path is not None and not settings.sqlite_path.exists():
        demos = (use_the_demos_store(),) if DEMOS_STORE.exists() else ()
        raise Refusal(
            "there is no store yet",
            f"{settings.sqlite_path} does not exist.",
            then=(*demos, "onboarding up", "onboarding db upgrade"),
        )


def use_the_demos_store() -> str:
    """The command for it."""
    return f"export ONBOARDING_DATABASE_URL={shlex.quote(demos_store_url())}"


def demos_store_url() -> str:
    """Where the demo keeps its runs, for those who look around afterwards."""
    return f"sqlite:///{DEMOS_STORE.absolute()}"


@contextmanager
def open_store(settings: Settings) -> Iterator[Store]:
    """The store, for one command. Raises Refusal where there is none."""
    require_store(settings)
    store = Store(settings.database_url.get_secret_value())
    try:
        yield store
    finally:
        store.close()
