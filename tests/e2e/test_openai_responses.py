"""Responses through the official `openai` package, unmodified, against the whole running system."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import openai
import pydantic
import pytest

from tests.e2e.admin import admin, entries, new_tenant
from tests.e2e.test_anthropic_sdk import PNG, answering
from tests.e2e.test_openai_sdk import CHAT_POOLS, QUESTION, client
from tests.engines.servers import Handler, Server, serving
from tests.local_system import RunningSystem

ASKED: dict[str, Any] = {"input": "What is Cloister?", "temperature": 0, "max_output_tokens": 48}
WEATHER: dict[str, Any] = {
    "type": "function",
    "name": "weather",
    "description": "The weather of a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    "strict": False,
}


class Said(pydantic.BaseModel):
    a: bool


@pytest.mark.parametrize("pool", CHAT_POOLS)
def test_a_response_says_what_the_chat_does(running_system: RunningSystem, pool: str) -> None:
    response = client(running_system).responses.create(model=pool, **ASKED)
    chat = client(running_system).chat.completions.create(model=pool, messages=QUESTION, max_tokens=48, temperature=0)
    assert response.output_text == chat.choices[0].message.content
    assert (response.usage.input_tokens, response.usage.output_tokens) == (
        chat.usage.prompt_tokens,
        chat.usage.completion_tokens,
    )
    assert (response.status, response.model, response.store) in (
        ("completed", pool, False),
        ("incomplete", pool, False),
    )
    assert response.created_at > 1_700_000_000


@pytest.mark.parametrize("pool", [*CHAT_POOLS, "claude", "nova"])
def test_a_stream_is_the_response_in_pieces(running_system: RunningSystem, pool: str) -> None:
    responses = client(running_system).responses
    whole = responses.create(model=pool, **ASKED)
    events = list(responses.create(model=pool, **ASKED, stream=True))
    assert [event.sequence_number for event in events] == [*range(len(events))]
    assert events[0].type == "response.created"
    assert events[-1].type == f"response.{whole.status}"
    texts = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert "".join(texts) == events[-1].response.output_text == whole.output_text
    assert events[-1].response.usage == whole.usage


@pytest.mark.parametrize("pool", ["demo", "claude", "nova"])
def test_a_conversation_goes_on_with_what_was_answered(running_system: RunningSystem, pool: str) -> None:
    responses = client(running_system).responses
    with responses.stream(model=pool, instructions="You help.", input="Hi", max_output_tokens=400) as stream:
        stream.until_done()
        first = stream.get_final_response()
    turns: list[Any] = [
        {"role": "user", "content": "Hi"},
        *(item.to_dict() for item in first.output),
        {"type": "function_call", "call_id": "call_1", "name": "weather", "arguments": '{"city":"Bern"}'},
        {"type": "function_call_output", "call_id": "call_1", "output": "rain"},
        {"role": "user", "content": [{"type": "input_text", "text": "What is Cloister?"}]},
    ]
    answer = responses.create(model=pool, instructions="You help.", input=turns, tools=[WEATHER], max_output_tokens=8)
    assert answer.output_text
    assert answer.usage.input_tokens > first.usage.input_tokens


def test_an_answer_in_a_form_is_parsed_by_the_sdk(running_system: RunningSystem) -> None:
    responses = client(running_system).responses
    assert isinstance(responses.parse(model="demo", text_format=Said, **ASKED).output_parsed, Said)
    with responses.stream(model="demo", text_format=Said, **ASKED) as stream:
        assert isinstance(stream.get_final_response().output_parsed, Said)


def test_a_response_is_charged_as_the_chat_is(running_system: RunningSystem) -> None:
    key = new_tenant(running_system, "responses-charged")
    used = client(running_system, key, "responses-charged").responses.create(model="demo", **ASKED).usage
    (entry,) = entries(running_system, "responses-charged", key)
    assert (entry["operation"], entry["charged"]["tokens"]) == ("responses", used.total_tokens)


def test_a_response_is_kept_gone_on_with_and_deleted(running_system: RunningSystem) -> None:
    key = new_tenant(running_system, "responses-kept")
    responses = client(running_system, key, "responses-kept").responses
    first = responses.create(model="demo", store=True, **ASKED)
    assert responses.retrieve(first.id).to_dict() == first.to_dict()
    with responses.stream(
        model="demo", store=True, input="And?", previous_response_id=first.id, max_output_tokens=400
    ) as stream:
        second = stream.get_final_response()
    assert second.usage.input_tokens > first.usage.total_tokens
    assert responses.retrieve(second.id).output_text == second.output_text
    assert [item.content[0].text for item in responses.input_items.list(second.id).data] == ["And?"]
    with pytest.raises(openai.NotFoundError):
        client(running_system).responses.retrieve(first.id)  # another tenant's key
    for kept in (first, second):
        responses.delete(kept.id)
        with pytest.raises(openai.NotFoundError):
            responses.retrieve(kept.id)


def test_errors_are_the_sdks_own(running_system: RunningSystem) -> None:
    responses = client(running_system).responses
    refused: dict[str, Any] = {
        "conversation": {"conversation": "conv_1"},
        "tools[0].type": {"tools": [{"type": "web_search"}]},
    }
    for param, members in refused.items():
        for stream in (False, True):
            with pytest.raises(openai.BadRequestError) as bad:
                responses.create(model="demo", **ASKED, **members, stream=stream)
            assert bad.value.param == param
    with pytest.raises(openai.NotFoundError) as unknown:
        responses.create(model="demo", input="Hi", previous_response_id="resp_1")
    assert unknown.value.param == "previous_response_id"
    with pytest.raises(openai.NotFoundError):
        responses.create(model="no-such-model", input="Hi")
    with pytest.raises(openai.BadRequestError):
        responses.create(model="embed", input="Hi")


# The demo model has no tools and sees nothing: what a bigger one would say is written by these servers.


@contextmanager
def model(system: RunningSystem, name: str, handler: Handler) -> Iterator[tuple[Any, Server]]:
    """The Responses of a tenant whose only pool, `name`, runs on the server."""
    with serving(handler) as server:
        target = {"name": name, "engine": "openai_compatible", "url": f"{server.root}/v1"}
        admin(system, "PUT", f"/pools/{name}", {"name": name, "targets": [target]})
        key = new_tenant(system, name, pools=[name])
        try:
            yield client(system, key, name).responses, server
        finally:
            admin(system, "PATCH", f"/tenants/{name}", {"pools": []})
            admin(system, "DELETE", f"/pools/{name}")


def test_a_tool_is_called_and_its_output_is_told(running_system: RunningSystem) -> None:
    head = {"id": "call_1", "type": "function"}
    arguments = '{"city": "Bern"}'
    message = {
        "role": "assistant",
        "reasoning_content": "Rain?",
        "content": "Let me see.",
        "tool_calls": [{**head, "function": {"name": "weather", "arguments": arguments}}],
    }
    deltas: list[dict[str, Any]] = [
        {"role": "assistant", "content": ""},
        {"reasoning_content": "Rain?"},
        {"content": "Let me"},
        {"content": " see."},
        {"tool_calls": [{"index": 0, **head, "function": {"name": "weather", "arguments": ""}}]},
        *({"tool_calls": [{"index": 0, "function": {"arguments": each}}]} for each in ('{"ci', 'ty": "Bern"}')),
    ]
    with model(running_system, "responses-tools", answering(message, deltas, "tool_calls")) as (responses, server):
        ask: dict[str, Any] = {
            "model": "responses-tools",
            "max_output_tokens": 64,
            "tools": [WEATHER],
            "tool_choice": "required",
            "input": [{"role": "user", "content": "How is the weather in Bern?"}],
        }
        whole = responses.create(**ask)
        with responses.stream(**ask) as stream:
            final = stream.get_final_response()
        assert [item.to_dict() for item in final.output] != []
        for response in (whole, final):
            thought, text, call = response.output
            assert (thought.content[0].text, text.content[0].text) == ("Rain?", "Let me see.")
            assert (call.call_id, call.name, json.loads(call.arguments)) == ("call_1", "weather", {"city": "Bern"})
        assert json.loads(server.requests[-1].body)["tool_choice"] == "required"
        output = {"type": "function_call_output", "call_id": "call_1", "output": "9 °C"}
        responses.create(**{**ask, "input": [*ask["input"], *(item.to_dict() for item in whole.output), output]})
    told = json.loads(server.requests[-1].body)["messages"]
    assert told[1] == {
        "role": "assistant",
        "content": "Let me see.",
        "tool_calls": message["tool_calls"],
        "reasoning_content": "Rain?",
    }
    assert told[2] == {"role": "tool", "tool_call_id": "call_1", "content": "9 °C"}


def test_an_image_is_shown(running_system: RunningSystem) -> None:
    handler = answering({"role": "assistant", "content": "A pixel."}, [{"content": "A pixel."}], "stop")
    url = f"data:image/png;base64,{PNG}"
    with model(running_system, "responses-images", handler) as (responses, server):
        content = [{"type": "input_image", "image_url": url}, {"type": "input_text", "text": "What is it?"}]
        responses.create(model="responses-images", input=[{"role": "user", "content": content}])
    shown = json.loads(server.requests[-1].body)["messages"][0]["content"]
    assert shown == [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "What is it?"}]
