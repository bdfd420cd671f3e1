"""A pool by its own name, by an alias of its own, by an alias of the tenant's: at every door, in every answer."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import quote

import msgspec
import pytest

from chalicelib import wiring
from chalicelib.call import Operation
from chalicelib.engines.openai_compatible import OpenAICompatibleEngine
from chalicelib.pool import OpenAICompatible, Pool
from chalicelib.refusal import Conflict, Malformed
from chalicelib.settings import Settings
from chalicelib.tenancy import PLATFORM_TENANT, Change
from chalicelib.tenancy.tenant import Tenant
from tests import api_gateway
from tests.engines.servers import LAST_CHUNK, Request, Wire, chunk, serving, stream_head, whole
from tests.small_deployments import T0, Answer, Deployment, Gateway

CHAT = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 8}
LLAMA, CLAUDE, GPT = "meta-llama/Llama-3.1-8B", "claude-sonnet-4:latest", "gpt-4o"
LONG = "accounts/a/models/m@2024:1"
NAMES = {  # and the pool that each is a name of
    "chat": "chat",
    LLAMA: "chat",
    CLAUDE: "chat",
    GPT: "chat",  # the tenant's own word
    LONG: "org/small",  # likewise
    "org/small": "org/small",
}
OWN = b"org/model-as-the-server-has-it"


class Door(NamedTuple):
    path: str
    body: Mapping[str, Any]
    headers: tuple[str, ...] = ()  # that name the model, instead of the body


DOORS = {
    "chats": Door("/tenants/acme/v1/chat/completions", CHAT),
    "chat": Door("/tenants/acme/v1/chat", CHAT),
    "completions": Door("/tenants/acme/v1/completions", {"prompt": "hi", "max_tokens": 8}),
    "embeddings": Door("/tenants/acme/v1/embeddings", {"input": "hi"}),
    "messages": Door("/tenants/acme/v1/messages", CHAT),
    "inference": Door("/inference", {"prompt": "hi"}),
    "inference by header": Door("/inference", {"prompt": "hi"}, ("X-Model-Pool",)),
}
STREAMING = [name for name in DOORS if name != "embeddings"]

USAGE = b'"usage":{"prompt_tokens":7,"completion_tokens":2,"total_tokens":9}'
WHOLE = (
    b'{"id":"1","object":"o","created":1,"model":"' + OWN + b'","choices":[{"index":0,"text":"hi","message":'
    b'{"role":"assistant","content":"hi"},"finish_reason":"stop"}],"data":[{"embedding":[0.1],"index":0}],'
    + USAGE
    + b"}"
)
PIECES = (
    b'{"id":"1","model":"' + OWN + b'","choices":[{"index":0,"text":"hi","delta":{"content":"hi"}}]}',
    b'{"id":"1","model":"' + OWN + b'","choices":[{"index":0,"text":"","delta":{},"finish_reason":"stop"}]}',
    b'{"id":"1","model":"' + OWN + b'","choices":[],' + USAGE + b"}",
)


def serve(request: Request, wire: Wire) -> None:
    """A server that has a name of its own for its model, and says it."""
    if msgspec.json.decode(request.body).get("stream"):
        events = b"".join(b"data: " + piece + b"\n\n" for piece in (*PIECES, b"[DONE]"))
        wire.send(stream_head(), chunk(events), LAST_CHUNK)
    else:
        wire.send(whole(WHOLE))


@pytest.fixture
def deployment() -> Iterator[Deployment]:
    deployment = Deployment()
    deployment.engines = {"openai_compatible": OpenAICompatibleEngine(Settings())}
    operations: tuple[Operation, ...] = ("chat.completions", "completions", "embeddings")
    deployment.tenancy.create_tenant(Tenant(id=PLATFORM_TENANT, name="The operator"))
    with serving(serve) as server:
        targets = (OpenAICompatible("a", model=OWN.decode(), url=f"{server.root}/v1"),)
        deployment.tenancy.put_pool(Pool("chat", targets, operations, aliases=(LLAMA, CLAUDE)))
        deployment.tenancy.put_pool(Pool("org/small", targets, operations))
        deployment.tenancy.put_pool(Pool("secret", targets, operations, aliases=("hidden",)))
        deployment.tenant("acme", pools=("chat", "org/small"), aliases={GPT: "chat", LONG: "org/small"})
        deployment.tenant("bolt", pools=("chat", "secret"))
        with wiring.opening_into(deployment.rooms()):
            yield deployment


def ask(gateway: Gateway, key: str, door: Door, model: str, **more: Any) -> Answer:
    headers = dict.fromkeys(door.headers, model)
    named = {} if door.headers else {"model": model}
    return gateway.call("POST", door.path, key=key, json={**door.body, **named, **more}, headers=headers)


def told(answer: Answer) -> list[dict[str, Any]]:
    """Each JSON text of a stream."""
    assert answer.headers["content-type"].startswith("text/event-stream"), answer.body
    lines = [line.removeprefix(b"data: ") for line in answer.body.split(b"\n") if line.startswith(b"data: ")]
    return [json.loads(line) for line in lines if line != b"[DONE]"]


def last_pool(deployment: Deployment) -> str:
    return deployment.store.ledger.page("acme", 0, T0 * 2, None, 1).entries[0].pool


@pytest.mark.parametrize("model", NAMES)
@pytest.mark.parametrize("door", DOORS)
def test_a_whole_answer_names_the_model_as_it_was_asked_for(
    gateway: Gateway, deployment: Deployment, door: str, model: str
) -> None:
    answer = ask(gateway, deployment.key(), DOORS[door], model, **({"stream": False} if door == "chat" else {}))
    assert (answer.status, answer.json["model"]) == (200, model), answer.body
    assert OWN not in answer.body
    assert last_pool(deployment) == NAMES[model]


@pytest.mark.parametrize("model", NAMES)
@pytest.mark.parametrize("door", STREAMING)
def test_every_chunk_of_a_stream_names_the_model_as_it_was_asked_for(
    gateway: Gateway, deployment: Deployment, door: str, model: str
) -> None:
    more = {} if door == "messages" or "inference" in door else {"stream_options": {"include_usage": True}}
    answer = ask(gateway, deployment.key(), DOORS[door], model, stream=True, **more)
    chunks = told(answer)
    if door == "messages":
        assert chunks[0]["message"]["model"] == model
    elif "inference" in door:
        assert chunks[-1]["model"] == model
    else:
        assert [each["model"] for each in chunks] == [model] * 3
    assert OWN not in answer.body
    assert last_pool(deployment) == NAMES[model]


@pytest.mark.parametrize(("stream", "streams"), [({}, True), ({"stream": None}, True), ({"stream": False}, False)])
def test_the_short_address_streams_unless_it_is_told_not_to(
    gateway: Gateway, deployment: Deployment, stream: dict[str, Any], streams: bool
) -> None:
    answer = ask(gateway, deployment.key(), DOORS["chat"], "chat", **stream)
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/event-stream") == streams
    assert answer.body.endswith(b"data: [DONE]\n\n") == streams


# What a name may not do


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("name", ["hidden", "secret", "chat/", "CHAT", "Chat", "org", "small", "o1", GPT * 50])
def test_no_name_leads_to_a_pool_that_the_tenant_may_not_use(
    gateway: Gateway, deployment: Deployment, door: str, name: str
) -> None:
    answer = ask(gateway, deployment.key(), DOORS[door], name)
    assert answer.status == 404, answer.body


@pytest.mark.parametrize("door", DOORS)
def test_a_key_that_is_narrowed_to_pools_is_so_for_all_their_names(
    gateway: Gateway, deployment: Deployment, door: str
) -> None:
    key = deployment.key(pools=("org/small",))
    reached = {name for name in NAMES if ask(gateway, key, DOORS[door], name).status == 200}
    assert reached == {name for name, pool in NAMES.items() if pool == "org/small"}


def test_a_key_is_narrowed_to_pools_and_not_to_aliases(gateway: Gateway, deployment: Deployment) -> None:
    """An alias may be another pool's tomorrow."""
    key = deployment.key(pools=(GPT,))
    assert {ask(gateway, key, DOORS["chats"], name).status for name in NAMES} == {404}


def test_an_alias_is_its_tenants_alone(gateway: Gateway, deployment: Deployment) -> None:
    door = Door("/tenants/bolt/v1/chat/completions", CHAT)
    reached = {name for name in (*NAMES, "hidden") if ask(gateway, deployment.key("bolt"), door, name).status == 200}
    assert reached == {"chat", LLAMA, CLAUDE, "hidden"}


def test_an_alias_follows_its_pool_out_of_the_tenant_and_back(gateway: Gateway, deployment: Deployment) -> None:
    key = deployment.key()

    def statuses() -> list[int]:
        return [ask(gateway, key, DOORS["chats"], name).status for name in (GPT, LLAMA, LONG)]

    assert statuses() == [200, 200, 200]
    deployment.tenancy.change_tenant("acme", Change(pools=("org/small",)))
    assert statuses() == [404, 404, 200]
    deployment.tenancy.change_tenant("acme", Change(pools=("org/small", "chat")))
    assert statuses() == [200, 200, 200]
    deployment.tenancy.change_tenant("acme", Change(aliases={}))
    assert statuses() == [404, 200, 404]
    deployment.tenancy.put_pool(msgspec.structs.replace(deployment.tenancy.pool("chat"), aliases=()))
    assert statuses() == [404, 404, 404]


def test_what_is_refused_speaks_of_the_name_that_was_asked_for(gateway: Gateway, deployment: Deployment) -> None:
    key = deployment.key()
    deployment.tenancy.put_pool(msgspec.structs.replace(deployment.tenancy.pool("chat"), operations=("embeddings",)))
    not_offered = ask(gateway, key, DOORS["chats"], GPT)
    assert "gpt-4o does not offer chat.completions" in not_offered.json["error"]["message"]


# Models


def _models(gateway: Gateway, key: str, name: str = "") -> Answer:
    return gateway.call("GET", f"/tenants/acme/v1/models{name}", key=key)


def test_what_can_be_asked_for_is_listed(gateway: Gateway, deployment: Deployment) -> None:
    assert [each["id"] for each in _models(gateway, deployment.key()).json["data"]] == sorted(NAMES)
    narrowed = _models(gateway, deployment.key(pools=("org/small",))).json["data"]
    assert [each["id"] for each in narrowed] == [LONG, "org/small"]
    profile = gateway.call("GET", "/tenants/acme", key=deployment.key()).json
    assert profile["pools"] == ["chat", "org/small"]
    assert profile["aliases"] == {GPT: "chat", LLAMA: "chat", CLAUDE: "chat", LONG: "org/small"}


@pytest.mark.parametrize("name", NAMES)
def test_a_model_is_looked_at_by_any_name_however_its_slashes_are_written(
    gateway: Gateway, deployment: Deployment, name: str
) -> None:
    key = deployment.key()
    for path in (name, quote(name), quote(name, safe=""), quote(name, safe=":@"), name.replace("/", "%2f")):
        answer = _models(gateway, key, f"/{path}")
        assert (answer.status, answer.json.get("id")) == (200, name), path


@pytest.mark.parametrize("name", ["hidden", "secret", "org", "org/small/x", "org%2Fsmall%2Fx", "a/" * 20])
def test_what_is_no_name_of_the_callers_is_not_found(gateway: Gateway, deployment: Deployment, name: str) -> None:
    answer = _models(gateway, deployment.key(), f"/{name}")
    assert answer.status == 404


def test_plain_lambda_is_handed_a_name_as_the_client_wrote_it(deployment: Deployment) -> None:
    """Behind the bridge it is decoded already; API Gateway leaves that to the function."""
    from app import app

    for written in (LLAMA, quote(LLAMA, safe="")):
        event = api_gateway.event(
            "GET",
            "/tenants/{tenant}/v1/models/{model+}",
            {"tenant": "acme", "model": written},
            path=f"/tenants/acme/v1/models/{written}",
            headers={"x-api-key": deployment.key()},
        )
        reply = app(event, None)
        assert (reply["statusCode"], json.loads(reply["body"])["id"]) == (200, LLAMA)


# What operators may name


TARGET = {"name": "a", "engine": "scripted"}


def test_a_pool_of_such_a_name_is_put_and_removed_however_its_slash_is_written(
    gateway: Gateway, deployment: Deployment
) -> None:
    key = deployment.key(PLATFORM_TENANT)
    name = "meta-llama/Llama-3.1-70B"
    for path in (name, quote(name, safe="")):
        put = gateway.call("PUT", f"/admin/pools/{path}", key=key, json={"name": name, "targets": [TARGET]})
        assert put.status == 200, put.body
        assert gateway.call("DELETE", f"/admin/pools/{path}", key=key).status == 204


@pytest.mark.parametrize(
    "pool",
    [
        Pool("new", (), aliases=("chat",)),
        Pool("new", (), aliases=("x", CLAUDE)),
        Pool(LLAMA, ()),
        Pool("org/small", (), aliases=("secret",)),
    ],
)
def test_a_name_is_of_one_pool(deployment: Deployment, pool: Pool) -> None:
    with pytest.raises(Conflict, match="is a name of the pool"):
        deployment.tenancy.put_pool(pool)


def test_a_pool_may_be_put_again_as_it_is(deployment: Deployment) -> None:
    held = deployment.tenancy.pool("chat")
    assert deployment.tenancy.put_pool(held) == held


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (Change(aliases={"x": "secret"}), "not among the tenant's pools"),
        (Change(aliases={"x": LLAMA}), "not among the tenant's pools"),  # no alias of an alias
        (Change(aliases={"x": "chat"}, pools=("org/small",)), "not among the tenant's pools"),
        (Change(aliases={"chat": "org/small"}), "one of the tenant's pools"),
        (Change(pools=("chat", GPT)), "one of the tenant's pools"),
    ],
)
def test_an_alias_is_of_one_of_the_tenants_pools(deployment: Deployment, change: Change, said: str) -> None:
    before = deployment.tenancy.tenant("acme")
    with pytest.raises(Malformed, match=said):
        deployment.tenancy.change_tenant("acme", change)
    assert deployment.tenancy.tenant("acme") == before


@pytest.mark.parametrize("alias", ["", "a b", "a//b", "/a", "a/", "a\n", "x" * 129, "a/" * 8 + "b", "~", "é"])
def test_what_no_client_could_send_as_a_name_is_none(gateway: Gateway, deployment: Deployment, alias: str) -> None:
    key = deployment.key(PLATFORM_TENANT)
    for method, path, body in (
        ("PATCH", "/admin/tenants/acme", {"aliases": {alias: "chat"}}),
        ("PUT", "/admin/pools/new", {"name": "new", "targets": [], "aliases": [alias]}),
        ("POST", "/admin/tenants", {"id": "cora", "name": "C", "pools": ["chat"], "aliases": {alias: "chat"}}),
    ):
        answer = gateway.call(method, path, key=key, json=body)
        assert (answer.status, answer.json["type"]) == (400, "/problems/invalid-request"), path
