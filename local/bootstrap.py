"""Makes an empty cloud a Cloister: tables, pools, the operator's and the demo tenant's keys, and its people.

    python -m local.bootstrap --endpoints FILE --kms-key ARN --principal ARN --issuer URL --keys FILE [--ready-fd N]

Run once per start, against the cloud that the environment names; what is there already is left as its people have made
it. Writes the tenant, its keys and its people as one line of JSON to `--ready-fd` (standard output by default). It may
be killed at any moment: `--keys`, which remembers them for the next start, is written last, and until then all is made
once more.
"""

import argparse
import json
import os
import secrets
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import botocore.session
import msgspec
from msgspec.structs import replace

from chalicelib import wiring
from chalicelib.dynamodb import Tables
from chalicelib.pool import Bedrock, BedrockGuardrail, OpenAICompatible, Pool, SageMaker, Target
from chalicelib.refusal import Conflict, NotFound
from chalicelib.status.component import Component
from chalicelib.tables import models_of
from chalicelib.tenancy import PLATFORM_TENANT, Tenancy
from chalicelib.tenancy.key_text import parse
from chalicelib.tenancy.tenant import Role, Tenant
from emulators.sagemaker_runtime import endpoints
from emulators.sagemaker_runtime.endpoints import Components, Endpoints
from emulators.server import tell
from local import layout
from local.state import write_privately

TENANT = "demo"
OWNER, VIEWER = "owner@demo.example", "viewer@demo.example"
PEOPLE: Mapping[str, Role] = {OWNER: "owner", VIEWER: "viewer"}
BEDROCK_SECRET = "cloister-local-bedrock"
CAPACITY = 4  # what a container runs side by side

WATCHED = (
    Component("api", "API", "api"),
    Component("sign-in", "Sign-in", "sign_in"),
    Component("demo", "Demo model", "pools", pools=("demo-direct",), timed=True),
)
"""On the status page."""

CLAUDE, CLAUDE_TOKENS = "anthropic.claude-sonnet-4-20250514-v1:0", 64_000
NOVA, NOVA_TOKENS = "amazon.nova-lite-v1:0", 10_000
"""The most that one answer of theirs has, as refusals quoted in public threads have it: anthropics/claude-code 1293 and
wri/project-zeno 361, BerriAI/litellm 23198 (of Nova Pro, its sibling) and aws-solutions-library-samples/
accelerated-intelligent-document-processing-on-aws 175."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m local.bootstrap", description=__doc__.splitlines()[0])
    parser.add_argument("--endpoints", type=Path, required=True, help="which SageMaker endpoint is which container")
    parser.add_argument("--kms-key", required=True, help="the demo tenant's key in the local KMS")
    parser.add_argument("--principal", required=True, help="the IAM principal that signs for the demo tenant")
    parser.add_argument("--issuer", required=True, help="of the tokens of those who sign in for the demo tenant")
    parser.add_argument("--keys", type=Path, required=True, help="where the keys are kept, for their owner alone")
    parser.add_argument("--ready-fd", type=int, default=sys.stdout.fileno())
    options = parser.parse_args()

    create_tables(wiring.tables())
    keep_bedrock_key(os.environ["CLOISTER_BEDROCK_KEY"])
    known = endpoints.read(options.endpoints)
    before = read(options.keys)
    tenancy = wiring.tenancy()
    if before is None:
        make(tenancy, pools(known), options.kms_key, options.principal)
    else:
        move(tenancy, before.urls, urls_of(known))
    cognito = botocore.session.get_session().create_client("cognito-idp")
    kept = Keys(
        admin_key=still_good(before.admin_key if before else None, tenancy, PLATFORM_TENANT, "local admin"),
        api_key=still_good(before.api_key if before else None, tenancy, TENANT, "local demo"),
        urls=urls_of(known),
        passwords=invited(tenancy, cognito, options.issuer, before.passwords if before else {}),
    )
    write_privately(options.keys, msgspec.json.encode(kept).decode())
    people = {"person_email": OWNER, "viewer_email": VIEWER}
    entrances = {"person_password": kept.passwords[OWNER], "viewer_password": kept.passwords[VIEWER]}
    keys = {"tenant": TENANT, "api_key": kept.api_key, "admin_key": kept.admin_key}
    tell(options.ready_fd, keys | people | entrances)
    return 0


class Keys(msgspec.Struct, frozen=True):
    """What the next start must know of this one."""

    admin_key: str
    api_key: str
    urls: dict[str, str]
    """Of the containers, by name."""
    passwords: dict[str, str] = {}
    """Of the demo tenant's people, by mail address."""


def read(path: Path) -> Keys | None:
    """What the last start kept; None where none came so far."""
    return msgspec.json.decode(path.read_bytes(), type=Keys) if path.exists() else None


def make(tenancy: Tenancy, offered: Sequence[Pool], kms_key: str, principal: str) -> None:
    """What a first start makes; once more where it was killed on its way."""
    for pool in offered:
        tenancy.put_pool(pool)
    for tenant in (
        Tenant(id=PLATFORM_TENANT, name="The operator"),
        Tenant(id=TENANT, name="Demo", pools=tuple(pool.name for pool in offered)),
    ):
        with suppress(Conflict):
            tenancy.create_tenant(tenant)
    tenancy.offered_guardrails.put(TENANT, (guardrail(),), layout.REGION)
    tenancy.kms_keys.register(TENANT, kms_key)
    tenancy.principals.put(TENANT, (principal,))
    boards = wiring.boards()
    assert boards is not None
    boards.put_components(WATCHED)


def move(tenancy: Tenancy, old: Mapping[str, str], new: Mapping[str, str]) -> None:
    """Pools that reach a container by its address follow it to where it is now: each start takes free ports."""
    moved = {f"{old[name]}/": f"{new[name]}/" for name in old.keys() & new.keys() if old[name] != new[name]}

    def target(held: Target) -> Target:
        if isinstance(held, OpenAICompatible):
            for was, becomes in moved.items():
                if held.url.startswith(was):
                    return replace(held, url=becomes + held.url.removeprefix(was))
        return held

    for pool in tenancy.pools():
        targets = tuple(map(target, pool.targets))
        if targets != pool.targets:
            tenancy.put_pool(replace(pool, targets=targets))


def still_good(text: str | None, tenancy: Tenancy, tenant: str, label: str) -> str:
    """The key of the last start, or a new one where somebody has revoked it."""
    token = parse(text) if text else None
    if text and token:
        with suppress(NotFound):
            if tenancy.key(tenant, token.key_id).valid(wiring.clock()):
                return text
    return tenancy.create_key(tenant, "owner", label=label)[1].text


def invited(tenancy: Tenancy, cognito: Any, issuer: str, before: Mapping[str, str]) -> dict[str, str]:
    """What the demo tenant's people sign in with: as at the last start, also where somebody has changed it.

    Members they become once; whoever is removed stays so.
    """
    user_pool = issuer.rpartition("/")[2]
    passwords = {mail: before.get(mail) or f"Aa1-{secrets.token_urlsafe(12)}" for mail in PEOPLE}
    for mail, password in passwords.items():
        verified = [{"Name": "email", "Value": mail}, {"Name": "email_verified", "Value": "true"}]
        with suppress(cognito.exceptions.UsernameExistsException):
            cognito.admin_create_user(
                UserPoolId=user_pool, Username=mail, UserAttributes=verified, MessageAction="SUPPRESS"
            )
        cognito.admin_set_user_password(UserPoolId=user_pool, Username=mail, Password=password, Permanent=True)
        if mail not in before:
            tenancy.people.put(TENANT, mail, PEOPLE[mail])
            sub = cognito.admin_get_user(UserPoolId=user_pool, Username=mail)["Username"]
            tenancy.people.join(issuer, sub, mail, of_tenant=None)
    return passwords


def urls_of(known: Endpoints) -> dict[str, str]:
    components = known[layout.COMPONENTS]
    assert isinstance(components, Components)
    return {name: url for name, url in components.urls.items() if url is not None}  # None: at zero


def pools(known: Endpoints) -> list[Pool]:
    """Every way to reach a model that the gateway has, each as a pool of its own."""
    urls = urls_of(known)

    def component(name: str) -> Target:
        return SageMaker(f"{name}-component", name, capacity=CAPACITY, endpoint=layout.COMPONENTS, component=name)

    direct = OpenAICompatible("demo-direct", "demo", capacity=CAPACITY, url=f"{urls['demo']}/v1")
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
        Pool("bedrock", (bedrock("any-model"),), ("invoke",), default_max_tokens=256, max_tokens=CLAUDE_TOKENS),
        Pool("claude", (bedrock("claude", CLAUDE),), default_max_tokens=256, max_tokens=CLAUDE_TOKENS),
        Pool("nova", (bedrock("nova", NOVA),), default_max_tokens=256, max_tokens=NOVA_TOKENS),
        Pool("embed", (component("embed"),), operations=("embeddings",), bytes_per_token=1, sealed=True),
    ]


def bedrock(name: str, model: str = "") -> Target:
    return Bedrock(name, model, capacity=CAPACITY, region=layout.REGION, secret=BEDROCK_SECRET)


def guardrail() -> BedrockGuardrail:
    arn = ":".join(("arn", "aws", "bedrock", layout.REGION, layout.BEDROCK_ACCOUNT, f"guardrail/{layout.GUARDRAIL}"))
    return BedrockGuardrail(layout.GUARDRAIL, arn, "1", BEDROCK_SECRET)


def keep_bedrock_key(key: str) -> None:
    """In Secrets Manager, in the form that docs/govcloud.md tells operators to use."""
    client = botocore.session.get_session().create_client("secretsmanager")
    text = json.dumps({"bedrock_api_key": key, "region": layout.REGION})
    try:
        client.create_secret(Name=BEDROCK_SECRET, SecretString=text)
    except client.exceptions.ResourceExistsException:
        client.put_secret_value(SecretId=BEDROCK_SECRET, SecretString=text)


def create_tables(tables: Tables) -> None:
    """The tables as the models describe them, those that are not there. On AWS, CloudFormation does this."""
    for model in models_of(tables).all:
        if not model.exists():
            model.create_table(wait=True)


if __name__ == "__main__":
    sys.exit(main())
