"""The audit of the running system: its log, its chains, and the key that signs its days."""

import os
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import boto3
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from chalicelib.dynamodb import open_tables
from chalicelib.ledger.chain import start_ms
from chalicelib.ledger.store import DynamoLedger
from chalicelib.settings import Settings
from tests.e2e.admin import admin, new_tenant
from tests.e2e.test_signed import gateway, govcloud
from tests.emulators.iam.signers import Asked, by_botocore
from tests.ledger.arrange import entry
from tests.local_system import RunningSystem
from tests.patience import PATIENCE_S

ROOT = Path(__file__).parents[2]
NOTARY = """
from app import app
from local.scheduler import schedules

(notary,) = [each for each in schedules(app) if each.name == "notary"]
print(notary.run())
"""
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


def test_an_auditor_verifies_the_day_of_the_request(running_system: RunningSystem, asked: str, pem: Path) -> None:
    done = verified(running_system, datetime.now(UTC).date(), pem)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 signed" in done.stdout and "0 unchained; no head" in done.stdout


def test_the_notary_signs_a_day_that_is_over_and_an_auditor_verifies_it(
    running_system: RunningSystem, pem: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    env, day = running_system.env, datetime.now(UTC).date() - timedelta(days=3)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, env[name])
    tables = open_tables(env["AWS_REGION"], Settings().table_prefix, 10_000, env["AWS_ENDPOINT_URL"])
    DynamoLedger(tables).put_if_absent(entry(start_ms(day.isoformat()), tenant=running_system.tenant))
    for signed in (1, 0):
        done = run(running_system, [sys.executable, "-c", NOTARY])
        assert done.stdout.splitlines()[-1] == f"{{'signed': {signed}}}", done.stderr  # after the log's
    done = verified(running_system, day, pem)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 entries: 1 signed, 0 unsigned, 0 unchained; head " in done.stdout


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


@pytest.fixture(scope="module")
def pem(running_system: RunningSystem, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The public half of the key that signs, as an auditor fetches it."""
    env = running_system.env
    kms = boto3.client(
        "kms",
        region_name=env["AWS_REGION"],
        endpoint_url=env["AWS_ENDPOINT_URL"],
        aws_access_key_id=env["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=env["AWS_SECRET_ACCESS_KEY"],
    )
    key = load_der_public_key(kms.get_public_key(KeyId=env["CLOISTER_AUDIT_KEY"])["PublicKey"])
    pem = tmp_path_factory.mktemp("auditor") / "audit.pem"
    pem.write_bytes(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return pem


def verified(system: RunningSystem, day: date, pem: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "cloister.cli", "audit", "verify"]
    return run(system, [*command, "--from", day.isoformat(), "--public-key", str(pem)])


def run(system: RunningSystem, command: list[str]) -> "subprocess.CompletedProcess[str]":
    env = {**os.environ, **system.env, "PYTHONPATH": str(ROOT / "client")}
    return subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S)
