"""A tenant of a running system with KMS keys of its own, and requests as boto3 and `requests` make them."""

import base64
import json
import re
import secrets
from pathlib import Path
from typing import Any

import boto3
import requests
from openai import OpenAI

import cloister
from local.account import ENCLAVE, tenant_policy
from serving.settings import EnclaveSettings
from tests.e2e.admin import new_tenant
from tests.local.pids import command_line
from tests.local_system import RunningSystem
from tests.patience import PATIENCE_S

REGION = "us-east-1"


def aws(system: RunningSystem, service: str, region: str = REGION) -> Any:
    """A client with the credentials of the tenant's people."""
    return boto3.client(
        service,
        region_name=region,
        endpoint_url=system.env["AWS_ENDPOINT_URL"],
        aws_access_key_id=system.env["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=system.env["AWS_SECRET_ACCESS_KEY"],
    )


def new_key(system: RunningSystem, region: str = REGION, pcr0: str | None = None) -> str:
    """A KMS key that the tenant may use, and an enclave with this measurement."""
    me = aws(system, "sts").get_caller_identity()["Arn"]
    enclave = f"{me.rpartition('/')[0]}/{ENCLAVE}"
    policy = tenant_policy(me, enclave, pcr0 or system.env["CLOISTER_PCR0"])
    arn: str = aws(system, "kms", region).create_key(Policy=json.dumps(policy))["KeyMetadata"]["Arn"]
    return arn


class SealedTenant:
    """One with an owner's API key and, once registered, KMS keys."""

    def __init__(self, system: RunningSystem, name: str, api_key: str, **more: Any) -> None:
        self.system = system
        self.name = name
        self.api_key = api_key
        self.kms = aws(system, "kms")

    @property
    def url(self) -> str:
        return f"{self.system.base_url}/tenants/{self.name}"

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.api_key}"}

    def register(self, arn: str) -> requests.Response:
        """The whole challenge, as `cloister keys register` does it; the first answer that is none, or the last."""
        asked = requests.post(f"{self.url}/kms-keys", json={"key_arn": arn}, headers=self.headers, timeout=PATIENCE_S)
        if not asked.ok:
            return asked
        context = {"tenant_id": self.name, "purpose": "cloister-key-registration"}
        secret = self.kms.decrypt(
            KeyId=arn, CiphertextBlob=base64.b64decode(asked.json()["challenge"]), EncryptionContext=context
        )["Plaintext"]
        context = {"tenant_id": self.name, "purpose": "cloister-key-proof"}
        proof = self.kms.encrypt(KeyId=arn, Plaintext=secret, EncryptionContext=context)["CiphertextBlob"]
        return self.prove(arn, proof)

    def prove(self, arn: str, proof: bytes) -> requests.Response:
        return requests.put(
            f"{self.url}/kms-keys/{arn.rpartition('/')[2]}",
            json={"proof": base64.b64encode(proof).decode()},
            headers=self.headers,
            timeout=PATIENCE_S,
        )

    def sealed(self, arn: str, asked: dict[str, Any]) -> bytes:
        """In mode kms."""
        blob: bytes = self.kms.encrypt(KeyId=arn, Plaintext=json.dumps(asked))["CiphertextBlob"]
        return blob

    def infer(self, body: bytes, arn: str | None = None, **headers: str) -> requests.Response:
        """`POST /inference` with a body that is sealed; header names with _ for -, None leaves one out."""
        sent = {
            "Content-Type": "application/octet-stream",
            "X-Tenant-ID": self.name,
            "X-Model-Pool": "demo",
            "X-Request-ID": f"req-{secrets.token_hex(8)}",
            **self.headers,
            **({"X-KMS-Key-ID": arn} if arn else {}),
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        return requests.post(f"{self.system.base_url}/inference", data=body, headers=sent, timeout=PATIENCE_S)


def sealed_tenant(system: RunningSystem, name: str, **more: Any) -> tuple[SealedTenant, str]:
    """A new tenant, and its registered key."""
    tenant = SealedTenant(system, name, new_tenant(system, name, **more))
    arn = new_key(system)
    registered = tenant.register(arn)
    assert registered.status_code == 200, registered.text
    return tenant, arn


class Sealed:
    """A tenant with a registered key, and official clients of it."""

    def __init__(self, tenant: SealedTenant, arn: str) -> None:
        self.tenant = tenant
        self.arn = arn
        self.system = tenant.system

    def transport(self, mode: Any, form: Any = cloister.SealedTransport, **more: Any) -> Any:
        keyed = {} if mode == "hpke" else {"kms_key_arn": self.arn, "kms_client": aws(self.system, "kms")}
        trusted = {
            "root": self.system.env["CLOISTER_ATTESTATION_ROOT"],
            "measurements": [{0: self.system.env["CLOISTER_PCR0"]}],
        }
        return form(mode=mode, **{**keyed, **trusted, **more})

    def client(self, mode: Any, **more: Any) -> OpenAI:
        return OpenAI(
            base_url=f"{self.tenant.url}/v1",
            api_key=self.tenant.api_key,
            http_client=self.transport(mode, **more),
            max_retries=0,
            timeout=PATIENCE_S,
        )


def enclave_of(system: RunningSystem) -> EnclaveSettings:
    """The running system's enclave, for a container of a test's own."""
    root = Path(system.env["CLOISTER_ATTESTATION_ROOT"])
    (address,) = re.findall(r"--enclave (\S+)", command_line(system.pids()["container-demo"]))
    return EnclaveSettings(address, root.with_name("container.pem"), root, (f"0={system.env['CLOISTER_PCR0']}",))
