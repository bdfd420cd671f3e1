"""Converse and ConverseStream, by botocore."""

from typing import Any

import pytest

from tests.emulators.bedrock.pictures import png
from tests.emulators.bedrock.served import HAIKU, LLAMA, NOVA, Served, refused, said, user

WEATHER = {
    "tools": [
        {
            "toolSpec": {
                "name": "weather",
                "inputSchema": {"json": {"type": "object", "properties": {"city": {"type": "string"}}}},
            }
        }
    ]
}

TOOLS = {"toolConfig": WEATHER}
CALL = {"role": "assistant", "content": [{"toolUse": {"toolUseId": "t1", "name": "weather", "input": {}}}]}
RESULTS = {
    "role": "user",
    "content": [{"toolResult": {"toolUseId": each, "content": [{"text": "sunny"}]}} for each in ("t1", "t2")],
}


@pytest.mark.parametrize("model", [HAIKU, NOVA, LLAMA])
def test_every_family_answers_converse(bedrock: Served, model: str) -> None:
    answer = bedrock.converse("one two three", model, system=[{"text": "be brief"}])

    assert answer["output"]["message"] == {"role": "assistant", "content": [{"text": "one two three"}]}
    assert answer["stopReason"] == "end_turn"
    assert answer["usage"] == {"inputTokens": 5, "outputTokens": 3, "totalTokens": 8}


def test_a_stream_has_the_events_of_the_service_model_in_their_order(bedrock: Served) -> None:
    events = list(bedrock.converse_stream("one two"))

    assert [next(iter(event)) for event in events] == [
        "messageStart",
        "contentBlockDelta",
        "contentBlockDelta",
        "contentBlockStop",
        "messageStop",
        "metadata",
    ]
    assert said(events) == "one two"
    assert events[-1]["metadata"]["usage"] == {"inputTokens": 2, "outputTokens": 2, "totalTokens": 4}


def test_an_answer_stops_at_its_ceiling_and_at_a_stop_sequence(bedrock: Served) -> None:
    short = bedrock.converse("one two three", inferenceConfig={"maxTokens": 2})
    stopped = bedrock.converse("one two three", inferenceConfig={"stopSequences": [" thr"]})

    assert (short["stopReason"], short["output"]["message"]["content"]) == ("max_tokens", [{"text": "one two"}])
    assert (stopped["stopReason"], stopped["output"]["message"]["content"]) == ("stop_sequence", [{"text": "one two"}])


def test_a_tool_is_called_when_control_says_so(bedrock: Served) -> None:
    bedrock.command("say", blocks=[{"text": "Let me look."}, {"tool": "weather", "input": {"city": "Kiel"}}])
    answer = bedrock.converse(toolConfig=WEATHER)
    text, call = answer["output"]["message"]["content"]

    assert answer["stopReason"] == "tool_use"
    assert text == {"text": "Let me look."}
    assert (call["toolUse"]["name"], call["toolUse"]["input"]) == ("weather", {"city": "Kiel"})
    assert bedrock.converse(toolConfig=WEATHER)["stopReason"] == "end_turn"


def test_a_streamed_tool_call_is_whole_when_its_parts_are_joined(bedrock: Served) -> None:
    bedrock.command("say", blocks=[{"text": "Well."}, {"tool": "weather", "input": {"city": "Kiel"}}])
    events = list(bedrock.converse_stream(toolConfig=WEATHER))
    deltas = [event["contentBlockDelta"] for event in events if "contentBlockDelta" in event]

    assert "".join(d["delta"]["toolUse"]["input"] for d in deltas if d["contentBlockIndex"] == 1) == '{"city":"Kiel"}'
    assert [e["contentBlockStart"]["start"]["toolUse"]["name"] for e in events if "contentBlockStart" in e] == [
        "weather"
    ]


@pytest.mark.parametrize("choice", [{"any": {}}, {"tool": {"name": "weather"}}])
def test_a_tool_that_must_be_called_is(bedrock: Served, choice: dict[str, Any]) -> None:
    answer = bedrock.converse(toolConfig=WEATHER | {"toolChoice": choice})

    assert answer["output"]["message"]["content"][0]["toolUse"]["input"] == {"city": ""}


def test_the_result_of_a_tool_is_read_as_what_was_said(bedrock: Served) -> None:
    result = {"toolResult": {"toolUseId": "t1", "content": [{"text": "sunny"}, {"json": {"c": 21}}]}}
    turns = [user("how is it?"), CALL, {"role": "user", "content": [result]}]
    answer = bedrock.runtime.converse(modelId=HAIKU, messages=turns, toolConfig=WEATHER)

    assert answer["output"]["message"]["content"] == [{"text": 'sunny\n{"c":21}'}]
    with refused("ValidationException", "The toolConfig field must be defined"):
        bedrock.runtime.converse(modelId=HAIKU, messages=turns)


def test_an_image_is_taken_and_counted(bedrock: Served) -> None:
    image = {"image": {"format": "png", "source": {"bytes": png(750, 10)}}}
    answer = bedrock.runtime.converse(modelId=HAIKU, messages=[user("look", image)])

    assert answer["usage"]["inputTokens"] == 11
    with refused("ValidationException", "This model doesn't support the image field"):
        bedrock.runtime.converse(modelId=LLAMA, messages=[user("look", image)])


def test_an_image_that_is_none_is_refused_with_its_place(bedrock: Served) -> None:
    image = {"image": {"format": "jpeg", "source": {"bytes": png(10, 10)}}}
    with refused("ValidationException", "messages.0.content.1.image.source.bytes: The image was specified using"):
        bedrock.runtime.converse(modelId=HAIKU, messages=[user("look", image)])


def test_an_answer_of_a_json_schema_is_an_instance_of_it(bedrock: Served) -> None:
    schema = {"schema": '{"type":"object","properties":{"ok":{"type":"boolean"}}}'}
    config = {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": schema}}}
    answer = bedrock.converse(outputConfig=config)

    assert answer["output"]["message"]["content"] == [{"text": '{"ok":false}'}]


def test_converse_counts_tokens_as_it_will_charge_them(bedrock: Served) -> None:
    counted = bedrock.runtime.count_tokens(modelId=HAIKU, input={"converse": {"messages": [user("one two three")]}})

    assert counted["inputTokens"] == bedrock.converse("one two three")["usage"]["inputTokens"]
    with refused("ValidationException", "doesn't support counting tokens"):
        bedrock.runtime.count_tokens(modelId=LLAMA, input={"converse": {"messages": [user("one")]}})


@pytest.mark.parametrize(
    ("members", "text"),
    [
        ({"inferenceConfig": {"maxTokens": 5_000}}, "exceeds the model limit of 4096"),
        ({"inferenceConfig": {"temperature": 1.5}}, "Value at 'inferenceConfig.temperature' failed to satisfy"),
        ({"toolConfig": WEATHER | {"toolChoice": {"tool": {"name": "other"}}}}, "toolChoice.tool.name other"),
        ({"messages": []}, "A conversation must start with a user message."),
        ({"messages": [{"role": "assistant", "content": [{"text": "I"}]}]}, "must start with a user message."),
        ({"messages": [user("one"), user("two")]}, "A conversation must alternate between user and assistant roles."),
        ({"messages": [{"role": "user", "content": []}]}, "Message object at messages.0 is empty."),
        ({"messages": [user("one", {"text": " "})]}, "ContentBlock object at messages.0.content.1 is blank."),
        ({"messages": [user("one"), CALL, user("two")]} | TOOLS, "at messages.2.content for the following Ids: t1"),
        ({"messages": [user("one"), CALL, RESULTS]} | TOOLS, "toolResult blocks at messages.2.content exceeds"),
        (
            {"messages": [user("look", {"image": {"format": "jpg", "source": {"bytes": b"x"}}})]},
            "Value at 'messages.1.member.content.2.member.image.format' failed to satisfy constraint",
        ),
    ],
)
def test_a_request_that_is_not_converses_is_refused_with_the_place(
    bedrock: Served, members: dict[str, Any], text: str
) -> None:
    asked = {"modelId": HAIKU, "messages": [user("hello")]} | members
    with refused("ValidationException", text):
        bedrock.runtime.converse(**asked)
    with refused("ValidationException", text):
        bedrock.runtime.converse_stream(**asked)


def test_a_model_without_tools_is_offered_none(bedrock: Served) -> None:
    with refused("ValidationException", "This model doesn't support tool use."):
        bedrock.converse(model=LLAMA, toolConfig=WEATHER)


def test_a_call_that_was_laid_down_of_a_tool_that_is_not_offered_is_refused(bedrock: Served) -> None:
    bedrock.command("say", blocks=[{"tool": "weather"}])
    with refused(
        "ValidationException", "Control laid down calls of tools that the request does not offer: ['weather']"
    ):
        bedrock.converse()
