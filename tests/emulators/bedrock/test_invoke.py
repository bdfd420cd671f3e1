"""InvokeModel and its stream, in each provider's own shape, by botocore."""

import base64
import json
from typing import Any

import pytest

from tests.emulators.bedrock.pictures import png
from tests.emulators.bedrock.served import HAIKU, LLAMA, NOVA, Served, anthropic, refused

NOVA_BODY: dict[str, Any] = {"messages": [{"role": "user", "content": [{"text": "one two three"}]}]}
LLAMA_BODY: dict[str, Any] = {"prompt": "one two three"}
TOOL = {"name": "weather", "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}}}
BODIES = {HAIKU: anthropic(), NOVA: NOVA_BODY, LLAMA: LLAMA_BODY}


def test_anthropic_answers_with_a_message(bedrock: Served) -> None:
    answer = bedrock.invoke(anthropic("one two three", stop_sequences=["three"]))

    assert answer.pop("id").startswith("msg_bdrk_")
    assert answer == {
        "type": "message",
        "role": "assistant",
        "model": "claude-3-haiku-20240307",
        "content": [{"type": "text", "text": "one two "}],
        "stop_reason": "stop_sequence",
        "stop_sequence": "three",
        "usage": {
            "input_tokens": 3,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": 3,
        },
    }


def test_anthropic_streams_a_message_from_start_to_stop(bedrock: Served) -> None:
    events = bedrock.invoke_stream(anthropic("one two"))

    assert [event["type"] for event in events] == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    assert events[0]["message"]["usage"]["input_tokens"] == 2
    assert events[-2]["delta"] == {"stop_reason": "end_turn", "stop_sequence": None}
    metrics = events[-1]["amazon-bedrock-invocationMetrics"]
    assert (metrics["inputTokenCount"], metrics["outputTokenCount"]) == (2, 2)
    assert metrics["firstByteLatency"] <= metrics["invocationLatency"]


def test_anthropic_calls_a_tool_when_control_says_so(bedrock: Served) -> None:
    blocks = [{"text": "Let me look."}, {"tool": "weather", "input": {"city": "Kiel"}}]
    bedrock.command("say", blocks=blocks, times=2)
    answer = bedrock.invoke(anthropic(tools=[TOOL]))
    events = bedrock.invoke_stream(anthropic(tools=[TOOL]))
    deltas = [event["delta"] for event in events if event["type"] == "content_block_delta" and event["index"] == 1]

    assert answer["stop_reason"] == "tool_use"
    assert answer["content"][1]["input"] == {"city": "Kiel"}
    assert "".join(delta["partial_json"] for delta in deltas) == '{"city":"Kiel"}'


def test_anthropic_reads_images_tools_and_their_results(bedrock: Served) -> None:
    source = {"type": "base64", "media_type": "image/png", "data": base64.b64encode(png(750, 10)).decode()}
    turns = [
        {"role": "user", "content": [{"type": "image", "source": source}, {"type": "text", "text": "look"}]},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "weather", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "it rains"}]},
    ]
    answer = bedrock.invoke(anthropic(tools=[TOOL]) | {"messages": turns})

    assert answer["content"] == [{"type": "text", "text": "it rains"}]
    assert answer["usage"]["input_tokens"] == 10 + len(["look", "weather({})", "it", "rains"])
    with refused("ValidationException", "messages.0.content.0.image.source.base64: invalid base64 data"):
        bedrock.invoke(anthropic() | {"messages": json.loads(json.dumps(turns[:1]).replace(source["data"], "no"))})


def test_nova_answers_and_streams_in_its_own_shape(bedrock: Served) -> None:
    answer = bedrock.invoke(NOVA_BODY | {"inferenceConfig": {"maxTokens": 2}}, NOVA)
    events = bedrock.invoke_stream(NOVA_BODY, NOVA)

    assert answer["output"]["message"]["content"] == [{"text": "one two"}]
    assert (answer["stopReason"], answer["usage"]["outputTokens"]) == ("max_tokens", 2)
    assert [next(iter(event)) for event in events] == [
        "messageStart",
        *["contentBlockDelta"] * 3,
        "contentBlockStop",
        "messageStop",
        "metadata",
    ]
    assert events[-1]["amazon-bedrock-invocationMetrics"]["outputTokenCount"] == 3


def test_llama_answers_and_streams_in_its_own_shape(bedrock: Served) -> None:
    answer = bedrock.invoke(LLAMA_BODY | {"max_gen_len": 2}, LLAMA)
    events = bedrock.invoke_stream(LLAMA_BODY, LLAMA)

    assert answer == {
        "generation": "one two",
        "prompt_token_count": 3,
        "generation_token_count": 2,
        "stop_reason": "length",
    }
    assert "".join(event["generation"] for event in events) == "one two three"
    assert [event["prompt_token_count"] for event in events] == [3, None, None, None]
    assert [event["stop_reason"] for event in events] == [None, None, None, "stop"]


def test_a_prompt_in_llamas_template_is_read_as_turns(bedrock: Served) -> None:
    turn = "<|start_header_id|>{}<|end_header_id|>\n\n{}<|eot_id|>"
    prompt = "<|begin_of_text|>" + turn.format("system", "be brief") + turn.format("user", "repeat this")
    prompt += "<|start_header_id|>assistant<|end_header_id|>\n\n"

    assert bedrock.invoke({"prompt": prompt}, LLAMA)["generation"] == "repeat this"


@pytest.mark.parametrize("model", BODIES)
def test_an_answer_tells_its_numbers_in_headers(bedrock: Served, model: str) -> None:
    answer = bedrock.runtime.invoke_model(modelId=model, body=json.dumps(BODIES[model]))
    headers = answer["ResponseMetadata"]["HTTPHeaders"]

    assert headers["x-amzn-bedrock-input-token-count"] == "3"
    assert headers["x-amzn-bedrock-output-token-count"] == "3"
    assert int(headers["x-amzn-bedrock-invocation-latency"]) >= 0
    assert answer["ResponseMetadata"]["RequestId"] == bedrock.calls()[-1]["request_id"]


@pytest.mark.parametrize(
    ("model", "body", "text"),
    [
        (HAIKU, LLAMA_BODY, "#: required key [anthropic_version] not found#: required key [max_tokens] not found"),
        (HAIKU, anthropic() | {"stream": True}, "#: extraneous key [stream] is not permitted"),
        (HAIKU, anthropic() | {"max_tokens": "many"}, "#/max_tokens: Expected `int`, got `str`"),
        (HAIKU, anthropic() | {"messages": [{"role": "user", "content": [{"type": "odd"}]}]}, "#/messages/0/content/0"),
        (HAIKU, anthropic() | {"anthropic_version": "newest"}, "#/anthropic_version: Expected `str` matching"),
        (HAIKU, anthropic() | {"messages": [{"role": "assistant", "content": "I"}]}, 'must use the "user" role'),
        (HAIKU, anthropic() | {"max_tokens": 5_000}, "exceeds the model limit of 4096"),
        (HAIKU, anthropic(stop_sequences=[""]), "#/stop_sequences/0: Expected `str` of length >= 1"),
        (NOVA, anthropic(), "#: extraneous key [anthropic_version] is not permitted"),
        (NOVA, {"messages": [{"role": "user", "content": "text"}]}, "#/messages/0/content: Expected `array`"),
        (LLAMA, NOVA_BODY, "#: required key [prompt] not found#: extraneous key [messages] is not permitted"),
    ],
)
def test_a_body_that_is_not_the_models_is_refused_with_the_place(
    bedrock: Served, model: str, body: dict[str, Any], text: str
) -> None:
    with refused("ValidationException", text):
        bedrock.invoke(body, model)
    with refused("ValidationException", text):
        bedrock.invoke_stream(body, model)


@pytest.mark.parametrize("body", [b"", b"not JSON", b"[]", b"\xff\xfe", b'"text"'])
def test_a_body_that_is_no_json_object_is_refused(bedrock: Served, body: bytes) -> None:
    with refused("ValidationException", "Malformed input request: #: expected type: JSONObject"):
        bedrock.runtime.invoke_model(modelId=HAIKU, body=body)


def test_a_body_above_25_million_bytes_is_refused(bedrock: Served) -> None:
    with refused("ValidationException", "Member must have length less than or equal to 25000000"):
        bedrock.runtime.invoke_model(modelId=HAIKU, body=b" " * 25_000_001)
    with refused("RequestEntityTooLargeException", "HTTP content length exceeded 35000000 bytes"):
        bedrock.converse("x" * 36_000_000)


def test_tokens_of_a_models_own_body_are_counted(bedrock: Served) -> None:
    body = json.dumps(anthropic("one two three"))

    assert bedrock.runtime.count_tokens(modelId=HAIKU, input={"invokeModel": {"body": body}})["inputTokens"] == 3
