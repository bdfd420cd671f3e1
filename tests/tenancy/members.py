"""Tenants with people, for the tests of who belongs to them and what their keys may."""

from chalicelib.identity import ApiKey, identify
from chalicelib.refusal import Unauthenticated
from chalicelib.tenancy.snapshot import Reading
from chalicelib.tenancy.tenant import Member
from tests.small_deployments import Deployment, Store

OURS = "https://login.example.com"
THEIRS = "https://login.bolt.example"


def deployed(store: Store | None = None) -> Deployment:
    deployment = Deployment(store)
    deployment.pool("model-a")
    deployment.tenant("acme")
    deployment.tenant("bolt")
    return deployment


def joined(there: Deployment, name: str = "ada", role: str = "developer", tenant: str = "acme") -> Member:
    """A member who has signed in."""
    there.tenancy.people.put(tenant, name, role)
    there.tenancy.people.join(OURS, name, None, of_tenant=None)
    return next(member for member in there.tenancy.people.members(tenant) if member.subject == name)


def person(reading: Reading, sub: str = "ada", tenant: str = "acme", issuer: str = OURS) -> Member | None:
    known = reading.person(tenant, issuer, sub)
    return known and known[0]


def opens(there: Deployment, reading: Reading, text: str) -> bool:
    try:
        identify(ApiKey(text), "acme", reading, there.clock())
    except Unauthenticated:
        return False
    return True
