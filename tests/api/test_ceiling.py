"""What is reserved is all that an engine may generate, whichever way a caller asks for more."""

import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from chalicelib import wiring
from chalicelib.call import Call
from chalicelib.engines.openai_compatible import OpenAICompatibleEngine
from chalicelib.pool import Bedrock, OpenAICompatible, Pool
from chalicelib.settings import Settings
from tests.api import signing
from tests.engines import bedrocks, servers
from tests.small_deployments import T0, Deployment, Gateway

CHAT = {"model": "model-a", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 7}


@pytest.mark.parametrize("member", ["n", "best_of"])
def test_every_choice_of_a_chat_is_reserved(gateway: Gateway, key: str, calls: list[Call], member: str) -> None:
    assert gateway.call("POST", "/tenants/acme/v1/chat/completions", key=key, json={**CHAT, member: 3}).status == 200
    assert calls[0].choices == 3


@pytest.mark.parametrize("member", ["n", "best_of"])
def test_a_native_answer_has_one_text_and_no_more_is_generated(
    gateway: Gateway, key: str, calls: list[Call], member: str
) -> None:
    answer = gateway.call("POST", "/inference", key=key, json={**CHAT, member: 2})
    assert (answer.status, answer.json["field"]) == (400, member)
    assert calls == []


HI = {"messages": [{"role": "user", "content": "hi"}]}
DOORS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "/inference": (HI, ("max_tokens", "max_completion_tokens")),
    "/tenants/acme/v1/chat/completions": (HI, ("max_tokens", "max_completion_tokens")),
    "/tenants/acme/v1/chat": ({**HI, "stream": False}, ("max_tokens", "max_completion_tokens")),
    "/tenants/acme/v1/completions": ({"prompt": "hi"}, ("max_tokens", "max_completion_tokens")),
    "/tenants/acme/v1/responses": ({"input": "hi"}, ("max_output_tokens",)),
    "/tenants/acme/v1/messages": (HI, ("max_tokens",)),
}
"""What each takes, and how it calls the ceiling; those of Bedrock are in tests of their own."""

each_name = pytest.mark.parametrize(
    ("path", "named"), [(path, named) for path, (_, names) in DOORS.items() for named in names]
)


@each_name
@pytest.mark.parametrize(("stated", "in_force"), [(4_096, 4_096), (4_097, 4_096), (32_000, 4_096), (10**7, 4_096)])
def test_more_than_the_pool_generates_is_lowered_to_it(
    gateway: Gateway, key: str, calls: list[Call], path: str, named: str, stated: int, in_force: int
) -> None:
    answer = gateway.call("POST", path, key=key, json={"model": "model-a", **DOORS[path][0], named: stated})
    assert answer.status == 200, answer.body
    assert calls[0].ceiling_tokens == in_force


@each_name
@pytest.mark.parametrize("stated", [0, -1])
def test_a_ceiling_of_nothing_is_refused_by_its_name(
    gateway: Gateway, key: str, calls: list[Call], path: str, named: str, stated: int
) -> None:
    answer = gateway.call("POST", path, key=key, json={"model": "model-a", **DOORS[path][0], named: stated})
    assert (answer.status, named in answer.body.decode()) == (400, True)
    assert calls == []


TITAN = "amazon.titan-text-premier-v1:0"
VERBOSE = b'{"object":"x","choices":[],"usage":{"prompt_tokens":1,"completion_tokens":999999}}'


def answers_at_length(request: servers.Request, wire: servers.Wire) -> None:
    """More than anybody has reserved."""
    counts = {"x_amzn_bedrock_input_token_count": "1", "x_amzn_bedrock_output_token_count": "999999"}
    wire.send(servers.whole(VERBOSE, **counts))


@pytest.fixture
def server() -> Iterator[servers.Server]:
    with servers.serving(answers_at_length) as server:
        yield server


@pytest.fixture
def wired(server: servers.Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployment]:
    """A tenant whose calls go all the way to that server."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", server.root)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLEEXAMPLE00")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "example")
    deployment = Deployment()
    deployment.engines = {"openai_compatible": OpenAICompatibleEngine(Settings()), "bedrock": bedrocks.sandbox()}
    there = OpenAICompatible("gpu-1", url=f"{server.root}/v1")
    deployment.tenancy.put_pool(Pool("model-a", (there,)))
    deployment.tenancy.put_pool(Pool("bedrock", (Bedrock("us", region="us-east-1"),), operations=("invoke",)))
    deployment.tenant(pools=("model-a", "bedrock"))
    deployment.tenancy.principals.put("acme", (signing.OWNER.arn,))
    with wiring.opening_into(deployment.rooms()):
        yield deployment


def charged(deployment: Deployment) -> int:
    """Tokens: of an answer at length, all that had been reserved."""
    return deployment.store.ledger.page("acme", 0, T0 * 2, None, 1).entries[0].charged.tokens


def estimated(*parts: object) -> int:
    return -(-sum(len(msgspec.json.encode(part)) for part in parts) // 3)


@pytest.mark.parametrize("named", ["max_tokens", "max_completion_tokens"])
@pytest.mark.parametrize(
    ("path", "prompt"),
    [
        ("/inference", {"messages": [{"role": "user", "content": "hi"}]}),
        ("/tenants/acme/v1/chat/completions", {"messages": [{"role": "user", "content": "hi"}]}),
        ("/tenants/acme/v1/completions", {"prompt": "hi"}),
    ],
)
def test_a_ceiling_by_either_name_is_reserved_and_in_force(
    gateway: Gateway, wired: Deployment, server: servers.Server, path: str, prompt: dict[str, Any], named: str
) -> None:
    answer = gateway.call("POST", path, key=wired.key(), json={"model": "model-a", **prompt, named: 11})
    assert answer.status == 200, answer.body
    assert json.loads(server.requests[-1].body) == {"model": "model-a", **prompt, "max_tokens": 11}
    assert charged(wired) == estimated(*prompt.values()) + 11


def test_the_ceiling_of_a_response_is_reserved_and_in_force(
    gateway: Gateway, wired: Deployment, server: servers.Server
) -> None:
    asked = {"model": "model-a", "input": "hi", "max_output_tokens": 11, "n_predict": 999, "n": 1}
    answer = gateway.call("POST", "/tenants/acme/v1/responses", key=wired.key(), json=asked)
    assert answer.status == 200, answer.body
    sent = {"model": "model-a", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 11, "n": 1}
    assert json.loads(server.requests[-1].body) == sent
    assert charged(wired) == estimated("hi", 1) + 11


def invoked(gateway: Gateway, body: dict[str, Any]) -> int:
    """A Titan is; what the request is estimated at."""
    asked = {"modelId": TITAN, "body": body}
    headers = {"Content-Type": "application/json"}
    answer = signing.call(gateway, "POST", "/v1/bedrock/invoke-model", msgspec.json.encode(asked), headers)
    assert answer.status == 200, answer.body
    return estimated(*asked.values())


@pytest.mark.parametrize("stated", [2_000, 7])
def test_a_ceiling_of_titans_own_body_is_reserved_and_in_force(
    gateway: Gateway, wired: Deployment, server: servers.Server, stated: int
) -> None:
    body = {"inputText": "hi", "textGenerationConfig": {"maxTokenCount": stated, "topP": 0.5}}
    prompt = invoked(gateway, body)
    assert server.requests[-1].path.endswith("/invoke")
    assert json.loads(server.requests[-1].body) == body
    assert charged(wired) == prompt + stated


def test_a_titan_that_is_told_no_ceiling_is_told_the_reserved_one(
    gateway: Gateway, wired: Deployment, server: servers.Server
) -> None:
    prompt = invoked(gateway, {"inputText": "hi"})
    assert json.loads(server.requests[-1].body)["textGenerationConfig"] == {"maxTokenCount": 512}
    assert charged(wired) == prompt + 512
