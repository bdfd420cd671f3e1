"""`python -m emulators.kms` as its own process, and boto3's unmodified clients of it."""

import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import msgspec
from botocore.config import Config
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from emulators.security_module import Authority, SimulatedSecurityModule
from sealed import cms
from tests.patience import PATIENCE_S

ROOT = Path(__file__).parents[3]
REGION = "us-east-1"
TRUST = '{"Version":"2012-10-17","Statement":[]}'


def now_ms() -> int:
    return time.time_ns() // 1_000_000


class Person(msgspec.Struct, frozen=True):
    """Somebody with an access key."""

    arn: str
    kms: Any
    iam: Any


class Enclave:
    """What KMS takes for an enclave: a key, and documents that vouch for it."""

    def __init__(self, module: SimulatedSecurityModule) -> None:
        self._key = rsa.generate_private_key(65_537, 2048)
        self._module = module

    def recipient(self, public_key: bytes | None = None) -> dict[str, Any]:
        own = self._key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return recipient(self._module.attest(public_key=own if public_key is None else public_key))

    def open(self, answer: Mapping[str, Any]) -> bytes:
        return cms.open_envelope(answer["CiphertextForRecipient"], self._key)


def recipient(document: bytes) -> dict[str, Any]:
    return {"KeyEncryptionAlgorithm": "RSAES_OAEP_SHA_256", "AttestationDocument": document}


class Served:
    """The operator may do everything; whoever else is made here has no policies of their own."""

    def __init__(self, told: dict[str, str], folder: Path) -> None:
        self.url = told["url"]
        self.access_key_id = told["access_key_id"]
        self.root = folder / "root.pem"
        self.authority = Authority.made(now_ms() - 3_600_000)  # so that stale documents fail for nothing else
        self._records = folder / "records.jsonl"
        self._operator = (told["access_key_id"], told["secret_access_key"], None)
        self.kms = self.client("kms", *self._operator)
        self.iam = self.client("iam", *self._operator)
        self._sts = self.client("sts", *self._operator)

    def client(self, service: str, key: str, secret: str, token: str | None = None, region: str = REGION) -> Any:
        return boto3.client(
            service,
            region_name=region,
            endpoint_url=self.url,
            aws_access_key_id=key,
            aws_secret_access_key=secret,
            aws_session_token=token,
            config=Config(retries={"total_max_attempts": 1}),
        )

    def operator_in(self, region: str) -> Any:
        return self.client("kms", *self._operator, region=region)

    def user(self, policy: str | None = None) -> Person:
        name = f"user-{uuid.uuid4().hex}"
        arn = self.iam.create_user(UserName=name)["User"]["Arn"]
        if policy:
            self.iam.put_user_policy(UserName=name, PolicyName="own", PolicyDocument=policy)
        key = self.iam.create_access_key(UserName=name)["AccessKey"]
        return self._person(arn, key["AccessKeyId"], key["SecretAccessKey"])

    def role(self) -> str:
        created = self.iam.create_role(RoleName=f"role-{uuid.uuid4().hex}", AssumeRolePolicyDocument=TRUST)
        return str(created["Role"]["Arn"])

    def assumed(self, role_arn: str, **narrowed: str) -> Person:
        said = self._sts.assume_role(RoleArn=role_arn, RoleSessionName="one", **narrowed)
        key = said["Credentials"]
        arn = said["AssumedRoleUser"]["Arn"]
        return self._person(arn, key["AccessKeyId"], key["SecretAccessKey"], key["SessionToken"])

    def key(self, policy: str | None = None, **parameters: Any) -> str:
        """The ARN of a new key; with the default policy, its account decides."""
        given = {"Policy": policy} if policy else {}
        return str(self.kms.create_key(**given, **parameters)["KeyMetadata"]["Arn"])

    def enclave(self, pcrs: Mapping[int, bytes] | None = None, *, age_ms: int = 0) -> Enclave:
        return Enclave(SimulatedSecurityModule(self.authority, clock=lambda: now_ms() - age_ms, pcrs=pcrs))

    def records(self, key_arn: str) -> list[dict[str, Any]]:
        """What was recorded of this key."""
        told = [json.loads(line) for line in self._records.read_text().splitlines()]
        return [each for each in told if key_arn in [resource["ARN"] for resource in each["resources"]]]

    def _person(self, arn: str, *key: str) -> Person:
        return Person(arn, self.client("kms", *key), self.client("iam", *key))


@contextmanager
def served(folder: Path) -> Iterator[Served]:
    """Its root's file is not there yet."""
    told, tell = os.pipe()
    files = ["--attestation-root", str(folder / "root.pem"), "--records", str(folder / "records.jsonl")]
    process = subprocess.Popen(
        [sys.executable, "-m", "emulators.kms", *files, "--ready-fd", str(tell)], pass_fds=[tell], cwd=ROOT
    )
    os.close(tell)
    try:
        with os.fdopen(told) as ready:
            line = ready.readline()
        assert line, "the local KMS did not start"
        yield Served(json.loads(line), folder)
    finally:
        process.terminate()
        process.wait(PATIENCE_S)
