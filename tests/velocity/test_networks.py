"""An address is looked up in lists of networks as Python's own ipaddress would, and in no time."""

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.refusal import Malformed
from chalicelib.tenancy.sources import NetworkSource
from chalicelib.velocity.networks import MOST_ENTRIES, ListedNetwork, Networks, must_be_sound, subscriber_of

NOW_MS = 1_795_000_000_000

addresses = st.one_of(
    st.integers(0, 15).map(lambda low: f"203.0.113.{low}"), st.integers(0, 15).map(lambda low: f"2001:db8::{low:x}")
)
networks = st.tuples(addresses, st.integers(0, 5)).map(
    lambda each: str(ip_network((each[0], (128 if ":" in each[0] else 32) - each[1]), strict=False))
)
listed = st.builds(
    ListedNetwork,
    networks,
    st.just("seen"),
    expires_ms=st.one_of(st.none(), st.sampled_from([NOW_MS, NOW_MS + 1])),
)


@given(st.lists(listed, max_size=12, unique_by=lambda each: each.network), addresses)
def test_an_address_is_found_where_it_is_in_a_network_that_counts(entries: list[ListedNetwork], ip: str) -> None:
    found = Networks(entries).entry_for(NetworkSource(ip), NOW_MS)
    meant = [
        each
        for each in entries
        if ip_address(ip) in ip_network(each.network) and (each.expires_ms is None or each.expires_ms > NOW_MS)
    ]
    assert (found is not None) == bool(meant)
    assert found is None or found in meant


def test_ipv4_is_found_however_a_socket_writes_it_and_what_comes_by_a_vpc_endpoint_is_not() -> None:
    lists = Networks([ListedNetwork("203.0.113.0/24", "seen"), ListedNetwork("10.0.0.0/8", "seen")])
    assert lists.entry_for(NetworkSource("::ffff:203.0.113.9"), NOW_MS) is not None
    assert lists.entry_for(NetworkSource("10.1.2.3", "vpce-0123456789abcdef0"), NOW_MS) is None
    assert lists.entry_for(NetworkSource("nowhere"), NOW_MS) is None


def test_a_subscriber_is_counted_once_however_many_addresses_they_have() -> None:
    assert subscriber_of(NetworkSource("2001:db8::1")) == subscriber_of(NetworkSource("2001:db8:0:0:ffff::2"))
    assert subscriber_of(NetworkSource("2001:db8::1")) != subscriber_of(NetworkSource("2001:db8:0:1::1"))
    assert subscriber_of(NetworkSource("::ffff:192.0.2.1")) == subscriber_of(NetworkSource("192.0.2.1"))
    assert subscriber_of(NetworkSource("10.0.0.1", "vpce-0123456789abcdef0")) == "vpce-0123456789abcdef0"


@pytest.mark.parametrize(
    "written",
    [
        *(["203.0.113.9/24"], ["0.0.0.0/0"], ["::/0"], ["::ffff:192.0.2.1"], ["host.example"], ["192.0.2.1"] * 2),
        [f"10.{n >> 8}.{n & 255}.0/24" for n in range(MOST_ENTRIES + 1)],
    ],
)
def test_what_says_everybody_nobody_or_too_much_is_refused(written: list[str]) -> None:
    with pytest.raises(Malformed):
        must_be_sound([ListedNetwork(network, "seen") for network in written])
