"""Where a notification may not go, and what Deel's URL looks like.

Pure: it judges URLs and addresses, it neither resolves nor connects.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Final
from urllib.parse import urlsplit

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


class TargetRefused(ValueError):  # noqa: N818 - says what happened to the target
    """The URL is no place that a notification may go to. Names the rule and the host, never path or query."""


NEVER: Final = tuple(
    map(
        ipaddress.ip_network,
        [
            *("0.0.0.0/8", "::/128"),  # "this host": connects to ourselves
            *("169.254.0.0/16", "fe80::/10"),  # link-local; most clouds' metadata
            *("168.63.129.16/32", "100.100.100.200/32", "192.0.0.192/32"),  # metadata: Azure, Alibaba, Oracle
            *("fd00:ec2::254/128", "fd20:ce::254/128"),  # metadata over IPv6: AWS, Google
            *("224.0.0.0/4", "ff00::/8"),  # multicast
            "240.0.0.0/4",  # reserved, broadcast
        ],
    )
)
GLOBAL_UNICAST: Final = ipaddress.IPv6Network("2000::/3")
NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")


def deel_root(url: str) -> str:
    """Deel's base URL without a slash at its end. Raises ValueError for what is none; its text quotes nothing.

    Plain http is for a Deel on this machine only: the organisation's token travels with every request.
    """
    root = url.rstrip("/")
    try:
        parts = urlsplit(root)
        host = parts.hostname if parts.port != 0 else None
    except ValueError:  # its text quotes what should have been a port
        parts, host = urlsplit(""), None
    if not host or "@" in parts.netloc or parts.query or parts.fragment:
        raise ValueError("Deel's URL takes a host, and neither user, query nor fragment")
    if parts.scheme != "https" and not (parts.scheme == "http" and _is_here(host)):
        raise ValueError("Deel's URL begins with https://")
    if not root.endswith(("/rest", "/rest/v2")):
        raise ValueError("Deel's URL ends in /rest or /rest/v2")
    return root


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def refuse_form(scheme: str, host: str, port: int, *, has_user: bool, allow_private: bool) -> None:
    """Raise TargetRefused for a URL that needs no look at its address."""
    if scheme not in ("http", "https"):
        raise TargetRefused("only http and https")
    if not re.fullmatch(r"[A-Za-z0-9._:-]+", host) or port not in range(1, 1 << 16):
        raise TargetRefused("it names no host and port")
    if has_user:
        raise TargetRefused(f"{host}: no user or password in the URL")
    if scheme == "http" and not allow_private:
        raise TargetRefused(f"{host}: https only")


def refuse_address(host: str, address: str, *, allow_private: bool) -> None:
    """Raise TargetRefused for an address that may not be connected to; `host` is the name that led to it."""
    ip = _led_to(ipaddress.ip_address(address))
    if any(ip in network for network in NEVER):
        raise TargetRefused(f"{host}: link-local, metadata, multicast and reserved addresses are no targets")
    if not (allow_private or _public(ip)):
        raise TargetRefused(f"{host}: private addresses are no targets")


def _public(ip: IPAddress) -> bool:
    return ip.is_global and (isinstance(ip, ipaddress.IPv4Address) or ip in GLOBAL_UNICAST)


def _led_to(ip: IPAddress) -> IPAddress:
    """The IPv4 address within a mapped, 6to4 or NAT64 one, as that is where it leads; else the address."""
    if isinstance(ip, ipaddress.IPv4Address):
        return ip
    if ip in NAT64:
        return ipaddress.IPv4Address(int(ip) & 0xFFFF_FFFF)
    return ip.ipv4_mapped or ip.sixtofour or ip
