"""What a sealed call passes through: gateway, container, enclave and KMS, each a process of its own.

They trust each other as in the local system. Two things differ, so that sealing is what is measured: the store is the
instant DynamoDB, and the engine says at once what a request's `script` tells it to.
"""

import base64
import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bench import contestants, tenant
from bench.contestants import LOGS, cloister_environment
from bench.environments import ROOT
from bench.processes import Program, free_port, wait_listening
from bench.upstream import MODEL
from local.account import TICKET_SECRET
from local.layout import REGION
from local.sealing import PCR0, SealingFiles

START_S = 30.0
PROBE_S = 0.02


@dataclass(frozen=True)
class System:
    """A running one, and what its tenant and its operator hold."""

    programs: Mapping[str, Program]  # whose CPU is told: gateway, container, enclave, KMS
    port: int  # the gateway's
    key: str  # the tenant's API key
    kms: Any  # boto3's client, as the tenant
    kms_key: str  # the ARN of the tenant's key
    ticket_key: Ed25519PrivateKey
    files: SealingFiles
    records: BinaryIO

    def kms_calls(self) -> int:
        """How many KMS has answered since this was asked last."""
        return self.records.read().count(b"\n")


@contextmanager
def running() -> Iterator[System]:
    """Everything started; all of it is stopped and forgotten when the context is left.

    Raises: RuntimeError (a program ended by itself), TimeoutError.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cloister-bench-")))
        files = SealingFiles(folder / "sealing")
        stack.callback(files.close)
        records = folder / "kms-records"

        def start(name: str, *command: str, environment: Mapping[str, str]) -> Program:
            started = Program(
                [sys.executable, "-m", *command], environment=environment, log=LOGS / f"sealed-{name}.log", at=ROOT
            )
            return stack.enter_context(started)

        keeps = ("--attestation-root", str(files.root), "--records", str(records))
        cloud = start("kms", "local.cloud", *keeps, "--region", REGION, environment={})
        account = _ready(cloud)
        files.configure(
            ticket_key=account["ticket_key"],
            platform_key_arn=account["platform_key_arn"],
            region=REGION,
            kms_endpoint=account["url"],
        )
        enclave = start(
            "enclave",
            *("local.enclave", "--socket", str(files.socket), "--configuration", str(files.configuration)),
            *("--authority", str(files.authority)),
            environment=_principal(account, "enclave_") | _wiping_memory(),
        )
        container_port = free_port()
        container = start(
            "container",
            *("serving", "--engine", "scripted", "--model", f"{MODEL}={folder}"),
            *("--host", "127.0.0.1", "--port", str(container_port)),
            *("--enclave", f"unix:{files.socket}", "--enclave-identity", str(files.container)),
            *("--enclave-root", str(files.root), "--enclave-pcr", f"0={PCR0}"),
            environment={"PYTHONPATH": str(ROOT / "sagemaker")},
        )
        key = tenant.new_key()
        store = stack.enter_context(contestants.dynamodb(container_port, key, account["tenant_key_arn"]))
        stores = {"AWS_ENDPOINT_URL_DYNAMODB": f"http://127.0.0.1:{store}", "CLOISTER_TICKET_SECRET": TICKET_SECRET}
        gateway = start("gateway", "local.gateway", environment=_principal(account, "") | stores)
        _ready(enclave)
        wait_listening(container, container_port)
        yield System(
            programs={"gateway": gateway, "container": container, "enclave": enclave, "KMS": cloud},
            port=urlsplit(_ready(gateway)["url"]).port or 0,
            key=key,
            kms=_client("kms", account),
            kms_key=account["tenant_key_arn"],
            ticket_key=_ticket_key(account),
            files=files,
            records=stack.enter_context(records.open("rb")),
        )


def _ready(program: Program) -> dict[str, str]:
    """The line of JSON that it writes when it can be called."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        program.check_alive()
        for line in program.log.read_text().splitlines(keepends=True):
            if line.startswith("{") and line.endswith("\n"):
                told: dict[str, str] = json.loads(line)
                return told
        time.sleep(PROBE_S)
    raise TimeoutError(f"not ready after {START_S:.0f} s:\n{program.tail()}")


def _principal(account: Mapping[str, str], who: str) -> dict[str, str]:
    """The environment of a program that acts as one of the account's principals."""
    return cloister_environment(urlsplit(account["url"]).port or 0) | {
        "AWS_ACCESS_KEY_ID": account[f"{who}access_key_id"],
        "AWS_SECRET_ACCESS_KEY": account[f"{who}secret_access_key"],
        "NO_PROXY": "127.0.0.1",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }


def _wiping_memory() -> dict[str, str]:
    """How the enclave's image has memory overwritten when it is freed, which costs time."""
    image = (ROOT / "enclave" / "Dockerfile").read_text()
    return dict(re.findall(r"(PYTHONMALLOC|GLIBC_TUNABLES)=(\S+)", image))


def _client(service: str, account: Mapping[str, str]) -> Any:
    return boto3.client(
        service,
        region_name=REGION,
        endpoint_url=account["url"],
        aws_access_key_id=account["access_key_id"],
        aws_secret_access_key=account["secret_access_key"],
        config=Config(proxies={}),
    )


def _ticket_key(account: Mapping[str, str]) -> Ed25519PrivateKey:
    """The gateway's own, for calls that come to the enclave without it."""
    secret = _client("secretsmanager", account).get_secret_value(SecretId=TICKET_SECRET)["SecretString"]
    return Ed25519PrivateKey.from_private_bytes(base64.b64decode(json.loads(secret)["ticket_key"]))
