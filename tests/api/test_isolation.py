"""No tenant reaches what is another's, and nobody what their role does not hold: by every route and every credential.

All of it follows from the route table. A route more is here as soon as it is declared; an object more, a parameter of a
path, fails until it is in OBJECTS; a credential more is a line in CREDENTIALS.
"""

from collections.abc import Callable, Iterator, Mapping
from itertools import product
from typing import Any, NamedTuple, get_args

import pytest

import app  # noqa: F401  # fills ROUTES
from chalicelib import wiring
from chalicelib.documents import PLATFORM
from chalicelib.http.own_pages import COOKIE
from chalicelib.http.route import OF_A_TENANT, Route
from chalicelib.http.route_table import ROUTES
from chalicelib.tenancy import PLATFORM_TENANT, Change
from chalicelib.tenancy.tenant import Role
from tests.api.begun import begun
from tests.api.test_permissions import Caller, status_for
from tests.api.test_tokens import operated
from tests.examples import in_turn
from tests.issuer import Issuer, issuing
from tests.small_deployments import Answer, Deployment, Gateway

PUBLIC_URL = "https://cloister.example"
OURS, THEIRS = "bolt", "acme"  # who asks, and whose it is
TENANTS = [route for route in ROUTES if route.path.startswith(OF_A_TENANT)]
KEYED = [route for route in ROUTES if route.auth == "key"]  # those, and where the tenant is named in a header
OBJECTS = {"key", "subject", "session", "response", "model", "job"}
"""What paths below a tenant name: for each, `test_permissions.Caller` has one of `acme`."""

Headers = Mapping[str, str]


Proof = Callable[[Deployment, Issuer, str, Role], Headers]


def _service_key(deployment: Deployment, _: Issuer, tenant: str, role: Role) -> Headers:
    return {"Authorization": f"Bearer {deployment.key(tenant, role)}"}


def _members_key(deployment: Deployment, issuer: Issuer, tenant: str, role: Role) -> Headers:
    """The role is the member's: the key itself says owner."""
    return {"X-API-Key": deployment.key(tenant, "owner", member=_joined(deployment, issuer, tenant, role))}


def _token(deployment: Deployment, issuer: Issuer, tenant: str, role: Role) -> Headers:
    return {"Authorization": f"Bearer {issuer.token(sub=_joined(deployment, issuer, tenant, role))}"}


def _session(deployment: Deployment, _: Issuer, tenant: str, role: Role) -> Headers:
    """In a cookie of each tenant, as no browser has it: whose it is, its name does not decide."""
    text = begun(deployment, tenant, role, f"the-{role}")[1]
    cookies = (f"{COOKIE}{name}={text.text}" for name in (OURS, THEIRS, "nobody", PLATFORM_TENANT))
    return {"Cookie": "; ".join(cookies), "Origin": PUBLIC_URL, "X-Cloister-Page": "1"}


def _joined(deployment: Deployment, issuer: Issuer, tenant: str, role: Role) -> str:
    name = f"the-{role}"
    deployment.tenancy.people.put(tenant, name, role)
    deployment.tenancy.people.join(issuer.url, name, None, of_tenant=None)
    return name


CREDENTIALS: dict[str, Proof] = {
    "a key of the tenant's own": _service_key,
    "a member's key": _members_key,
    "a token": _token,
    "a session": _session,
}
"""What somebody of a tenant who may do what the role may sends to prove it."""

every_credential = pytest.mark.parametrize("proof", CREDENTIALS.values(), ids=CREDENTIALS)


class Asked(NamedTuple):
    route: Route

    @property
    def name(self) -> str:
        return f"{self.route.method} {self.route.path}"

    @property
    def objects(self) -> set[str]:
        return {part[1:-1] for part in self.route.path.split("/") if part.startswith("{")} - {"tenant"}

    def sent(self, caller: Caller, tenant: str, headers: Headers, body: Any = None) -> Answer:
        named = {"X-Tenant-ID": tenant} if self.route.surface == "native" else {}
        path = caller.path(self.name, tenant)
        body = body or caller.body(self.name)
        return caller.gateway.call(self.route.method, path, json=body, headers={**named, **headers})


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with issuing() as issuer:
        yield issuer


@pytest.fixture
def caller(gateway: Gateway, deployment: Deployment, issuer: Issuer) -> Iterator[Caller]:
    """Into `acme`, which has one of everything, and a pool that `bolt` has not."""
    deployment.public_url = PUBLIC_URL
    caller = Caller(gateway, operated(issuer, deployment))
    with wiring.opening_into(deployment.rooms()):
        yield caller


def stored(deployment: Deployment, tenant: str) -> list[Any]:
    documents = [*deployment.store.documents.under(tenant, ""), *deployment.store.documents.under(PLATFORM, "")]
    assert deployment.contents is not None
    return [*documents, deployment.contents.read(tenant, "resp_kept")]


def test_every_object_that_a_path_names_is_known_here() -> None:
    assert {name for route in TENANTS for name in Asked(route).objects} == OBJECTS


@every_credential
@in_turn("route", KEYED)
def test_whoever_is_of_another_tenant_hears_that_there_is_none(
    caller: Caller, route: Route, issuer: Issuer, proof: Proof
) -> None:
    headers = proof(caller.deployment, issuer, OURS, "owner")
    before = stored(caller.deployment, THEIRS)
    answers = [Asked(route).sent(caller, tenant, headers) for tenant in (THEIRS, "nobody", PLATFORM_TENANT)]
    assert [answer.status for answer in answers] == [404] * 3
    assert len({answer.body.replace(request_id(answer), b"") for answer in answers}) == 1
    assert stored(caller.deployment, THEIRS) == before


def request_id(answer: Answer) -> bytes:
    return answer.headers["x-request-id"].encode()


def answered(route: Route, role: Role, proof: Proof) -> int:
    """The status that somebody of `acme` gets."""
    by_oneself: dict[tuple[str, Proof], int]
    by_oneself = {("renew_session", _session): 200, ("leave", _session): 204, ("leave", _token): 204}  # and by no key
    return by_oneself.get((route.name, proof), status_for(Asked(route).name, role))


TRIED = list(product(KEYED, get_args(Role), CREDENTIALS.values()))


@in_turn("route, role, proof", [tried for tried in TRIED if answered(*tried) == 403])
def test_whoever_lacks_the_permission_is_refused_it(
    caller: Caller, route: Route, role: Role, issuer: Issuer, proof: Proof
) -> None:
    answer = Asked(route).sent(caller, THEIRS, proof(caller.deployment, issuer, THEIRS, role))
    assert answer.status == 403, answer.body


@pytest.mark.parametrize(
    ("route", "role", "proof"),
    [tried for tried in TRIED if answered(*tried) != 403],
    ids=lambda each: getattr(each, "name", None) or getattr(each, "__name__", each),
)
def test_whoever_has_it_may_come_in(caller: Caller, route: Route, role: Role, issuer: Issuer, proof: Proof) -> None:
    answer = Asked(route).sent(caller, THEIRS, proof(caller.deployment, issuer, THEIRS, role))
    assert answer.status == answered(route, role, proof), answer.body


@every_credential
@pytest.mark.parametrize("route", [route for route in TENANTS if Asked(route).objects], ids=lambda route: route.name)
def test_an_object_of_another_tenants_is_not_there_under_ones_own_path(
    caller: Caller, route: Route, issuer: Issuer, proof: Proof
) -> None:
    deployment = caller.deployment
    deployment.tenancy.change_tenant(OURS, Change(pools=()))  # what `acme` may use, it may not
    headers = proof(deployment, issuer, OURS, "owner")
    before = stored(deployment, THEIRS)
    answer = Asked(route).sent(caller, OURS, headers)
    if route.name == "put_member":  # whom both invite are two members
        assert answer.status == 200
        assert [member.role for member in deployment.tenancy.people.members(THEIRS)] == ["owner", "developer"]
        return
    assert answer.status == 404, answer.body
    assert stored(deployment, THEIRS) == before
