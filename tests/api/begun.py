"""Sessions that have begun, without a browser."""

from chalicelib.tenancy.key_text import KeyText
from chalicelib.tenancy.sessions import Lifetime, Session
from chalicelib.tenancy.tenant import Role
from tests.small_deployments import Deployment

LIFETIME = Lifetime(1_800_000, 43_200_000)


def begun(
    deployment: Deployment, tenant: str = "acme", role: Role = "owner", name: str = "ada"
) -> tuple[Session, KeyText]:
    """A session of a member of that role, who has joined and signed in."""
    issuer = deployment.issuers[0].url if deployment.issuers else "https://login.example.com"
    deployment.tenancy.people.put(tenant, name, role)
    deployment.tenancy.people.join(issuer, name, None, of_tenant=None)
    member = next(each for each in deployment.tenancy.people.members(tenant) if each.subject == name)
    return deployment.tenancy.sessions.begin(tenant, member, LIFETIME, "192.0.2.7", "a browser")
