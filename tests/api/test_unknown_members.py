"""What an operator or an owner sends is read to its last member: one that nobody knows is refused by name."""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec
import pytest
from msgspec import inspect

import app  # noqa: F401  # fills ROUTES
from chalicelib import wiring
from chalicelib.documents import PLATFORM, Document
from chalicelib.http import openapi
from chalicelib.http.route import Route
from chalicelib.http.route_table import ROUTES
from chalicelib.tenancy import PLATFORM_TENANT, Tenancy
from chalicelib.tenancy.snapshot import Snapshots
from tests.api import signing
from tests.api.test_permissions import TABLE, Caller
from tests.small_deployments import Deployment, Gateway

CLOSED = [route for route in ROUTES if route.accepts is not None and not route.infers]


class Place(NamedTuple):
    """An object somewhere in a body: where, and the least that leads there."""

    path: str
    body: Any


def places(form: inspect.Type, path: str = "") -> Iterator[Place]:
    """Every object that a body of this type may hold, each with an unknown member in it."""
    for each in form.types if isinstance(form, inspect.UnionType) else (form,):
        if isinstance(each, inspect.StructType):
            tag = {each.tag_field: each.tag} if each.tag_field else {}
            yield Place(path, {**tag, "surprise": 1})
            for field in each.fields:
                for inner in places(field.type, f"{path}.{field.encode_name}" if path else field.encode_name):
                    yield Place(inner.path, {**tag, field.encode_name: inner.body})
        elif isinstance(each, inspect.ListType | inspect.VarTupleType):
            for inner in places(each.item_type, f"{path}[0]"):
                yield Place(inner.path, [inner.body])
        elif isinstance(each, inspect.DictType):
            for inner in places(each.value_type, f"{path}.x"):
                yield Place(inner.path, {"x": inner.body})


EVERYWHERE = [
    pytest.param(route, place, id=f"{route.name} {place.path}{index}")
    for route in CLOSED
    for index, place in enumerate(places(inspect.type_info(route.accepts)))
]


@pytest.fixture
def caller(gateway: Gateway, deployment: Deployment) -> Iterator[Caller]:
    caller = Caller(gateway, deployment)
    with wiring.opening_into(deployment.rooms()):
        yield caller


def test_all_that_is_nested_is_looked_at() -> None:
    nested = {place.path for route in CLOSED for place in places(inspect.type_info(route.accepts))}
    assert nested >= {"", "limits", "limits.rates[0]", "limits.budgets[0]", "scopes", "targets[0]"}


@pytest.mark.parametrize(("route", "place"), EVERYWHERE)
def test_an_unknown_member_is_refused_by_name_wherever_it_stands(caller: Caller, route: Route, place: Place) -> None:
    row = TABLE[route.called]
    key = caller.deployment.key(PLATFORM_TENANT if row.surface == "admin" else "acme")
    path = caller.path(route.called)
    if row.surface == "signers":
        answer = signing.call(caller.gateway, route.method, path, msgspec.json.encode(place.body))
    else:
        answer = caller.gateway.call(route.method, path, key=key, json=place.body)
    assert answer.status == 400, answer.body
    assert answer.json["field"] == (f"{place.path}.surprise" if place.path else "surprise")
    assert "`surprise`" in answer.json["detail"]


RATE = {"name": "second", "unit": "requests", "count": 5, "period_ms": 1_000, "burst": 50}
BUDGET = {"name": "month", "unit": "tokens", "limit": 1_000, "window": "month"}
CHAT = {"name": "a", "engine": "scripted"}


def _limits(**changed: Any) -> dict[str, Any]:
    return {"limits": {"rates": [RATE], "budgets": [BUDGET], "in_flight": 8} | changed}


@pytest.mark.parametrize(
    ("asked", "body", "field", "known"),
    [
        ("PATCH /admin/tenants/acme", _limits(budgets=[BUDGET | {"timezone": "CET"}]),
         "limits.budgets[0].timezone", "window"),
        ("PATCH /admin/tenants/acme", _limits(rates=[RATE, RATE | {"per": "s"}]), "limits.rates[1].per", "period_ms"),
        ("PATCH /admin/tenants/acme", _limits(concurrency=3), "limits.concurrency", "in_flight"),
        ("PATCH /admin/tenants/acme", {"limit": {}}, "limit", "limits"),
        ("POST /admin/tenants", {"id": "cora", "name": "C", **_limits(budgets=[BUDGET | {"soft": True}])},
         "limits.budgets[0].soft", "hard"),
        ("PUT /admin/pools/new", {"name": "new", "targets": [CHAT, CHAT | {"api_key": "sk-1"}]},
         "targets[1].api_key", "url"),
        ("PUT /admin/pools/new",
         {"name": "new", "targets": [{"name": "a", "engine": "openai_compatible", "url": "http://a/v1", "token": "t"}]},
         "targets[0].token", "url"),
        ("PUT /admin/pools/new", {"name": "new", "targets": [{"name": "a", "engine": "bedrock", "url": "http://a"}]},
         "targets[0].url", "region"),
        ("PUT /admin/pools/new", {"name": "new", "targets": [{"name": "a", "engine": "sagemaker", "region": "r"}]},
         "targets[0].region", "endpoint"),
        ("PUT /admin/pools/new", {"name": "new", "targets": [], "price": 3}, "price", "input_micro_usd_per_mtok"),
        ("POST /tenants/acme/keys", {"role": "viewer", "scopes": {"pool": ["model-a"]}}, "scopes.pool", "pools"),
    ],
)  # fmt: skip
def test_what_is_refused_says_what_there_is_and_changes_nothing(
    gateway: Gateway, deployment: Deployment, asked: str, body: Any, field: str, known: str
) -> None:
    method, path = asked.split()
    key = deployment.key(PLATFORM_TENANT if "/admin" in path else "acme")
    before = _stored(deployment)
    answer = gateway.call(method, path, key=key, json=body)
    assert (answer.status, answer.json["field"]) == (400, field)
    assert known in answer.json["detail"].partition("It takes:")[2]
    assert _stored(deployment) == before


def _stored(deployment: Deployment) -> list[Document]:
    documents = deployment.store.documents
    return [document for tenant in (PLATFORM, "acme") for document in documents.under(tenant, "")]


def test_the_published_document_says_so() -> None:
    schemas = openapi.document()["components"]["schemas"]
    for name in ("Change", "Limits", "Rate", "Budget", "Pool", "OpenAICompatible", "Bedrock", "KeyRequest", "Scopes"):
        assert schemas[name]["additionalProperties"] is False, name
    for name in ("ChatCompletionRequest", "CompletionRequest", "MessagesRequest", "InferenceRequest"):
        assert schemas[name]["additionalProperties"] is True, name


def test_a_name_that_is_long_or_odd_is_told_short(gateway: Gateway, deployment: Deployment) -> None:
    answer = gateway.call(
        "PATCH", "/admin/tenants/acme", key=deployment.key(PLATFORM_TENANT), json={"x" * 10_000: 1, "\u0000\n": 2}
    )
    assert answer.status == 400
    assert len(answer.body) < 1_000


STORED: dict[str, Any] = {
    "tenant": {
        "id": "old", "name": "Old", "pools": ["kept"], "colour": "red",
        "limits": {"rates": [RATE | {"per": "s"}], "budgets": [BUDGET | {"timezone": "CET"}], "in_flight": 8, "x": 1},
        "sealing": {"auth": "api_key", "keys": [], "since": 1},
    },
    "member#ada": {"subject": "ada", "role": "owner", "nick": "a"},
}  # fmt: skip
POOL = {"name": "kept", "targets": [CHAT | {"api_key": "sk-1"}], "price": 3}


def test_documents_that_were_stored_with_such_members_are_read_as_before() -> None:
    """Yesterday's gateway took them, and tomorrow's may know them."""
    deployment = Deployment()
    documents = deployment.store.documents
    for name, stored in STORED.items():
        documents.put(Document("old", name, json.dumps(stored)))
    documents.put(Document(PLATFORM, "pool#kept", json.dumps(POOL)))
    deployment.store.meters.open("old", deployment.clock())
    tenancy: Tenancy = deployment.tenancy
    assert tenancy.tenant("old").limits.rates[0].count == RATE["count"]
    assert tenancy.pool("kept").targets[0].name == "a"
    assert [member.subject for member in tenancy.people.members("old")] == ["ada"]
    snapshot = Snapshots(documents, deployment.store.meters).fresh("old")
    assert set(snapshot.pools) == {"kept"}
    key, _ = tenancy.create_key("old", "viewer")
    held = documents.get("old", f"key#{key.id}")
    assert held is not None
    odd = msgspec.json.decode(held.text) | {"scopes": {"pools": [], "teams": ["x"]}}
    documents.put(msgspec.structs.replace(held, text=json.dumps(odd)))
    assert [each.id for each in tenancy.keys("old")] == [key.id]
