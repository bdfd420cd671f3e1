"""Two tenants who seal, through HTTP: their people, their KMS, and the enclave between."""

import base64
from typing import Any

from chalicelib.engines.scripted import ScriptedEngine, whole, words
from chalicelib.pool import Pool, Scripted
from chalicelib.refusal import Refusal
from chalicelib.tenancy import PLATFORM_TENANT, Change
from chalicelib.tenancy.tenant import Role
from tests.small_deployments import TICKET_KEY, Answer, Deployment, Gateway
from tests.tickets.enclaves import Enclave, Kms


class Sealer:
    """Sends what acme or bolt would send; the pool `sealed` has an enclave, `model-a` has none."""

    def __init__(self, gateway: Gateway, deployment: Deployment) -> None:
        self.gateway = gateway
        self.deployment = deployment
        self.kms = Kms()
        self.enclave = Enclave(self.kms, deployment.clock, TICKET_KEY)
        self.says: Refusal | bytes | None = None
        """What the target answers instead of its enclave."""
        deployment.engine = ScriptedEngine(
            lambda _, call: words("hello") if call.stream else whole("hello"),
            consult=lambda target, question: self.says or self.enclave(target, question),
        )
        deployment.tenancy.put_pool(Pool("sealed", (Scripted("s", url="s"),), sealed=True))
        for tenant in ("acme", "bolt"):
            deployment.tenancy.change_tenant(tenant, Change(pools=("model-a", "sealed")))

    def __call__(
        self, method: str, path: str, body: Any = None, *, tenant: str = "acme", role: Role = "owner", **scopes: Any
    ) -> Answer:
        key = self.deployment.key(tenant, role, **scopes)
        return self.gateway.call(method, f"/tenants/{tenant}{path}", key=key, json=body)

    def operator(self, method: str, path: str, body: Any = None) -> Answer:
        return self.gateway.call(method, f"/admin{path}", key=self.deployment.key(PLATFORM_TENANT), json=body)

    def challenged(self, arn: str, tenant: str = "acme") -> Answer:
        return self("POST", "/kms-keys", {"key_arn": arn}, tenant=tenant)

    def proof(self, arn: str, challenge: str, tenant: str = "acme") -> str:
        """What the tenant makes of its challenge, with its own right to the key."""
        secret = self.kms.decrypt(
            arn, base64.b64decode(challenge), tenant_id=tenant, purpose="cloister-key-registration"
        )
        return base64_of(self.kms.encrypt(arn, secret, tenant_id=tenant, purpose="cloister-key-proof"))

    def proved(self, arn: str, proof: str, tenant: str = "acme", **scopes: Any) -> Answer:
        return self("PUT", f"/kms-keys/{id_of(arn)}", {"proof": proof}, tenant=tenant, **scopes)

    def register(self, arn: str, tenant: str = "acme") -> Answer:
        challenge = self.challenged(arn, tenant)
        assert challenge.status == 201, challenge.body
        return self.proved(arn, self.proof(arn, challenge.json["challenge"], tenant), tenant)

    def keys(self, tenant: str = "acme") -> list[str]:
        return [key["key_arn"] for key in self("GET", "/kms-keys", tenant=tenant).json["keys"]]


def id_of(arn: str) -> str:
    return arn.rpartition("/")[2]


def base64_of(data: bytes) -> str:
    return base64.b64encode(data).decode()
