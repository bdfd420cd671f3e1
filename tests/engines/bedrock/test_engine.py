"""Against the local Bedrock: what is asked, and what comes back."""

import base64
import json
import subprocess
import sys
from typing import Any

import pytest

from chalicelib.call import Call, Delta, Finished, Operation, Started, Usage
from chalicelib.engines import begin
from chalicelib.engines.bedrock.engine import BedrockEngine
from chalicelib.pool import Bedrock
from chalicelib.refusal import EngineFailed, Malformed
from tests.engines.bedrocks import (
    ANY_MODEL,
    HAIKU,
    NOVA,
    ON_HAIKU,
    ON_NOVA,
    ROOT,
    LocalBedrock,
    Vault,
    anthropic,
    ask,
    chat,
    invoke,
    message,
    sandbox,
)

TOOL: dict[str, Any] = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}},
}
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def run(engine: BedrockEngine, target: Bedrock, call: Call) -> tuple[Started, list[Any], Finished]:
    """What a call's events say; the data of its deltas decoded."""
    stream = begin(engine, target, call)
    try:
        started, *deltas, finished = list(stream)
    finally:
        stream.close()
    assert isinstance(started, Started)
    assert isinstance(finished, Finished)
    return started, [json.loads(each.data) for each in deltas if isinstance(each, Delta)], finished


def test_a_chat_is_answered_whole(bedrock: LocalBedrock) -> None:
    started, [answer], finished = run(sandbox(), ON_HAIKU, chat("Hello there"))
    assert answer["object"] == "chat.completion"
    assert answer["model"] == "model-a"
    choice = answer["choices"][0]
    assert choice["message"] == {"role": "assistant", "content": "Hello there"}
    assert choice["finish_reason"] == "stop"
    assert finished.usage == Usage(2, 2)
    assert answer["usage"]["total_tokens"] == 4
    assert started.instance == "us-haiku"
    assert started.detail == {"region": "us-east-1", "bedrock_request_id": bedrock.calls()[0]["request_id"]}


def test_a_chat_is_streamed_with_its_usage(bedrock: LocalBedrock) -> None:
    _, chunks, finished = run(sandbox(), ON_NOVA, chat("Hello there", stream=True))
    assert [chunk["choices"][0]["delta"] for chunk in chunks] == [
        {"role": "assistant", "content": ""},
        {"content": "Hello"},
        {"content": " there"},
        {},
    ]
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
    assert finished.usage == Usage(2, 2)
    assert json.loads(finished.data)["usage"]["completion_tokens"] == 2


def test_the_ceiling_that_was_reserved_is_in_force(bedrock: LocalBedrock) -> None:
    short = ask("chat.completions", {"messages": [{"role": "user", "content": "a b c"}]}, ceiling_tokens=2)
    _, [answer], _ = run(sandbox(), ON_HAIKU, short)
    assert answer["choices"][0]["message"]["content"] == "a b"
    assert answer["choices"][0]["finish_reason"] == "length"


@pytest.mark.parametrize("stream", [False, True])
def test_a_tool_is_called_and_its_result_is_taken(bedrock: LocalBedrock, stream: bool) -> None:
    bedrock.do("say", blocks=[{"tool": "weather", "input": {"city": "Bern"}}])
    engine = sandbox()
    _, answers, _ = run(engine, ON_HAIKU, chat("Is it cold?", stream=stream, tools=[TOOL], tool_choice="required"))
    call = _called(answers)
    assert call["function"] == {"name": "weather", "arguments": '{"city":"Bern"}'}
    result = {"role": "tool", "tool_call_id": call["id"], "content": "It is cold."}
    asked = [{"role": "user", "content": "Is it cold?"}, {"role": "assistant", "tool_calls": [call]}, result]
    run(engine, ON_HAIKU, ask("chat.completions", {"messages": asked, "tools": [TOOL]}, stream=stream))


def _called(answers: list[Any]) -> Any:
    """The call of a tool, put together from the pieces of a stream."""
    if answers[0]["object"] == "chat.completion":
        assert answers[0]["choices"][0]["finish_reason"] == "tool_calls"
        return answers[0]["choices"][0]["message"]["tool_calls"][0]
    assert answers[-1]["choices"][0]["finish_reason"] == "tool_calls"
    pieces = [piece for answer in answers for piece in answer["choices"][0]["delta"].get("tool_calls", [])]
    arguments = "".join(piece["function"]["arguments"] for piece in pieces)
    return {
        "id": pieces[0]["id"],
        "type": "function",
        "function": {"name": pieces[0]["function"]["name"], "arguments": arguments},
    }


def test_json_of_a_schema_is_an_answer_that_keeps_it(bedrock: LocalBedrock) -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    wanted = {"type": "json_schema", "json_schema": {"name": "place", "schema": schema}}
    _, [answer], _ = run(sandbox(), ON_HAIKU, chat("Where?", response_format=wanted))
    assert isinstance(json.loads(answer["choices"][0]["message"]["content"])["city"], str)


def test_an_answer_ends_at_a_stop_sequence(bedrock: LocalBedrock) -> None:
    _, [answer], _ = run(sandbox(), ON_NOVA, chat("one two three", stop=["two"]))
    assert answer["choices"][0]["message"]["content"].strip() == "one"
    assert answer["choices"][0]["finish_reason"] == "stop"


def test_a_message_with_tools_goes_by_converse_and_back(bedrock: LocalBedrock) -> None:
    bedrock.do("say", blocks=[{"text": "Let me see."}, {"tool": "weather", "input": {"city": "Bern"}}])
    tool = {"name": "weather", "input_schema": {"type": "object"}}
    engine = sandbox()
    _, [answer], _ = run(engine, ON_NOVA, message("Is it cold?", tools=[tool]))
    assert answer["stop_reason"] == "tool_use"
    text, use = answer["content"]
    assert text == {"type": "text", "text": "Let me see."}
    assert use["input"] == {"city": "Bern"}
    result = {"type": "tool_result", "tool_use_id": use["id"], "content": "It is cold."}
    asked = [
        {"role": "user", "content": "Is it cold?"},
        {"role": "assistant", "content": answer["content"]},
        {"role": "user", "content": [result]},
    ]
    run(engine, ON_NOVA, message(messages=asked, tools=[tool]))


def test_an_image_reaches_the_model(bedrock: LocalBedrock) -> None:
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}
    seen = ask("chat.completions", {"messages": [{"role": "user", "content": [{"type": "text", "text": "?"}, image]}]})
    blind = chat("?")
    engine = sandbox()
    assert run(engine, ON_HAIKU, seen)[2].usage != run(engine, ON_HAIKU, blind)[2].usage  # images cost tokens


def test_a_message_of_anthropics_models_is_its_own_from_end_to_end(bedrock: LocalBedrock) -> None:
    _, [answer], finished = run(sandbox(), ON_HAIKU, message("Hello there"))
    assert answer["type"] == "message"
    assert answer["content"] == [{"type": "text", "text": "Hello there"}]
    assert finished == Finished(Usage(2, 2))
    assert bedrock.operations() == ["InvokeModel"]


def test_a_streamed_message_is_anthropics_own_events(bedrock: LocalBedrock) -> None:
    stream = sandbox().open(ON_HAIKU, message("Hello there", stream=True))
    started, *deltas, finished = list(stream)
    assert isinstance(started, Started)
    events = [(json.loads(each.data)["type"], each.tokens) for each in deltas if isinstance(each, Delta)]
    assert events == [
        ("message_start", 0),
        ("content_block_start", 0),
        ("content_block_delta", 1),
        ("content_block_delta", 1),
        ("content_block_stop", 0),
        ("message_delta", 0),
        ("message_stop", 0),
    ]
    assert finished == Finished(Usage(2, 2))


@pytest.mark.parametrize("stream", [False, True])
def test_a_message_of_another_model_goes_by_converse(bedrock: LocalBedrock, stream: bool) -> None:
    _, answers, finished = run(sandbox(), ON_NOVA, message("Hello there", stream=stream))
    if stream:
        assert answers[0]["type"] == "message_start"
        assert answers[-1]["type"] == "message_stop"
    else:
        assert answers[0]["content"] == [{"type": "text", "text": "Hello there"}]
    assert finished == Finished(Usage(2, 2))
    assert bedrock.operations() == ["ConverseStream" if stream else "Converse"]


def test_tokens_are_counted_without_a_charge(bedrock: LocalBedrock) -> None:
    counting = ask(
        "messages.count_tokens", {"messages": [{"role": "user", "content": "one two three"}]}, ceiling_tokens=0
    )
    engine = sandbox()
    _, [counted], finished = run(engine, ON_HAIKU, counting)
    assert counted == {"input_tokens": 3}
    assert finished.usage == Usage()
    assert bedrock.operations() == ["CountTokens"]
    assert run(engine, ON_NOVA, counting)[1] == [{"input_tokens": 3}]  # which only running it can tell


def test_a_models_own_body_goes_there_and_comes_back_as_it_is(bedrock: LocalBedrock) -> None:
    nova = {"messages": [{"role": "user", "content": [{"text": "Hello there"}]}], "inferenceConfig": {"maxTokens": 9}}
    _, [answer], finished = run(sandbox(), ANY_MODEL, invoke(NOVA, nova))
    assert answer["output"]["message"]["content"] == [{"text": "Hello there"}]
    assert finished.usage == Usage(2, 2)


def test_a_body_may_be_a_text_as_sdks_take_it(bedrock: LocalBedrock) -> None:
    _, [answer], _ = run(sandbox(), ANY_MODEL, invoke(HAIKU, json.dumps(anthropic())))
    assert answer["type"] == "message"


def test_a_models_own_stream_comes_as_it_is(bedrock: LocalBedrock) -> None:
    _, chunks, finished = run(sandbox(), ANY_MODEL, invoke(HAIKU, anthropic("Hello there"), stream=True))
    assert chunks[0]["type"] == "message_start"
    assert chunks[-1]["amazon-bedrock-invocationMetrics"]["outputTokenCount"] == 2
    assert finished.usage == Usage(2, 2)


def test_a_models_own_body_cannot_generate_more_than_was_reserved(bedrock: LocalBedrock) -> None:
    _, [answer], _ = run(sandbox(), ANY_MODEL, invoke(HAIKU, anthropic("word " * 100) | {"max_tokens": 90}))
    assert answer["usage"]["output_tokens"] == 64
    assert answer["stop_reason"] == "max_tokens"


def test_an_unknown_model_is_the_callers_mistake_where_the_caller_named_it(bedrock: LocalBedrock) -> None:
    with pytest.raises(Malformed, match=r"knows no model 'anthropic\.claude-9'"):
        sandbox().open(ANY_MODEL, invoke("anthropic.claude-9", anthropic()))
    with pytest.raises(EngineFailed, match="not where the gateway looks"):
        sandbox().open(Bedrock("us", model="anthropic.claude-9", region="us-east-1"), chat())


def test_a_wrong_body_is_refused_in_bedrocks_words(bedrock: LocalBedrock) -> None:
    with pytest.raises(Malformed, match=r"required key \[messages\] not found"):
        sandbox().open(ANY_MODEL, invoke(HAIKU, {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 5}))
    with pytest.raises(Malformed, match="not the JSON object"):
        sandbox().open(ANY_MODEL, invoke(HAIKU, '{"anthropic_version":'))


def test_an_api_key_of_a_secret_opens_the_door(bedrock: LocalBedrock) -> None:
    in_base64 = base64.b64encode(bedrock.bearer.encode()).decode()
    vault = Vault(plain={"bedrock_api_key": bedrock.bearer}, encoded={"bedrock_api_key": in_base64})
    engine = sandbox(vault)
    for secret in vault.secrets:
        run(engine, Bedrock("us", model=HAIKU, region="us-east-1", secret=secret), chat())
    assert [call["key"] for call in bedrock.calls()] == ["bearer", "bearer"]


def test_a_target_without_a_model_answers_only_those_who_name_one(bedrock: LocalBedrock) -> None:
    with pytest.raises(Malformed, match="modelId"):
        sandbox().open(ANY_MODEL, chat())


def test_nothing_of_bedrock_is_loaded_before_its_first_call(bedrock: LocalBedrock) -> None:
    script = """
import sys
from chalicelib import wiring
engines = wiring.Engines()
assert "bedrock" in list(engines)
assert "chalicelib.engines.bedrock.engine" not in sys.modules
engines["bedrock"]
from tests.engines.bedrocks import ON_HAIKU, chat, sandbox
list(sandbox().open(ON_HAIKU, chat()))
assert "botocore" not in sys.modules, "it is for finding profiles, and for secrets"
"""
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("target", [ON_HAIKU, ON_NOVA], ids=lambda target: target.name)
def test_a_function_is_called_as_before_there_were_tools(bedrock: LocalBedrock, target: Bedrock, stream: bool) -> None:
    bedrock.do("say", blocks=[{"tool": "weather", "input": {"city": "Bern"}}])
    asked = chat("Is it cold?", stream=stream, functions=[TOOL["function"]], function_call="auto")
    _, answers, _ = run(sandbox(), target, asked)
    pieces = [answer["choices"][0]["delta" if stream else "message"].get("function_call", {}) for answer in answers]
    assert "".join(piece.get("name", "") for piece in pieces) == "weather"
    assert "".join(piece.get("arguments", "") for piece in pieces) == '{"city":"Bern"}'
    assert answers[-1]["choices"][0]["finish_reason"] == "function_call"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("target", [ON_HAIKU, ON_NOVA], ids=lambda target: target.name)
def test_a_completion_is_asked_as_a_chat(bedrock: LocalBedrock, target: Bedrock, stream: bool) -> None:
    _, answers, finished = run(sandbox(), target, ask("completions", {"prompt": "Hello there"}, stream=stream))
    assert {answer["object"] for answer in answers} == {"text_completion"}
    assert "".join(answer["choices"][0]["text"] for answer in answers) == "Hello there"
    assert finished.usage == Usage(2, 2)
    assert bedrock.operations() == ["ConverseStream" if stream else "Converse"]


def test_marks_of_a_message_are_cache_points_of_nova(bedrock: LocalBedrock) -> None:
    mark = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
    text = {"type": "text", "text": "Hello there", **mark}
    for target in (ON_NOVA, ON_HAIKU):
        tool = {"name": "weather", "input_schema": {}, **mark}
        run(sandbox(), target, message(system=[text], tools=[tool], messages=[{"role": "user", "content": [text]}]))


SEEDS = {
    "anthropic.claude-opus-4-1-20250805-v1:0": "us.",
    "anthropic.claude-3-5-sonnet-20241022-v2:0": "",
    "amazon.nova-premier-v1:0": "us.",
    "meta.llama4-scout-17b-instruct-v1:0": "us.",
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("operation", ["chat.completions", "completions", "messages"])
@pytest.mark.parametrize("model", SEEDS)
def test_every_model_answers_by_the_profile_that_it_needs(
    bedrock: LocalBedrock, model: str, operation: Operation, stream: bool
) -> None:
    fields = {"messages": [{"role": "user", "content": "Hello there"}]}
    call = ask(operation, {"prompt": "Hello there"} if operation == "completions" else fields, stream=stream)
    started, answers, finished = run(sandbox(), Bedrock("us", model=model, region="us-east-1"), call)
    assert answers
    assert finished.usage == Usage(2, 2)
    assert started.detail.get("inference_profile", "").removesuffix(model) == SEEDS[model]
