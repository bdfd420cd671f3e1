"""What a cold start does not wait for: whoever answers a first call has loaded no SDK of AWS's."""

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
import json, sys
from app import app
reply = app(json.load(sys.stdin), None)
loaded = sorted({name.partition(".")[0] for name in sys.modules} & {"pynamodb", "botocore", "urllib3"})
print(json.dumps([reply["statusCode"], loaded]))
"""


def test_a_first_call_waits_for_none_of_them(stores: Served) -> None:
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
    assert json.loads(ran.stdout.splitlines()[-1]) == [200, []]
