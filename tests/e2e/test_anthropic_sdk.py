"""The official `anthropic` package, unmodified, against the whole running system."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import anthropic
import pytest
from anthropic import Anthropic

from tests.e2e.admin import admin, entries, new_tenant
from tests.e2e.test_openai_sdk import client as openai_client
from tests.engines.servers import LAST_CHUNK, Handler, Request, Server, Wire, chunk, serving, stream_head, whole
from tests.local_system import RunningSystem
from tests.patience import PATIENCE_S

QUESTION = [{"role": "user", "content": "What is Cloister?"}]
CHAT_POOLS = ["demo", "demo-direct", "demo-multi"]
GREEDY: dict[str, Any] = {"max_tokens": 48, "extra_body": {"temperature": 0}}  # the SDK itself no longer has it
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
WEATHER = {
    "name": "weather",
    "description": "The weather of a city.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


def client(
    system: RunningSystem, key: str | None = None, tenant: str | None = None
) -> Any:  # the SDK's overloads are for literals
    base = f"{system.base_url}/tenants/{tenant or system.tenant}"
    return Anthropic(base_url=base, api_key=key or system.api_key, max_retries=0, timeout=PATIENCE_S)


@pytest.mark.parametrize("pool", CHAT_POOLS)
def test_a_message_is_answered_as_the_chat_is(running_system: RunningSystem, pool: str) -> None:
    answer = client(running_system).messages.create(model=pool, messages=QUESTION, **GREEDY)
    chat = openai_client(running_system).chat.completions.create(
        model=pool, messages=QUESTION, max_tokens=48, temperature=0
    )
    assert answer.content[0].text == chat.choices[0].message.content
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (
        chat.usage.prompt_tokens,
        chat.usage.completion_tokens,
    )
    assert answer.stop_reason in ("end_turn", "max_tokens")
    assert answer.model == pool


@pytest.mark.parametrize("pool", CHAT_POOLS)
def test_a_stream_is_the_message_in_pieces(running_system: RunningSystem, pool: str) -> None:
    messages = client(running_system).messages
    answer = messages.create(model=pool, messages=QUESTION, **GREEDY)
    with messages.stream(model=pool, messages=QUESTION, **GREEDY) as stream:
        texts = list(stream.text_stream)
        final = stream.get_final_message()
    assert "".join(texts) == final.content[0].text == answer.content[0].text
    assert len(texts) > 4
    assert (final.usage, final.stop_reason) == (answer.usage, answer.stop_reason)


def test_a_system_prompt_and_blocks_say_what_plain_texts_say(running_system: RunningSystem) -> None:
    messages = client(running_system).messages
    plain = messages.create(model="demo", system="You help.", messages=QUESTION, **GREEDY)
    cached = {"cache_control": {"type": "ephemeral"}}
    blocks = messages.create(
        model="demo",
        system=[{"type": "text", "text": "You help.", **cached}],
        messages=[{"role": "user", "content": [{"type": "text", "text": "What is Cloister?", **cached}]}],
        metadata={"user_id": "u-1"},
        **GREEDY,
    )
    assert (blocks.content, blocks.usage) == (plain.content, plain.usage)


def test_a_stop_sequence_stops(running_system: RunningSystem) -> None:
    answer = client(running_system).messages.create(model="demo", messages=QUESTION, stop_sequences=[" is"], **GREEDY)
    assert " is" not in answer.content[0].text
    assert answer.usage.output_tokens < 48


def test_the_sdks_other_doors_lead_to_the_same_routes(running_system: RunningSystem) -> None:
    sdk = client(running_system)
    answer = sdk.beta.messages.create(model="demo", messages=QUESTION, betas=["some-beta-2026-01-01"], **GREEDY)
    assert answer.content[0].text == sdk.messages.create(model="demo", messages=QUESTION, **GREEDY).content[0].text
    assert {model.id for model in sdk.models.list()} >= set(CHAT_POOLS)


@pytest.mark.parametrize("pool", ["claude", "nova", "demo"])
def test_an_agent_that_believes_to_speak_with_anthropic_is_answered_by_every_pool(
    running_system: RunningSystem, pool: str
) -> None:
    """What coding agents send by themselves: betas, marks of caches, tiers, edits of the context, thinking."""
    mark = {"cache_control": {"type": "ephemeral", "scope": "global"}}
    text = {"type": "text", "text": "What is Cloister?"}
    call = "functions.Bash:0"
    asked: dict[str, Any] = {
        "model": pool,
        "max_tokens": 64,
        "betas": [
            *("claude-code-20250219", "interleaved-thinking-2025-05-14", "context-management-2025-06-27"),
            *("prompt-caching-scope-2026-01-05", "effort-2025-11-24", "extended-cache-ttl-2025-04-11"),
        ],
        "system": [{"type": "text", "text": "You help.", **mark}],
        "tools": [WEATHER | {"defer_loading": False, "eager_input_streaming": True} | mark],
        "metadata": {"user_id": "u-1"},
        "extra_body": {
            "thinking": {"type": "adaptive"},
            "output_config": {"effort": "high"},
            "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
            "service_tier": "auto",
            "inference_geo": "us",
            "mcp_servers": [],
            "container": None,
        },
        "messages": [
            {"role": "user", "content": [text]},
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "A tool knows.", "signature": ""},
                    {"type": "text", "text": " "},
                    {"type": "tool_use", "id": call, "name": "weather", "input": {"city": "Bern"}},
                ],
            },
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call, "content": "9 °C"}, text | mark]},
        ],
    }
    beta = client(running_system).beta.messages
    assert beta.create(**asked).content[0].text
    with beta.stream(**asked) as stream:
        assert stream.get_final_message().content[0].text
    counted = {name: value for name, value in asked.items() if name not in ("max_tokens", "metadata")}
    assert beta.count_tokens(**counted).input_tokens > 0
    with pytest.raises(anthropic.BadRequestError, match="mcp_servers"):
        beta.create(**asked | {"extra_body": {"mcp_servers": [{"type": "url", "url": "https://x", "name": "x"}]}})


def test_a_count_is_what_the_message_is_charged_for_its_prompt(running_system: RunningSystem) -> None:
    key = new_tenant(running_system, "anthropic-count")
    messages = client(running_system, key, "anthropic-count").messages
    prompt: dict[str, Any] = {"messages": QUESTION, "system": "You help.", "tools": [WEATHER]}
    for pool in CHAT_POOLS:
        count = messages.count_tokens(model=pool, **prompt)
        answer = messages.create(model=pool, max_tokens=4, **prompt)
        assert count.input_tokens == answer.usage.input_tokens > 8
    charged = [
        (entry["operation"], entry["charged"]["tokens"]) for entry in entries(running_system, "anthropic-count", key)
    ]
    tokens = count.input_tokens
    assert charged == 3 * [("messages", tokens + 4), ("messages.count_tokens", tokens)]


def test_errors_are_the_sdks_own_with_the_requests_id(running_system: RunningSystem) -> None:
    ask: dict[str, Any] = {"model": "demo", "messages": QUESTION, "max_tokens": 4}
    with pytest.raises(anthropic.AuthenticationError) as unknown:
        client(running_system, key="ck_demo.aaaaaaaa_" + "x" * 43).messages.create(**ask)
    assert unknown.value.type == "authentication_error"
    assert unknown.value.request_id == unknown.value.body["request_id"]
    with pytest.raises(anthropic.NotFoundError):
        client(running_system).messages.create(**{**ask, "model": "no-such-model"})
    with pytest.raises(anthropic.NotFoundError):
        client(running_system, tenant="somebody-else").messages.create(**ask)
    with pytest.raises(anthropic.BadRequestError):
        client(running_system).messages.create(**{**ask, "model": "embed"})
    with pytest.raises(anthropic.BadRequestError) as refused:
        client(running_system).messages.create(**ask, thinking={"type": "enabled", "budget_tokens": 1024})
    assert "thinking" in str(refused.value.api_message)
    with pytest.raises(anthropic.ContentTooLargeError):
        client(running_system).messages.create(**{**ask, "system": "x" * 7_000_000})


def test_a_rate_denies_with_the_exact_wait(running_system: RunningSystem) -> None:
    limits = {
        "rates": [{"name": "slow", "unit": "requests", "count": 1, "period_ms": 3_600_000, "burst": 3}],
        "budgets": [],
        "in_flight": 4,
    }
    key = new_tenant(running_system, "anthropic-slow", limits=limits)
    messages = client(running_system, key, "anthropic-slow").messages
    with pytest.raises(anthropic.RateLimitError) as refused:
        for _ in range(4):  # the third may pass, see the same test of the other SDK
            messages.create(model="demo-direct", messages=QUESTION, max_tokens=1)
    assert 0 < int(refused.value.response.headers["Retry-After"]) <= 3_600
    assert refused.value.response.json()["error"]["limit"] == "slow"


# The demo model has no tools and sees nothing: what a bigger one would say is written by these servers.


def answering(message: dict[str, Any], deltas: list[dict[str, Any]], finish: str) -> Handler:
    """A model that says this, whole or streamed."""
    usage = {"prompt_tokens": 20, "completion_tokens": 9, "total_tokens": 29}

    def handle(request: Request, wire: Wire) -> None:
        if request.method == "GET":
            return wire.send(whole(b'{"status":"ok"}'))
        if not json.loads(request.body).get("stream"):
            choice = {"index": 0, "message": message, "finish_reason": finish}
            body = {"object": "chat.completion", "choices": [choice], "usage": usage}
            return wire.send(whole(json.dumps(body).encode()))
        choices: list[dict[str, Any]] = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
        choices.append({"index": 0, "delta": {}, "finish_reason": finish})
        bodies: list[dict[str, Any]] = [{"choices": [choice]} for choice in choices]
        bodies.append({"choices": [], "usage": usage})
        events = [b"data: " + json.dumps(body).encode() + b"\n\n" for body in bodies]
        return wire.send(stream_head(), *(chunk(event) for event in [*events, b"data: [DONE]\n\n"]), LAST_CHUNK)

    return handle


@contextmanager
def model(system: RunningSystem, name: str, handler: Handler) -> Iterator[tuple[Any, Server]]:
    """The messages of a tenant whose only pool, `name`, runs on the server."""
    with serving(handler) as server:
        target = {"name": name, "engine": "openai_compatible", "url": f"{server.root}/v1"}
        admin(system, "PUT", f"/pools/{name}", {"name": name, "targets": [target]})
        key = new_tenant(system, name, pools=[name])
        try:
            yield client(system, key, name).messages, server
        finally:
            admin(system, "PATCH", f"/tenants/{name}", {"pools": []})
            admin(system, "DELETE", f"/pools/{name}")


def test_a_tool_is_called_and_its_result_is_told(running_system: RunningSystem) -> None:
    head = {"id": "call_1", "type": "function"}
    arguments = '{"city": "Bern"}'
    message = {
        "role": "assistant",
        "content": "Let me see.",
        "tool_calls": [{**head, "function": {"name": "weather", "arguments": arguments}}],
    }
    deltas: list[dict[str, Any]] = [
        {"role": "assistant", "content": "Let me"},
        {"content": " see."},
        {"tool_calls": [{"index": 0, **head, "function": {"name": "weather", "arguments": ""}}]},
        *({"tool_calls": [{"index": 0, "function": {"arguments": each}}]} for each in ('{"ci', 'ty": "Bern"}')),
    ]
    handler = answering(message, deltas, "tool_calls")
    with model(running_system, "anthropic-tools", handler) as (messages, server):
        ask: dict[str, Any] = {
            "model": "anthropic-tools",
            "max_tokens": 64,
            "tools": [WEATHER],
            "tool_choice": {"type": "any"},
            "messages": [{"role": "user", "content": "How is the weather in Bern?"}],
        }
        answer = messages.create(**ask)
        with messages.stream(**ask) as stream:
            final = stream.get_final_message()
        assert [block.model_dump() for block in final.content] == [block.model_dump() for block in answer.content]
        text, use = answer.content
        assert (text.text, use.name, use.input) == ("Let me see.", "weather", {"city": "Bern"})
        assert answer.stop_reason == final.stop_reason == "tool_use"
        asked = json.loads(server.requests[-1].body)
        assert asked["tool_choice"] == "required"
        result = {"type": "tool_result", "tool_use_id": use.id, "content": "9 °C"}
        turns = [answer.to_param(), {"role": "user", "content": [result]}]
        messages.create(**{**ask, "messages": [*ask["messages"], *turns]})
    told = json.loads(server.requests[-1].body)["messages"]
    assert told[1]["tool_calls"][0]["function"] == {"name": "weather", "arguments": '{"city":"Bern"}'}
    assert told[2] == {"role": "tool", "tool_call_id": "call_1", "content": "9 °C"}


def test_an_image_is_shown_and_thinking_is_told(running_system: RunningSystem) -> None:
    message = {"role": "assistant", "reasoning_content": "It is small.", "content": "A pixel."}
    deltas = [{"reasoning_content": "It is small."}, {"content": "A "}, {"content": "pixel."}]
    with model(running_system, "anthropic-images", answering(message, deltas, "stop")) as (messages, server):
        source = {"type": "base64", "media_type": "image/png", "data": PNG}
        content = [{"type": "image", "source": source}, {"type": "text", "text": "What is it?"}]
        ask: dict[str, Any] = {
            "model": "anthropic-images",
            "max_tokens": 64,
            "messages": [{"role": "user", "content": content}],
        }
        answer = messages.create(**ask)
        with messages.stream(**ask) as stream:
            final = stream.get_final_message()
    shown = json.loads(server.requests[-1].body)["messages"][0]["content"][0]
    assert shown == {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}
    for each in (answer, final):
        assert [block.type for block in each.content] == ["thinking", "text"]
        assert (each.content[0].thinking, each.content[1].text) == ("It is small.", "A pixel.")


def test_a_model_that_is_full_is_an_overloaded_error(running_system: RunningSystem) -> None:
    def full(request: Request, wire: Wire) -> None:
        wire.send(whole(b'{"error":{"message":"full"}}', 503, retry_after="7"))

    with (
        model(running_system, "anthropic-full", full) as (messages, _),
        pytest.raises(anthropic.OverloadedError) as full_up,
    ):
        messages.create(model="anthropic-full", max_tokens=4, messages=QUESTION)
    assert full_up.value.type == "overloaded_error"
    assert int(full_up.value.response.headers["Retry-After"]) <= 7


def test_an_answer_in_a_schema_is_parsed_by_the_sdk(running_system: RunningSystem) -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"type": "boolean"}},
        "required": ["a"],
        "additionalProperties": False,
    }
    answer = client(running_system).messages.create(
        model="demo",
        messages=QUESTION,
        max_tokens=64,
        output_config={"format": {"type": "json_schema", "schema": schema}},
    )
    assert json.loads(answer.content[0].text).keys() == {"a"}
