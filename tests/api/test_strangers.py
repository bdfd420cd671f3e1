"""Whom nobody knows learns from no answer, nor from how long it takes, which tenants there are.

What is counted is what a stranger costs the store: the same, whatever is wrong with what they bring, whichever tenant
it names, and whether this gateway remembers that tenant or not.
"""

from collections.abc import Iterable
from itertools import product

import msgspec
import pytest

import app  # noqa: F401  # fills ROUTES
from chalicelib import wiring
from chalicelib.admission.memory import MemoryMeters
from chalicelib.documents import Document
from chalicelib.documents.memory import MemoryDocuments
from chalicelib.http.route import OF_A_TENANT, SEALED_TYPE, Route
from chalicelib.http.route_table import ROUTES
from chalicelib.inference import Path
from chalicelib.tenancy import PLATFORM_TENANT, Change
from chalicelib.tenancy.key_text import KeyText, mint, parse
from chalicelib.tenancy.snapshot import MOST_KEYS, MOST_TENANTS
from chalicelib.tenancy.tenant import Key, Tenant
from chalicelib.velocity.reputation import HEAD
from tests.api.begun import begun
from tests.api.paths import filled
from tests.api.test_permissions import TABLE
from tests.examples import every, in_turn
from tests.small_deployments import Answer, Deployment, Gateway, memory

A_STRANGER = ["epoch", "document"]
PAGE = "https://app.example.com"
KEYED = [route for route in ROUTES if route.permission != "public" and route.auth != "signed"]
SEALERS = [route for route in ROUTES if route.seals or route.for_sealers]
OF_TENANTS = [route for route in ROUTES if route.path.startswith(OF_A_TENANT)]
GATEWAYS = ("warm", "cold")
TENANTS = ("acme", "bolt", "nobody", PLATFORM_TENANT)
FORMLESS = (None, "", "sk-1", "ck_acme", "ck_ACME.aaaaaaaa_" + "A" * 43, "ck_~platform.aaaaaaaa_" + "A" * 43)


class Reads:
    """What was read of the store, in order, since it was last asked."""

    def __init__(self) -> None:
        self._read: list[str] = []

    def note(self, what: str) -> None:
        self._read.append(what)

    def taken(self) -> list[str]:
        read, self._read = self._read, []
        return read


class CountedMeters(MemoryMeters):
    def __init__(self, reads: Reads) -> None:
        super().__init__()
        self._reads = reads

    def read(self, tenant: str) -> int:
        self._reads.note("epoch")
        return super().read(tenant)


class CountedDocuments(MemoryDocuments):
    def __init__(self, reads: Reads) -> None:
        super().__init__()
        self._reads = reads

    def get(self, tenant: str, name: str) -> Document | None:
        if name != HEAD:  # which each process reads once in a while, whoever comes then
            self._reads.note("document")
        return super().get(tenant, name)

    def under(self, tenant: str, prefix: str) -> Iterable[Document]:
        self._reads.note("documents")
        return super().under(tenant, prefix)


class House:
    """A deployment in which what is read is counted; a gateway of it that remembers all its tenants, and a new one."""

    def __init__(self, gateway: Gateway) -> None:
        self.reads = Reads()
        store = memory()
        counted = {"meters": CountedMeters(self.reads), "documents": CountedDocuments(self.reads)}
        self.deployment = Deployment(msgspec.structs.replace(store, **counted))
        self.deployment.pool()
        self.deployment.tenancy.create_tenant(Tenant(id=PLATFORM_TENANT, name="The operator"))
        for tenant in ("acme", "bolt"):
            self.deployment.tenant(tenant)
        self._gateway = gateway

    def wrong_keys(self) -> dict[str, str]:
        """Of each kind there is; those that ended were good and remembered before."""
        deployment = self.deployment
        good, revoked = deployment.key("acme"), deployment.key("acme")
        expired = deployment.key("acme", expires_ms=deployment.clock() + 1)
        self.warm = self.deployment.path()
        for key in (good, revoked, expired, deployment.key("bolt"), deployment.key(PLATFORM_TENANT)):
            remember(self.warm, key, deployment.clock())
        deployment.tenancy.revoke_key("acme", taken_apart(revoked).key_id)
        deployment.clock.now_ms += 1
        remember(self.warm, good, deployment.clock())  # as of the newest epoch
        other_secret = KeyText("acme", taken_apart(good).key_id, "A" * 43).text
        return {
            "of no tenant": mint("nobody", bytes(37)).text,
            "of no key": mint("acme", bytes(37)).text,
            "of the platform": mint(PLATFORM_TENANT, bytes(37)).text,
            "with another secret": other_secret,
            "revoked": revoked,
            "expired": expired,
        }

    def gateway(self, which: str) -> Path:
        """The one that remembers all its tenants, or a new one."""
        return self.warm if which == "warm" else self.deployment.path()

    def costs(self, path: Path, route: Route, tenant: str, key: str | None, **headers: str) -> tuple[list[str], Answer]:
        """What is read for one request, and its answer."""
        there = filled(route.path, tenant=tenant, session="acme.aaaaaaaa")
        sent = {"Content-Type": "application/json", "X-Tenant-ID": tenant, **headers}
        body = msgspec.json.encode(TABLE[route.called].body or {})
        with wiring.opening_into(self.deployment.rooms(path)):
            self.reads.taken()
            answer = self._gateway.call(route.method, there, key=key, body=body, headers=sent)
            return self.reads.taken(), answer

    def preflight(self, path: Path, tenant: str) -> tuple[list[str], Answer]:
        with wiring.opening_into(self.deployment.rooms(path)):
            self.reads.taken()
            answer = self._gateway.call("OPTIONS", f"/tenants/{tenant}/v1/models", headers={"Origin": PAGE})
            return self.reads.taken(), answer


@pytest.fixture
def house(gateway: Gateway) -> House:
    return House(gateway)


def remember(path: Path, text: str, now_ms: int) -> None:
    token = taken_apart(text)
    assert path.snapshots.fresh.keyed(Key, token.tenant, token.key_id, lambda key: key.valid(now_ms)) is not None


def taken_apart(text: str) -> KeyText:
    token = parse(text)
    assert token is not None
    return token


@in_turn("route", KEYED)
def test_every_wrong_key_costs_the_same_at_every_door(house: House, route: Route) -> None:
    keys = house.wrong_keys()
    for kind, tenant, which in every(list(product(keys, TENANTS, GATEWAYS)), KEYED.index(route)):
        read, answer = house.costs(house.gateway(which), route, tenant, keys[kind])
        assert (answer.status, read) == (401, A_STRANGER), (kind, tenant, which)


@in_turn("route", KEYED)
def test_what_has_not_the_form_of_a_key_costs_nothing(house: House, route: Route) -> None:
    house.wrong_keys()
    for key, tenant in every(list(product(FORMLESS, TENANTS)), KEYED.index(route)):
        read, answer = house.costs(house.warm, route, tenant, key)
        asked_of_the_tenant = not key and route.for_sealers  # see the next test
        assert (answer.status, read) == (401, A_STRANGER if asked_of_the_tenant else []), (key, tenant)


@in_turn("route", SEALERS)
def test_who_seals_without_a_key_costs_the_same_where_a_tenant_does_not_open_to_that(
    house: House, route: Route
) -> None:
    house.wrong_keys()
    for tenant in ("acme", "bolt", "nobody", PLATFORM_TENANT):
        for which in GATEWAYS:
            read, answer = house.costs(
                house.gateway(which),
                route,
                tenant,
                None,
                **{"Content-Type": SEALED_TYPE, "X-Seal-Mode": "esdk", "X-Model-Pool": "p"},
            )
            assert (answer.status, read) == (401, A_STRANGER)
    for nobody in ("~platform", "A", "a" * 3_000):
        read, answer = house.costs(
            house.warm, route, nobody, None, **{"Content-Type": SEALED_TYPE, "X-Seal-Mode": "esdk", "X-Model-Pool": "p"}
        )
        assert (answer.status, read) == (401, [])


@in_turn("route", OF_TENANTS)
def test_a_page_that_is_not_listed_costs_the_same_whichever_tenant_it_names(house: House, route: Route) -> None:
    keys = house.wrong_keys()
    kinds = ("of no tenant", "with another secret")
    for kind, tenant, which in every(list(product(kinds, TENANTS, GATEWAYS)), OF_TENANTS.index(route)):
        read, answer = house.costs(house.gateway(which), route, tenant, keys[kind], Origin=PAGE)
        assert (answer.status, read) == (401, A_STRANGER * 2), (kind, tenant, which)
        assert "access-control-allow-origin" not in answer.headers


def test_a_preflight_that_is_refused_costs_the_same_whichever_tenant_it_names(house: House) -> None:
    house.wrong_keys()
    for tenant in TENANTS:
        for which in GATEWAYS:
            read, answer = house.preflight(house.gateway(which), tenant)
            assert (answer.status, read) == (403, A_STRANGER)


def test_who_is_of_another_tenant_costs_the_same_whichever_they_name(house: House) -> None:
    (route,) = (route for route in ROUTES if route.name == "list_models")
    house.wrong_keys()
    key = house.deployment.key("acme")
    remember(house.warm, key, house.deployment.clock())
    for tenant in ("bolt", "nobody", PLATFORM_TENANT):
        read, answer = house.costs(house.warm, route, tenant, key)
        assert (answer.status, read) == (404, ["epoch"])
        read, answer = house.costs(house.warm, route, tenant, key, Origin=PAGE)
        assert (answer.status, read) == (404, ["epoch", *A_STRANGER])


def test_who_is_known_and_listed_costs_nothing_more(house: House) -> None:
    (route,) = (route for route in ROUTES if route.name == "list_models")
    house.deployment.tenancy.change_tenant("acme", Change(origins=(PAGE,)))
    key, path = house.deployment.key("acme"), house.deployment.path()
    remember(path, key, house.deployment.clock())
    for origin in (PAGE, "https://other.example.com"):
        read, answer = house.costs(path, route, "acme", key, Origin=origin)
        assert (answer.status, read) == (200, ["epoch"])
        assert answer.headers.get("access-control-allow-origin") == (PAGE if origin == PAGE else None)


def test_every_wrong_session_costs_the_same(house: House) -> None:
    (route,) = (route for route in ROUTES if route.name == "list_models")
    house.wrong_keys()
    _, known = begun(house.deployment)
    others = (mint("bolt", bytes(37), "cs"), mint("nobody", bytes(37), "cs"))
    for text in (msgspec.structs.replace(known, secret="A" * 43).text, *(other.text for other in others)):
        for tenant, which in product(TENANTS, GATEWAYS):
            cookie = {"Cookie": f"__Host-cloister-{tenant}={text}"}
            read, answer = house.costs(house.gateway(which), route, tenant, None, **cookie)
            assert (answer.status, read) == (401, A_STRANGER), (text, tenant, which)


def test_no_flood_of_wrong_keys_drives_a_good_one_out_of_memory(house: House) -> None:
    key, path = house.deployment.key("acme"), house.deployment.path()
    known = taken_apart(key)
    remember(path, key, house.deployment.clock())
    for number in range(max(MOST_KEYS, MOST_TENANTS) + 1):
        chance = number.to_bytes(37)[::-1]
        for stranger in (mint("acme", chance), mint(f"t{number}", chance)):
            assert path.snapshots.cached.keyed(Key, stranger.tenant, stranger.key_id, lambda _: True) is None
        assert path.snapshots.cached.keyed(Key, "acme", known.key_id, lambda _: False) is None
        assert path.snapshots.fresh.where(f"t{number}", lambda _: True) is None
    house.reads.taken()
    assert path.snapshots.cached.keyed(Key, "acme", known.key_id, lambda held: known.matches(held.digest)) is not None
    assert house.reads.taken() == []
