"""What a cold start does not wait for: a first call with an API key loads what answers it, and no more."""

import json
import os
import subprocess
import sys

from chalicelib.pool import OpenAICompatible, Pool
from tests import api_gateway
from tests.engines.answers import WHOLE
from tests.engines.servers import always, serving, whole
from tests.small_deployments import Deployment, dynamodb
from tests.stores import ROOT, Served, fresh_tables

CHAT = "/tenants/{tenant}/v1/chat/completions"
HANDLER = """
import sys
import msgspec  # beside typing_extensions, which is not deployed, it loads more
before = set(sys.modules)
from app import app
imported = sorted(set(sys.modules) - before)
import json
reply = app(json.load(sys.stdin), None)
print(json.dumps([reply["statusCode"], imported, sorted(set(sys.modules) - before)]))
"""

OTHERS = {
    *("pynamodb", "botocore", "urllib3"),  # SDKs: tables are made and secrets read by others
    *("joserfc", "cryptography"),  # tokens, sessions, what is sealed
    "re2",  # rules of what may be said
    *("stripe", "aws_lambda_powertools", "aws_xray_sdk", "opentelemetry"),
    *("asyncio", "concurrent.futures", "subprocess", "uvicorn"),  # streams: their function has a loop
    *("inspect", "_strptime", "stringprep"),  # a millisecond and more each, and none of them is needed
}
ROOMS = {
    *("admission", "documents", "engines", "identity", "inference", "ledger", "placement", "tenancy", "velocity"),
    *("dynamodb", "http1", "store_window", "aws_address", "aws_credentials", "signature", "partition"),
    *("api", "http", "dialects", "journal", "tickets", "wiring", "settings", "sight", "schedules"),
    *("call", "pool", "refusal", "clock", "randomness"),
}
"""Of which a first call loads modules. A room more has a reason, or waits for whoever needs it."""
MOST = 163
"""Modules of ours. Some more are no harm; a surface with all that it needs is."""


def test_a_first_call_loads_no_more_than_answers_it(stores: Served) -> None:
    tables = fresh_tables(stores.url("local"))
    deployment = Deployment(dynamodb(tables))
    deployment.tenant()
    headers = {"authorization": f"Bearer {deployment.key()}", "content-type": "application/json"}
    body = '{"model":"model-a","messages":[{"role":"user","content":"hi"}]}'
    event = api_gateway.event("POST", CHAT, {"tenant": "acme"}, headers=headers, body=body)
    with serving(always(whole(WHOLE))) as model:
        deployment.tenancy.put_pool(Pool("model-a", (OpenAICompatible("gpu-1", url=f"{model.root}/v1"),)))
        environment = {
            **os.environ,
            "AWS_REGION": tables.connection.region,
            "AWS_ENDPOINT_URL": tables.connection.url,
            "CLOISTER_TABLE_PREFIX": tables.prefix,
            "CLOISTER_STORE_DEADLINE_MS": "10000",
        }
        ran = subprocess.run(
            [sys.executable, "-c", HANDLER],
            input=json.dumps(event),
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
        )
    assert not ran.returncode, ran.stderr
    status, imported, loaded = json.loads(ran.stdout.splitlines()[-1])
    assert status == 200
    assert not {name for name in imported if name.startswith("chalicelib.api.")} - {"chalicelib.api.surfaces"}
    assert {name for name in loaded if name.startswith("chalicelib.api.")} == {
        "chalicelib.api.surfaces",
        "chalicelib.api.openai",
    }
    assert OTHERS & {*loaded, *(name.partition(".")[0] for name in loaded)} == set()
    assert {name.split(".")[1] for name in loaded if name.startswith("chalicelib.")} <= ROOMS
    assert {name for name in loaded if name.startswith("guard")} <= {"guard", "guard.rules"}
    assert len([name for name in loaded if name.startswith(("chalicelib", "bounds", "guard"))]) <= MOST
