"""Nothing is taken that would do nothing, or contradict itself: it is refused by the member's name, at every door."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from chalicelib import wiring
from chalicelib.admission.memory import MemoryMeters
from chalicelib.documents import PLATFORM, Document
from chalicelib.documents.memory import MemoryDocuments
from chalicelib.engines.bedrock.engine import BedrockEngine
from chalicelib.engines.openai_compatible import OpenAICompatibleEngine
from chalicelib.engines.sagemaker import SageMakerEngine
from chalicelib.pool import Pool, Scripted
from chalicelib.refusal import Conflict
from chalicelib.settings import Settings
from chalicelib.tenancy import PLATFORM_TENANT
from chalicelib.tenancy.inference_profiles import InferenceProfiles
from chalicelib.tenancy.key_text import parse
from chalicelib.tenancy.snapshot import Snapshots
from tests.small_deployments import Answer, Deployment, Gateway


@pytest.fixture
def deployment(deployment: Deployment) -> Iterator[Deployment]:
    """With the engines of every kind, and a pool that `acme` may not use."""
    profiles = InferenceProfiles(deployment.store.documents)
    deployment.engines = {
        "bedrock": BedrockEngine(Settings(), profiles),
        "openai_compatible": OpenAICompatibleEngine(Settings()),
        "sagemaker": SageMakerEngine(Settings()),
    }
    deployment.tenancy.put_pool(Pool("other", (Scripted("x"), Scripted("y"))))
    with wiring.opening_into(deployment.rooms()):
        yield deployment


def key_for(deployment: Deployment, door: str) -> str:
    return deployment.key(PLATFORM_TENANT if " /admin" in door else "acme")


def send(gateway: Gateway, deployment: Deployment, door: str, body: Any, key: str = "") -> Answer:
    method, path = door.split()
    key = key or key_for(deployment, door)
    return gateway.call(method, path, key=key, json=body)


def target(engine: str = "scripted", **members: Any) -> dict[str, Any]:
    needed = {
        "sagemaker": {"endpoint": "e"},
        "openai_compatible": {"url": "http://a/v1"},
        "bedrock": {"region": "us-east-1", "model": "m"},
        "scripted": {},
    }[engine]
    return {"name": "a", "engine": engine, **needed, **members}


def pool(*targets: dict[str, Any], **members: Any) -> dict[str, Any]:
    return {"name": "new", "targets": targets or [target()], **members}


INVOKES = {"operations": ["invoke"]}

POOLS = [
    ({"name": "new", "targets": []}, "targets"),
    ({"name": "new"}, "targets"),
    (pool(target(), target()), "targets[1].name"),
    (pool(target(name="")), "targets[0].name"),
    (pool(target("scripted", secret="s")), "targets[0].secret"),
    (pool(target("sagemaker", secret="s")), "targets[0].secret"),
    (pool(target("sagemaker", profile="p")), "targets[0].profile"),
    (pool(target("openai_compatible", region="r")), "targets[0].region"),
    (pool(target(), target("sagemaker", name="b", component="c", target_model="m")), "targets[1].target_model"),
    (pool(target("openai_compatible", url="http://a.example.com/v1", secret="s")), "targets[0].url"),
    (pool(target("bedrock", model="", profile="us.m"), **INVOKES), "targets[0].profile"),
    (pool(target("bedrock", model="")), "targets[0].model"),
    (pool(target("bedrock"), sealed=True), "sealed"),
    (pool(target("bedrock"), operations=["embeddings"]), "operations[0]"),
    (pool(target("sagemaker"), operations=["chat.completions", "invoke"]), "operations[1]"),
    (pool(target("openai_compatible"), **INVOKES), "operations[0]"),
    (pool(operations=[]), "operations"),
    (pool(operations=["completions", "completions"]), "operations[1]"),
    *((pool(operations=[name]), "operations[0]") for name in ("messages", "messages.count_tokens", "responses")),
    (pool(operations=["invoke", "converse"]), "operations[1]"),
    (pool(aliases=["new"]), "aliases[0]"),
    (pool(aliases=["b", "c", "b"]), "aliases[2]"),
    (pool(default_max_tokens=300, max_tokens=200), "default_max_tokens"),
]  # fmt: skip
NEW_POOLS = [("PUT /admin/pools/new", body, field) for body, field in POOLS]

NAMED: dict[str, Any] = {"id": "cora", "name": "Cora"}
TENANTS: list[tuple[dict[str, Any], str]] = [
    ({"pools": ["model-z"]}, "pools[0]"),
    ({"pools": ["model-a", "model-z"]}, "pools[1]"),
    ({"pools": ["model-a", "model-a"]}, "pools[1]"),
    ({"pools": ["model-a"], "pins": {"other": "x"}}, "pins.other"),
    ({"pools": ["model-a"], "pins": {"model-z": "x"}}, "pins.model-z"),
    ({"pools": ["model-a"], "pins": {"model-a": "z"}}, "pins.model-a"),
    ({"pools": ["model-a"], "aliases": {"gpt": "other"}}, "aliases"),
]  # fmt: skip
NEW_TENANTS = [("POST /admin/tenants", NAMED | body, field) for body, field in TENANTS]
CHANGES = [
    *(("PATCH /admin/tenants/acme", body, field) for body, field in TENANTS),
    ("PATCH /admin/tenants/acme", {"pins": {"model-a": "z"}}, "pins.model-a"),
    ("PATCH /admin/tenants/acme", {"pins": {"other": "x"}}, "pins.other"),
]

SCOPES = [
    ({"pools": ["model-z"]}, "scopes.pools[0]"),
    ({"pools": ["model-a", "other"]}, "scopes.pools[1]"),
    ({"pools": ["model-a", "model-a"]}, "scopes.pools[1]"),
    ({"surfaces": ["openai", "openai"]}, "scopes.surfaces[1]"),
]
KEYS = [
    (f"POST {door}", {"role": "developer", "scopes": scopes}, field)
    for door in ("/tenants/acme/keys", "/admin/tenants/acme/keys")
    for scopes, field in SCOPES
] + [("POST /admin/tenants/platform/keys", {"role": "owner", "scopes": {"pools": ["model-a"]}}, "scopes.pools[0]")]

QUERIES = [
    ("GET /v1/dashboard/requests?format=csv&limit=5", None, "limit"),
    ("GET /tenants/acme/requests?since_ms=2&until_ms=1", None, "since_ms"),
    ("GET /tenants/acme/requests?days=3", None, "days"),
]


@pytest.mark.parametrize(("door", "body", "field"), [*NEW_POOLS, *NEW_TENANTS, *CHANGES, *KEYS, *QUERIES])
def test_what_would_do_nothing_is_refused_by_name(
    gateway: Gateway, deployment: Deployment, door: str, body: Any, field: str
) -> None:
    key = key_for(deployment, door)
    before = _stored(deployment)
    answer = send(gateway, deployment, door, body, key)
    assert (answer.status, answer.json.get("field")) == (400, field), answer.body
    assert _stored(deployment) == before


def _stored(deployment: Deployment) -> set[tuple[str, str]]:
    documents = deployment.store.documents
    owners = (PLATFORM, *(document.tenant for document in documents.tenants()))
    return {(held.tenant, held.text) for owner in owners for held in documents.under(owner, "")}


@pytest.mark.parametrize(
    ("door", "body"),
    [
        *(
            ("PUT /admin/pools/new", body)
            for body in (
                pool(),
                pool(target("sagemaker", component="c")),
                pool(target("sagemaker", target_model="m.gguf"), sealed=True),
                pool(target("openai_compatible", secret="s"), operations=["chat.completions", "embeddings"]),
                pool(target("bedrock", secret="s", profile="us.m")),
                pool(target("bedrock", model=""), target("bedrock", name="b", model="", region="us-west-2"), **INVOKES),
                pool(target("bedrock"), operations=["chat.completions", "completions", "invoke"]),
                pool(target(weight=0), target(name="b", weight=0), aliases=["b", "c"]),
                pool(max_tokens=200),  # the default, which is more, is cut to it
                pool(default_max_tokens=200, max_tokens=200),
            )
        ),
        ("POST /admin/tenants", NAMED),
        ("POST /admin/tenants", NAMED | {"pools": ["model-a"], "pins": {"model-a": "b"}, "aliases": {"x": "model-a"}}),
        ("PATCH /admin/tenants/acme", {"pins": {"model-a": "b"}}),
        ("PATCH /admin/tenants/acme", {"pools": ["other"], "pins": {"other": "y"}}),
        ("PATCH /admin/tenants/acme", {"pools": [], "pins": {}}),
        ("POST /tenants/acme/keys", {"role": "developer", "scopes": {"pools": ["model-a"], "surfaces": ["openai"]}}),
        ("GET /v1/dashboard/requests?format=csv", None),
    ],
)  # fmt: skip
def test_what_does_something_is_taken(gateway: Gateway, deployment: Deployment, door: str, body: Any) -> None:
    answer = send(gateway, deployment, door, body)
    assert answer.status in (200, 201), answer.body


def test_a_pool_that_was_read_can_be_put_again_and_under_another_name(gateway: Gateway, deployment: Deployment) -> None:
    (read,) = [
        pool for pool in send(gateway, deployment, "GET /admin/pools", None).json["pools"] if pool["name"] == "other"
    ]
    deployment.clock.now_ms += 60_000
    assert read["created_s"] > 0
    assert send(gateway, deployment, "PUT /admin/pools/other", read).json == read
    copy = send(gateway, deployment, "PUT /admin/pools/copy", read | {"name": "copy"})
    assert (copy.status, copy.json["created_s"]) == (200, read["created_s"] + 60)


def test_the_platforms_own_tenant_is_not_made_with_pools() -> None:
    bare = Deployment()
    bare.pool("model-a", "a")
    with pytest.raises(Conflict, match="uses no pools"):
        bare.tenant(PLATFORM_TENANT)


# What is stored already

POOL = {"name": "odd", "targets": [], "operations": ["messages"], "aliases": ["odd"], "default_max_tokens": 9_000}
TENANT = {"id": "old", "name": "Old", "pools": ["odd", "gone"], "pins": {"gone": "z"}, "aliases": {"x": "gone"}}
KEY = {"id": "old.k", "tenant": "old", "digest": "", "role": "owner", "scopes": {"pools": ["gone"], "surfaces": []}}


def test_what_was_stored_before_is_read_and_changed_as_before() -> None:
    documents, meters = MemoryDocuments(), MemoryMeters()
    deployment = Deployment()
    for owner, name, stored in ((PLATFORM, "pool#odd", POOL), ("old", "tenant", TENANT), ("old", "key#old.k", KEY)):
        documents.put(Document(owner, name, json.dumps(stored)))
        deployment.store.documents.put(Document(owner, name, json.dumps(stored)))
    meters.open("old", 0)
    deployment.store.meters.open("old", 0)
    snapshot = Snapshots(documents, meters).fresh("old")
    assert (set(snapshot.pools), snapshot.tenant.pins) == ({"odd"}, {"gone": "z"})
    tenancy = deployment.tenancy
    assert [pool.targets for pool in tenancy.pools()] == [()]
    assert tenancy.rotate_key("old", "old.k", 0)[0].scopes.pools == ("gone",)


# The last owner key


def revoke(gateway: Gateway, door: str, by: str, key: str) -> Answer:
    token = parse(key)
    assert token is not None
    return gateway.call("DELETE", f"{door}/{token.key_id}", key=by)


@pytest.mark.parametrize("door", ["/tenants/acme/keys", "/admin/tenants/acme/keys"])
@pytest.mark.parametrize(
    ("others", "warns"),
    [
        ([], True),
        ([{"role": "developer"}], True),
        ([{"role": "owner", "expires_ms": 1}], True),
        ([{"role": "owner", "surfaces": ("openai",)}], True),
        ([{"role": "owner"}], False),
        ([{"role": "owner", "pools": ("model-a",)}], False),
        ([{"role": "owner", "surfaces": ("openai", "management")}], False),
    ],
)
def test_revoking_the_last_owner_key_warns_and_the_operator_can_make_another(
    gateway: Gateway, deployment: Deployment, door: str, others: list[dict[str, Any]], warns: bool
) -> None:
    last, operator = deployment.key("acme"), deployment.key(PLATFORM_TENANT)
    for other in others:
        deployment.key("acme", **other)
    answer = revoke(gateway, door, operator if "admin" in door else last, last)
    assert (answer.status, answer.json["state"]) == (200, "revoked")
    assert ("The operator of the service can make a new one" in answer.json.get("warning", "")) == warns
    again = revoke(gateway, "/admin/tenants/acme/keys", operator, last)
    assert again.json == answer.json, "whoever did not hear it the first time"
    made = gateway.call("POST", "/admin/tenants/acme/keys", key=operator, json={"role": "owner"})
    assert gateway.call("GET", "/tenants/acme/keys", key=made.json["api_key"]).status == 200
    assert "warning" not in revoke(gateway, "/admin/tenants/acme/keys", operator, last).json


def test_revoking_a_key_that_is_no_owners_says_nothing(gateway: Gateway, deployment: Deployment) -> None:
    operator = deployment.key(PLATFORM_TENANT)
    answer = revoke(gateway, "/admin/tenants/acme/keys", operator, deployment.key("acme", "developer"))
    assert (answer.status, "warning" in answer.json) == (200, False)


def test_revoking_the_operators_last_key_says_what_is_left(gateway: Gateway, deployment: Deployment) -> None:
    operator = deployment.key(PLATFORM_TENANT)
    answer = revoke(gateway, "/admin/tenants/platform/keys", operator, operator)
    assert "only requests signed by IAM open the admin surface now" in answer.json["warning"]
