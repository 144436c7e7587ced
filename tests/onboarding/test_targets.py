"""Where a notification may not go."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onboarding.targets import TargetRefused, deel_root, refuse_address, refuse_form

PRIVATE = [
    *("127.0.0.1", "127.255.255.254", "10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "198.18.0.1"),
    *("192.0.2.1", "::1", "fc00::1", "fec0::1", "::7f00:1", "64:ff9b:1::7f00:1", "2001:db8::1"),
    *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "2002:7f00:1::", "64:ff9b::127.0.0.1", "64:ff9b::10.0.0.1"),
]
NEVER = [
    *("0.0.0.0", "0.0.0.1", "::", "::ffff:0.0.0.0", "169.254.169.254", "fe80::1", "fe80::1%1"),
    *("168.63.129.16", "100.100.100.200", "192.0.0.192", "fd00:ec2::254", "fd20:ce::254"),
    *("::ffff:169.254.169.254", "2002:a9fe:a9fe::", "64:ff9b::169.254.169.254"),
    *("224.0.0.1", "239.1.1.1", "ff02::1", "240.0.0.1", "255.255.255.255"),
]
PUBLIC = ["93.184.216.34", "1.1.1.1", "2606:4700:4700::1111", "::ffff:1.1.1.1", "64:ff9b::1.1.1.1"]


@pytest.mark.parametrize(
    "url",
    [
        *(
            "https://api.letsdeel.com/rest/v2",
            "https://api.letsdeel.com/rest",
            "https://proxy.example:8443/deel/rest/v2",
        ),
        *("http://127.0.0.1:8080/rest/v2", "http://[::1]:8080/rest", "http://localhost/rest/v2"),
    ],
)
def test_deel_has_a_root(url):
    """https, or this machine; with the version in the path or without; a slash at the end does not matter."""
    assert deel_root(url) == deel_root(url + "/") == url


@pytest.mark.parametrize(
    "url",
    [
        *("http://api.letsdeel.com/rest/v2", "http://10.0.0.1/rest/v2", "http://localhost.example/rest"),
        *("https://api.letsdeel.com", "https://api.letsdeel.com/v2", "https://api.letsdeel.com/rest/v3"),
        *("https://api.letsdeel.com/restless", "https:///rest/v2", "https://h:canary/rest", "https://[canary/rest"),
        *("https://h:0/rest", "https://u:canary@h/rest", "https://h/rest?a=canary/rest", "https://h/#canary/rest"),
        *("ftp://h/rest", "h/rest", ""),
    ],
)
def test_what_is_no_root_of_deels_is_refused(url):
    """Every call would answer 404, or carry the token in the clear; the text quotes nothing."""
    with pytest.raises(ValueError, match="Deel's URL") as caught:
        deel_root(url)

    assert "canary" not in f"{caught.value!r} {caught.value}"


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_a_target(address):
    """Whoever is on the internet may be told."""
    refuse_address("hooks.example", address, allow_private=False)


@pytest.mark.parametrize("address", PRIVATE)
def test_a_private_address_is_a_target_only_where_it_is_allowed(address):
    """Loopback, private and documentation networks, also within an IPv6 address, need the setting."""
    with pytest.raises(TargetRefused, match="private"):
        refuse_address("hooks.example", address, allow_private=False)
    refuse_address("hooks.example", address, allow_private=True)


@pytest.mark.parametrize("address", NEVER)
@pytest.mark.parametrize("allow_private", [True, False])
def test_metadata_and_the_like_are_never_targets(address, allow_private):
    """No setting opens link-local, cloud metadata, multicast, unspecified or reserved addresses."""
    with pytest.raises(TargetRefused, match="metadata"):
        refuse_address("hooks.example", address, allow_private=allow_private)


@given(st.ip_addresses(v=4))
def test_an_address_is_judged_alike_however_it_is_wrapped(address):
    """Mapped, 6to4 and NAT64 forms are refused if and only if the IPv4 address within is."""

    def refused(text: str) -> bool:
        try:
            refuse_address("h", text, allow_private=False)
        except TargetRefused:
            return True
        return False

    wrapped = [
        f"::ffff:{address}",
        f"64:ff9b::{address}",
        str(ipaddress.IPv6Address((0x2002 << 112) | (int(address) << 80))),
    ]
    assert {refused(text) for text in wrapped} == {refused(str(address))}


@pytest.mark.parametrize(
    ("scheme", "host", "port", "has_user", "rule"),
    [
        ("ftp", "h.example", 21, False, "only http"),
        ("file", "", 443, False, "only http"),
        ("https", "", 443, False, "no host"),
        ("https", "%5B", 443, False, "no host"),
        ("https", "fe80::1%251", 443, False, "no host"),
        ("https", "h.example", 0, False, "no host"),
        ("https", "h.example", 65536, False, "no host"),
        ("https", "h.example", 443, True, "user"),
        ("http", "h.example", 80, False, "https only"),
    ],
)
def test_a_form_that_no_target_has_is_refused_unresolved(scheme, host, port, has_user, rule):
    """Scheme, host, port and userinfo are judged before any name is asked for."""
    with pytest.raises(TargetRefused, match=rule):
        refuse_form(scheme, host, port, has_user=has_user, allow_private=False)


def test_plain_http_is_a_target_only_where_private_ones_are():
    """The demo's sink has no certificate."""
    refuse_form("http", "127.0.0.1", 8080, has_user=False, allow_private=True)
