"""The audit of the running system: its log, its chains, and the key that signs its days."""

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from tests.e2e.admin import admin, new_tenant
from tests.e2e.test_signed import gateway, govcloud
from tests.local.iam.signers import Asked, by_botocore
from tests.local_system import RunningSystem

ROOT = Path(__file__).parents[2]
PROMPT = "A prompt that no audit keeps."


@pytest.fixture(scope="module")
def asked(running_system: RunningSystem) -> str:
    """The id of a request that was answered."""
    body = {"model": "demo-direct", "messages": [{"role": "user", "content": PROMPT}], "max_tokens": 4}
    answer = gateway(running_system).call(
        "POST", f"/tenants/{running_system.tenant}/v1/chat/completions", key=running_system.api_key, json=body
    )
    assert answer.status == 200, answer.body
    return answer.headers["x-request-id"]


def test_the_govcloud_client_finds_the_request_in_its_log(running_system: RunningSystem, asked: str) -> None:
    where, keys = gateway(running_system), govcloud(running_system)
    answer = by_botocore(keys, Asked("GET", "/v1/dashboard/requests?limit=100"), where)
    (logged,) = [each for each in answer.json["requests"] if each["requestId"] == asked]
    assert (logged["tenantId"], logged["modelId"], logged["success"]) == (running_system.tenant, "demo-direct", True)
    assert answer.json["totals"]["count"] >= 1
    table = by_botocore(keys, Asked("GET", "/v1/dashboard/requests?format=csv"), where)
    assert asked in table.body.decode() and PROMPT not in table.body.decode()


def test_an_auditor_verifies_the_day_of_the_request(running_system: RunningSystem, asked: str, tmp_path: Path) -> None:
    key = load_der_public_key(_kms(running_system).get_public_key(KeyId=_audit_key(running_system))["PublicKey"])
    pem = tmp_path / "audit.pem"
    pem.write_bytes(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    done = subprocess.run(
        [
            *(sys.executable, "-m", "cloister.cli", "audit", "verify"),
            *("--from", datetime.now(UTC).date().isoformat(), "--public-key", str(pem)),
        ],
        env={**os.environ, **running_system.env, "PYTHONPATH": os.pathsep.join((str(ROOT / "client"), str(ROOT)))},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 signed" in done.stdout and "0 unchained; no head" in done.stdout


def test_the_key_of_the_running_system_signs(running_system: RunningSystem) -> None:
    kms, arn = _kms(running_system), _audit_key(running_system)
    signature = kms.sign(KeyId=arn, Message=b"m", SigningAlgorithm="ECDSA_SHA_256")["Signature"]
    public = load_der_public_key(kms.get_public_key(KeyId=arn)["PublicKey"])
    assert isinstance(public, ec.EllipticCurvePublicKey)
    public.verify(signature, b"m", ec.ECDSA(SHA256()))


def test_each_tenants_entries_are_kept_for_as_long_as_it_wants(running_system: RunningSystem) -> None:
    key = new_tenant(running_system, "brief", retention_days=2)
    where, chat = gateway(running_system), "/tenants/brief/v1/chat/completions"
    body = {"model": "demo-direct", "messages": [{"role": "user", "content": PROMPT}], "max_tokens": 4}
    assert where.call("POST", chat, key=key, json=body).status == 200
    admin(running_system, "PATCH", "/tenants/brief", {"retention_days": 90})
    assert where.call("POST", chat, key=key, json=body).status == 200
    logged = where.call("GET", "/v1/dashboard/requests", key=key).json["requests"]
    kept_s = [each["ttl"] - datetime.fromisoformat(each["timestamp"]).timestamp() for each in logged]
    assert [round(seconds / 86_400, 2) for seconds in kept_s] == [90, 2]


def _audit_key(system: RunningSystem) -> str:
    return system.env["CLOISTER_AUDIT_KEY"]


def _kms(system: RunningSystem) -> Any:
    env = system.env
    return boto3.client(
        "kms",
        region_name=env["AWS_REGION"],
        endpoint_url=env["AWS_ENDPOINT_URL"],
        aws_access_key_id=env["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=env["AWS_SECRET_ACCESS_KEY"],
    )
