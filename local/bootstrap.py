"""Makes an empty cloud a Cloister: tables, pools, the operator's and the demo tenant's keys.

    python -m local.bootstrap --endpoints FILE --kms-key ARN --principal ARN [--ready-fd N]

Run once per start, against the cloud that the environment names. Writes the tenant and its keys as one line of JSON
to `--ready-fd` (standard output by default), the only place where they are ever seen.
"""

import argparse
import json
import os
import sys
from pathlib import Path

import botocore.session

from chalicelib import wiring
from chalicelib.pool import Bedrock, OpenAICompatible, Pool, SageMaker, Target
from chalicelib.tables import Tables
from chalicelib.tenancy import PLATFORM_TENANT
from chalicelib.tenancy.tenant import Tenant
from emulators.sagemaker_runtime import endpoints
from emulators.sagemaker_runtime.endpoints import Components, Endpoints
from emulators.server import tell
from local import layout

TENANT = "demo"
BEDROCK_SECRET = "cloister-local-bedrock"
CAPACITY = 4  # what a container runs side by side


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m local.bootstrap", description=__doc__.splitlines()[0])
    parser.add_argument("--endpoints", type=Path, required=True, help="which SageMaker endpoint is which container")
    parser.add_argument("--kms-key", required=True, help="the demo tenant's key in the local KMS")
    parser.add_argument("--principal", required=True, help="the IAM principal that signs for the demo tenant")
    parser.add_argument("--ready-fd", type=int, default=sys.stdout.fileno())
    options = parser.parse_args()

    create_tables(wiring.tables())
    keep_bedrock_key(os.environ["CLOISTER_BEDROCK_KEY"])
    tenancy = wiring.tenancy()
    offered = pools(endpoints.read(options.endpoints))
    for pool in offered:
        tenancy.put_pool(pool)
    tenancy.create_tenant(Tenant(id=PLATFORM_TENANT, name="The operator"))
    tenancy.create_tenant(Tenant(id=TENANT, name="Demo", pools=tuple(pool.name for pool in offered)))
    tenancy.kms_keys.register(TENANT, options.kms_key)
    tenancy.principals.put(TENANT, (options.principal,))
    _, admin = tenancy.create_key(PLATFORM_TENANT, "owner", label="local admin")
    _, owner = tenancy.create_key(TENANT, "owner", label="local demo")
    tell(options.ready_fd, {"tenant": TENANT, "api_key": owner.text, "admin_key": admin.text})
    return 0


def pools(known: Endpoints) -> list[Pool]:
    """Every way to reach a model that the gateway has, each as a pool of its own."""
    components = known[layout.COMPONENTS]
    assert isinstance(components, Components)

    def component(name: str) -> Target:
        return SageMaker(f"{name}-component", name, capacity=CAPACITY, endpoint=layout.COMPONENTS, component=name)

    direct = OpenAICompatible("demo-direct", "demo", capacity=CAPACITY, url=f"{components.urls['demo']}/v1")
    multi = tuple(
        SageMaker(model.split(".")[0], capacity=CAPACITY, endpoint=layout.MULTI_MODEL, target_model=model)
        for model in layout.TARGET_MODELS
    )

    def chat(name: str, *targets: Target, sealed: bool) -> Pool:
        # A byte is never less than a token to the demo model: nothing is used that was not reserved.
        ceiling = layout.DEMO_CONTEXT
        return Pool(name, targets, bytes_per_token=1, default_max_tokens=256, max_tokens=ceiling, sealed=sealed)

    return [
        chat("demo", component("demo"), sealed=True),
        chat("demo-direct", direct, sealed=True),
        chat("demo-multi", *multi, sealed=False),
        # Bedrock as it is across partitions: its address is public, its credential in Secrets Manager.
        Pool("bedrock", (bedrock("any-model"),), operations=("invoke",), default_max_tokens=256),
        Pool("claude", (bedrock("claude", "anthropic.claude-sonnet-4-20250514-v1:0"),), default_max_tokens=256),
        Pool("nova", (bedrock("nova", "amazon.nova-lite-v1:0"),), default_max_tokens=256),
        Pool("embed", (component("embed"),), operations=("embeddings",), bytes_per_token=1, sealed=True),
    ]


def bedrock(name: str, model: str = "") -> Target:
    return Bedrock(name, model, capacity=CAPACITY, region=layout.REGION, secret=BEDROCK_SECRET)


def keep_bedrock_key(key: str) -> None:
    """In Secrets Manager, in the form that docs/govcloud.md tells operators to use."""
    client = botocore.session.get_session().create_client("secretsmanager")
    client.create_secret(
        Name=BEDROCK_SECRET, SecretString=json.dumps({"bedrock_api_key": key, "region": layout.REGION})
    )


def create_tables(tables: Tables) -> None:
    """The tables as the models describe them. On AWS, CloudFormation does this."""
    for model in tables.models:
        model.create_table(wait=True)


if __name__ == "__main__":
    sys.exit(main())
