"""Messages are taken as they came: kombu would unpack any that has the header `compression`, before anybody looks.

A few kilobytes can be gigabytes then, for whoever may write to a queue of ours. Nothing of ours is compressed.
"""

from __future__ import annotations

from typing import NoReturn

from kombu import compression


class Unasked(ValueError):  # noqa: N818 - what it is
    """Somebody sent something compressed."""


def unpack_nothing() -> None:
    """In this process, from now on. May be called again."""
    for content_type in compression.encoders():
        packs, _ = compression.get_encoder(content_type)
        compression.register(packs, _refuse, content_type)


def _refuse(_body: object) -> NoReturn:
    raise Unasked
