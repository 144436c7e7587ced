"""What every door of ours does with a request: read its body within bounds, and end it with a status and a reason."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request

from onboarding.web.protocol import RETRY_AFTER_S

_HOST: Final = re.compile(rb"(?:[A-Za-z0-9._-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")


class Refused(HTTPException):
    """A request ends here, with this status. What of the reason is told is for the door to say."""

    def __init__(self, status: HTTPStatus, reason: str, headers: Mapping[str, str] | None = None) -> None:
        again = {"retry-after": str(RETRY_AFTER_S)} if status is HTTPStatus.SERVICE_UNAVAILABLE else {}
        super().__init__(status, headers={**again, **(headers or {})})
        self.reason = reason
        self.why = ""  # for the log alone

    @property
    def told(self) -> str:
        """The reason, as far as it is the sender's business."""
        return self.reason


def named_headers(request: Request) -> dict[str, bytes]:
    """By name, in lower case; the last of a name counts."""
    return {name.decode("latin-1"): value for name, value in request.scope["headers"]}


def refuse_bad_host(request: Request) -> None:
    """No answer is made of it; but two, or none, or one that is no name are a trick. Source: RFC 9112, 3.2."""
    hosts = [value for name, value in request.scope["headers"] if name == b"host"]
    if len(hosts) != 1 or not _HOST.fullmatch(hosts[0]):
        raise Refused(HTTPStatus.BAD_REQUEST, "bad_host")


async def read_body(request: Request, headers: Mapping[str, bytes], most: int, within_s: float) -> bytes:
    """All of it, as it came. Raises Refused where it is packed, longer than `most`, or slower; ClientDisconnect."""
    if headers.get("content-encoding", b"identity").lower() != b"identity":
        raise Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "packed")
    length = headers.get("content-length", b"0")
    if not length.isdigit() or int(length[:20]) > most:  # the parser knows it to be a number
        raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too_large")
    body = bytearray()
    try:
        async with asyncio.timeout(within_s):
            async for piece in request.stream():
                body += piece
                if len(body) > most:
                    raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too_large")
    except TimeoutError:
        raise Refused(HTTPStatus.REQUEST_TIMEOUT, "body_too_slow") from None
    return bytes(body)
