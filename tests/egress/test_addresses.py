"""Which URLs and addresses may be called: one spelling, and nothing that leads inside."""

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.egress import NotCallable
from chalicelib.egress.addresses import is_public, must_be_callable, url_of

INSIDE = (
    *("127.0.0.1", "127.255.255.254", "0.0.0.0", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1"),
    *("169.254.169.254", "169.254.170.2", "100.64.0.1", "100.127.255.255", "192.0.0.8", "192.0.2.1", "192.88.99.1"),
    *("198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255"),
    *("::", "::1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::127.0.0.1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1"),
    *("2002:a9fe:a9fe::1", "2001:0:a9fe:a9fe::1", "2001:db8::1", "3fff::1", "fd00:ec2::254", "fe80::1", "fec0::1"),
    *("ff02::1", "100::1", "4000::1", "5f00::1"),
)
OUTSIDE = ("8.8.8.8", "1.1.1.1", "100.63.255.255", "100.128.0.1", "172.32.0.1", "2606:4700::1111", "2a00:1450:4001::1")

UNREADABLE = (
    *("", "issuer.example", "//issuer.example", "ftp://issuer.example", "https:/issuer.example", "https://"),
    *("https://user@issuer.example", "https://user:word@127.0.0.1", "https://issuer.example@127.0.0.1/"),
    *("https://issuer.example\\@127.0.0.1", "https://issuer.example/a\\b", "https://issuer.example/#a"),
    *(
        "https://issuer.example/\r\nHost: x",
        "https://issuer.example/ a",
        "https://issuer\t.example",
        "https://a\0.example",
    ),
    *("https://2130706433", "https://0177.0.0.1", "https://0x7f.0.0.1", "https://0x7f000001", "https://127.1"),
    *("https://127.0.0.01", "https://256.1.1.1", "https://1.2.3.4.5", "https://issuer.0x7f", "https://0x"),
    *("https://１２７.0.0.1", "https://ⓛocalhost", "https://bücher.example", "https://issuer.example。"),
    *(
        "https://issuer.example.",
        "https://.issuer.example",
        "https://a..example",
        "https://-a.example",
        "https://a_b.example",
    ),
    *("https://[issuer.example]", "https://[::1", "https://::1", "https://[fe80::1%eth0]", "https://[127.0.0.1]"),
    *(
        "https://issuer.example:0",
        "https://issuer.example:99999",
        "https://issuer.example:+443",
        "https://issuer.example:",
    ),
    *("https://%31%32%37.0.0.1", f"https://issuer.example/{'a' * 1_000}", f"https://{'a' * 64}.example", "https://a\n"),
)


@pytest.mark.parametrize("address", INSIDE)
def test_an_address_that_leads_inside_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", OUTSIDE)
def test_a_servers_address_is_public(address: str) -> None:
    assert is_public(address)


@given(st.integers(0, 2**32 - 1))
def test_no_disguise_of_an_ipv4_address_is_public(number: int) -> None:
    high, low = f"{number >> 16:x}", f"{number & 0xFFFF:x}"
    for disguise in (f"::ffff:{high}:{low}", f"::{high}:{low}", f"64:ff9b::{high}:{low}", f"2002:{high}:{low}::1"):
        assert not is_public(disguise)


@given(st.ip_addresses())
def test_what_python_calls_private_is_never_public(address: IPv4Address | IPv6Address) -> None:
    assert not (is_public(str(address)) and (address.is_private or address.is_multicast or address.is_reserved))


@pytest.mark.parametrize("text", UNREADABLE)
def test_what_could_be_read_in_two_ways_is_no_url(text: str) -> None:
    with pytest.raises(NotCallable):
        url_of(text)


@pytest.mark.parametrize("address", [*INSIDE, "localhost.", "0"])
def test_no_url_of_an_address_inside_is_callable(address: str) -> None:
    for host in (address, f"[{address}]"):
        with pytest.raises(NotCallable):
            must_be_callable(url_of(f"https://{host}/latest/meta-data/"))


def test_a_public_server_is_callable_over_tls_alone() -> None:
    must_be_callable(url_of("https://login.example.com:8443/a/.well-known/openid-configuration?p=b_1"))
    must_be_callable(url_of("https://[2606:4700::1111]/"))
    with pytest.raises(NotCallable, match="https"):
        must_be_callable(url_of("http://login.example.com/"))


@pytest.mark.parametrize(
    ("text", "origin", "target"),
    [
        ("https://Login.Example.com", "https://login.example.com", "/"),
        ("https://login.example.com:443/a?b=c", "https://login.example.com", "/a?b=c"),
        ("http://127.0.0.1:5000?b", "http://127.0.0.1:5000", "/?b"),
        ("https://[2606:4700::1111]:8443/a", "https://[2606:4700::1111]:8443", "/a"),
    ],
)
def test_a_url_is_taken_apart_as_it_goes_over_the_wire(text: str, origin: str, target: str) -> None:
    url = url_of(text)
    assert (url.origin, url.target) == (origin, target)


@given(st.text(max_size=60))
def test_any_text_is_a_url_or_refused(text: str) -> None:
    for scheme in ("", "https://", "http://"):
        try:
            url = url_of(scheme + text)
        except NotCallable:
            continue
        assert url.name.isascii()
        assert "@" not in url.origin
