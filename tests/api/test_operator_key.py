"""The access key in `.local/env` is the operator's: it signs for the admin surface of the running system."""

from urllib.parse import urlsplit

from tests.api.signing import signed
from tests.local_system import RunningSystem
from tests.small_deployments import Answer, Gateway


def test_the_access_key_of_the_env_file_opens_the_admin_surface(running_system: RunningSystem) -> None:
    env, where = running_system.env, urlsplit(running_system.base_url)

    def tenants(secret: str) -> Answer:
        headers = signed(
            "GET",
            f"{running_system.base_url}/admin/tenants",
            key_id=env["AWS_ACCESS_KEY_ID"],
            secret=secret,
            region=env["AWS_REGION"],
        )
        return Gateway(where.hostname or "", where.port or 0).call("GET", "/admin/tenants", headers=headers)

    listed = tenants(env["AWS_SECRET_ACCESS_KEY"])
    assert running_system.tenant in [tenant["id"] for tenant in listed.json["tenants"]]
    assert tenants(env["AWS_SECRET_ACCESS_KEY"][::-1]).status == 403
