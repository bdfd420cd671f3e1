"""A change of a tenant is true in every region that has a meter of it."""

import pytest

from chalicelib.admission import NoMeter
from chalicelib.admission.memory import MemoryMeters
from chalicelib.admission.meters import Epochs
from chalicelib.admission.regions import EveryRegion
from chalicelib.refusal import Malformed, StoreUnavailable
from chalicelib.tenancy import Change, Tenancy
from chalicelib.tenancy.tenant import Tenant
from tests.admission.arrange import T0, limits
from tests.small_deployments import Chance, Hands, memory


class Down:
    """A region whose store does not answer."""

    def open(self, tenant: str, now_ms: int) -> int:
        raise StoreUnavailable

    def read(self, tenant: str) -> int:
        raise StoreUnavailable

    def bump(self, tenant: str) -> int:
        raise StoreUnavailable


def tenancy(epochs: Epochs) -> Tenancy:
    return Tenancy(memory().documents, epochs, Hands(), Chance())


def test_every_region_gets_a_meter_and_every_change_moves_all_of_them() -> None:
    east, west = MemoryMeters(), MemoryMeters()
    tenants = tenancy(EveryRegion(east, {"us-west-2": west}))
    tenants.create_tenant(Tenant(id="acme", name="Acme"))
    key, _ = tenants.create_key("acme", "owner")
    before = east.read("acme"), west.read("acme")
    tenants.revoke_key("acme", key.id)
    tenants.change_tenant("acme", Change(status="suspended"))
    assert (east.read("acme"), west.read("acme")) == (before[0] + 2, before[1] + 2)


def test_a_region_where_the_tenant_has_no_meter_is_passed_over() -> None:
    east, west = MemoryMeters(), MemoryMeters()
    east.open("acme", T0)
    assert EveryRegion(east, {"us-west-2": west}).bump("acme") == T0 + 1
    with pytest.raises(NoMeter):
        EveryRegion(east, {"us-west-2": west}).bump("nobody")


def test_a_region_that_is_down_keeps_a_revocation_from_no_other() -> None:
    east, west = MemoryMeters(), MemoryMeters()
    for each in (east, west):
        each.open("acme", T0)
    with pytest.raises(StoreUnavailable):
        EveryRegion(east, {"eu-west-1": Down(), "us-west-2": west}).bump("acme")
    assert east.read("acme") == west.read("acme") == T0 + 1
    with pytest.raises(StoreUnavailable):
        EveryRegion(Down(), {"us-west-2": west}).bump("acme")
    assert west.read("acme") == T0 + 2


def test_limits_that_cannot_be_kept_are_refused_whoever_sets_them() -> None:
    tenants = tenancy(MemoryMeters())
    unsound = limits(in_flight=0)
    with pytest.raises(Malformed, match="in_flight must be from 1") as refused:
        tenants.create_tenant(Tenant(id="acme", name="Acme", limits=unsound))
    assert refused.value.field == "limits"
    tenants.create_tenant(Tenant(id="acme", name="Acme"))
    with pytest.raises(Malformed, match="in_flight must be from 1"):
        tenants.change_tenant("acme", Change(limits=unsound))
