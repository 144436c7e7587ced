"""Who acts: the name for the audit line."""

from __future__ import annotations

import getpass
import os


def who() -> str:
    """The user of this process."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user has no name
        return f"uid {os.getuid()}"
