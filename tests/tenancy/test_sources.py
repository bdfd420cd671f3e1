"""From where a tenant's callers are let in."""

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.identity import ApiKey, KeyHolder, Signed, identify
from chalicelib.refusal import Forbidden, Malformed, NotFound, Unauthenticated
from chalicelib.tenancy.sources import MOST_SOURCES, NetworkSource, lets_in, must_be_sound
from chalicelib.tenancy.tenant import Sealing
from tests.small_deployments import Deployment, Store

ENDPOINT = "vpce-0123456789abcdef0"
ROLE = "arn:aws:iam::111122223333:role/app"
HERE, ELSEWHERE = NetworkSource("203.0.113.7"), NetworkSource("198.51.100.7")


@pytest.mark.parametrize(
    ("listed", "source"),
    [
        ("203.0.113.0/24", NetworkSource("203.0.113.255")),
        ("203.0.113.7", NetworkSource("203.0.113.7")),
        ("203.0.113.0/24", NetworkSource("::ffff:203.0.113.7")),  # as a socket for both families shows it
        ("2001:db8::/32", NetworkSource("2001:DB8:0::9")),
        (ENDPOINT, NetworkSource("10.0.0.1", ENDPOINT)),
        ("0.0.0.0/0", NetworkSource("192.0.2.1")),
    ],
)
def test_what_comes_from_a_listed_place_is_let_in(listed: str, source: NetworkSource) -> None:
    assert lets_in(("192.0.2.128/25", listed), source)


@pytest.mark.parametrize(
    "source",
    [
        NetworkSource("198.51.100.7"),
        NetworkSource("2001:db9::1"),
        NetworkSource(),
        NetworkSource("unknown"),
        NetworkSource("203.0.113.7", "vpce-0aaaaaaaaaaaaaaa0"),  # addresses of another's VPC say nothing
        NetworkSource(ENDPOINT),
    ],
)
def test_nothing_else_is(source: NetworkSource) -> None:
    assert not lets_in(("203.0.113.0/24", "2001:db8::/32", ENDPOINT), source)


@given(st.ip_addresses(), st.integers(0, 32))
def test_an_address_is_let_in_exactly_by_the_networks_whose_bits_it_begins_with(
    address: IPv4Address | IPv6Address, bits: int
) -> None:
    width = address.max_prefixlen
    first = int(address) >> (width - bits) << (width - bits)
    network = f"{type(address)(first)}/{bits}"
    other = type(address)(int(address) ^ (1 << (width - max(bits, 1))))
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        return
    assert lets_in((network,), NetworkSource(str(address)))
    assert lets_in((network,), NetworkSource(str(other))) == (bits == 0)


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "example.com",
        "203.0.113.7/24",
        "203.0.113.0/33",
        "vpce-",
        "vpce-XYZ",
        "::ffff:203.0.113.0/120",
        "10.0.0.0/8\n",
    ],
)
def test_what_would_let_in_nobody_or_others_than_it_seems_to_is_refused_by_its_place(wrong: str) -> None:
    with pytest.raises(Malformed) as refused:
        must_be_sound(("203.0.113.0/24", wrong))
    assert refused.value.field == "sources[1]"


def test_a_list_is_bounded_and_says_nothing_twice() -> None:
    with pytest.raises(Malformed):
        must_be_sound([f"192.0.2.{number}" for number in range(MOST_SOURCES + 1)])
    with pytest.raises(Malformed):
        must_be_sound(["192.0.2.1", "192.0.2.1"])


@pytest.fixture
def there(store: Store) -> Deployment:
    deployment = Deployment(store)
    deployment.pool()
    deployment.tenant()
    return deployment


def test_a_list_holds_for_a_sandbox_that_remembers_the_one_before_once_it_is_proved(there: Deployment) -> None:
    key, path = ApiKey(there.key()), there.path()
    identify(key, "acme", path.snapshots.fresh, there.clock(), source=ELSEWHERE)
    there.tenancy.sources.put("acme", ("203.0.113.0/24",))
    identify(key, "acme", path.snapshots.fresh, there.clock(), source=HERE)
    for reading in (path.snapshots.fresh, path.snapshots.cached, path.snapshots.held):
        with pytest.raises(Forbidden, match=r"came from 198\.51\.100\.7"):
            identify(key, "acme", reading, there.clock(), source=ELSEWHERE)
    with pytest.raises(Forbidden):
        there.ask(path, key.text)  # which says nowhere that it came from
    there.tenancy.sources.put("acme", ())
    there.ask(path, key.text)


def test_whoever_signs_is_asked_from_where_and_who_has_proved_nothing_is_told_nothing(there: Deployment) -> None:
    there.tenant("bolt", sealing=Sealing("kms"), sources=("203.0.113.0/24",), principals=())
    there.tenancy.principals.put("bolt", [ROLE])
    reading = there.path().snapshots.fresh
    assert identify(Signed(ROLE), None, reading, 0, source=HERE)[0].tenant == "bolt"
    with pytest.raises(Forbidden, match="networks"):
        identify(Signed(ROLE), None, reading, 0, source=ELSEWHERE)
    refusals = []
    for tenant in ("bolt", "nobody"):
        with pytest.raises(Unauthenticated) as refused:
            identify(KeyHolder(None, "esdk"), tenant, reading, 0, source=ELSEWHERE)
        refusals.append(refused.value.text)
    assert len(set(refusals)) == 1


def test_there_is_nothing_to_list_for_a_tenant_that_there_is_not(there: Deployment) -> None:
    with pytest.raises(NotFound):
        there.tenancy.sources.put("nobody", ("203.0.113.0/24",))
