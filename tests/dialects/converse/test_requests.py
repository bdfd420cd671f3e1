"""OpenAI's chats as Converse takes them."""

import base64
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.dialects.converse import requests as converse
from chalicelib.dialects.converse.turns import NEUTRAL
from chalicelib.dialects.names import Names
from chalicelib.refusal import Malformed
from tests.engines.bedrocks import HAIKU, SONNET, ask

USER = {"role": "user", "content": "Hello"}
ASKED = {"role": "user", "content": [{"text": "Hello"}]}
CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Bern"}'}}
TOOL = {
    "type": "function",
    "function": {"name": "weather", "description": "Tells it.", "parameters": {"type": "object"}},
}
SPEC = {"toolSpec": {"name": "weather", "description": "Tells it.", "inputSchema": {"json": {"type": "object"}}}}
UNDESCRIBED = {"toolSpec": {"name": "weather", "inputSchema": {"json": {"type": "object", "properties": {}}}}}
PNG = base64.b64encode(b"picture").decode()


def request(*messages: object, model: str = SONNET, **fields: Any) -> dict[str, Any]:
    call = ask("chat.completions", {"messages": messages or [USER], **fields}, ceiling_tokens=64)
    return converse.request(call, model, Names())


def test_the_ceiling_is_ours_and_the_sampling_the_callers() -> None:
    asked = request(temperature=0.5, top_p=1, stop="END", max_tokens=9_999, seed=7, user="u")
    assert asked == {
        "messages": [ASKED],
        "inferenceConfig": {"maxTokens": 64, "temperature": 0.5, "topP": 1.0, "stopSequences": ["END"]},
    }


def test_members_that_are_the_models_own_go_along_and_no_others() -> None:
    asked = request(top_k=3, thinking={"type": "enabled"}, max_new_tokens=9_999)
    assert asked["additionalModelRequestFields"] == {"top_k": 3, "thinking": {"type": "enabled"}}
    assert asked["inferenceConfig"] == {"maxTokens": 64}
    with pytest.raises(Malformed, match="has no max_tokens_to_sample"):
        request(max_tokens_to_sample=9_999)
    with pytest.raises(Malformed, match="has no inferenceConfig"):
        request(inferenceConfig={"maxTokens": 1})


def test_instructions_stand_apart() -> None:
    asked = request({"role": "system", "content": "Be brief."}, USER, {"role": "developer", "content": "And kind."})
    assert asked["system"] == [{"text": "Be brief."}, {"text": "And kind."}]
    assert asked["messages"] == [ASKED]


def test_a_tools_result_is_the_users_turn() -> None:
    result = {"role": "tool", "tool_call_id": "call_1", "content": "It is cold."}
    asked = request(USER, {"role": "assistant", "content": "", "tool_calls": [CALL]}, result, USER, tools=[TOOL])
    use = {"toolUse": {"toolUseId": "call_1", "name": "weather", "input": {"city": "Bern"}}}
    told = {"toolResult": {"toolUseId": "call_1", "content": [{"text": "It is cold."}]}}
    assert asked["messages"] == [
        ASKED,
        {"role": "assistant", "content": [use]},
        {"role": "user", "content": [told, {"text": "Hello"}]},
    ]
    assert asked["toolConfig"] == {"tools": [SPEC]}


def test_a_tool_that_has_nothing_to_say_says_something() -> None:
    asked = request(USER, {"role": "assistant", "tool_calls": [CALL]}, {"role": "tool", "tool_call_id": "call_1"})
    assert asked["messages"][2]["content"][0]["toolResult"]["content"] == [{"text": "-"}]


def test_an_image_goes_as_its_bytes() -> None:
    image = {"type": "image_url", "image_url": {"url": f"data:image/jpg;base64,{PNG}", "detail": "low"}}
    [turn] = request({"role": "user", "content": [{"type": "text", "text": "What?"}, image]})["messages"]
    assert turn["content"] == [{"text": "What?"}, {"image": {"format": "jpeg", "source": {"bytes": b"picture"}}}]


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        ("auto", {}),
        (None, {}),
        ("required", {"toolChoice": {"any": {}}}),
        ({"type": "function", "function": {"name": "weather"}}, {"toolChoice": {"tool": {"name": "weather"}}}),
    ],
)
def test_the_choice_of_a_tool_is_the_callers(choice: object, said: dict[str, Any]) -> None:
    assert request(tools=[TOOL], tool_choice=choice)["toolConfig"] == {"tools": [SPEC]} | said


def test_no_tool_is_offered_where_none_may_be_called() -> None:
    assert "toolConfig" not in request(tools=[TOOL], tool_choice="none")


@pytest.mark.parametrize(("fields", "spec"), [({}, UNDESCRIBED), ({"tools": [TOOL], "tool_choice": "none"}, SPEC)])
def test_tools_that_were_called_are_declared_always(fields: dict[str, Any], spec: object) -> None:
    result = {"role": "tool", "tool_call_id": "call_1", "content": "cold"}
    asked = request(USER, {"role": "assistant", "tool_calls": [CALL]}, result, **fields)
    assert asked["toolConfig"] == {"tools": [spec]}


def test_a_strict_tool_stays_strict() -> None:
    tool = {"type": "function", "function": {"name": "f", "strict": True}}
    assert request(tools=[tool])["toolConfig"]["tools"][0]["toolSpec"]["strict"] is True


def test_a_schema_is_converses_own_output_format() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    asked = request(response_format={"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}})
    assert asked["outputConfig"] == {
        "textFormat": {
            "type": "json_schema",
            "structure": {
                "jsonSchema": {
                    "name": "answer",
                    "schema": '{"type":"object","properties":{"a":{"type":"string"}}}',
                }
            },
        }
    }


def test_json_of_no_schema_is_asked_for_in_words() -> None:
    asked = request(response_format={"type": "json_object"})
    assert asked["system"] == [{"text": converse.JSON_ONLY}]
    assert "outputConfig" not in request(response_format={"type": "text"})


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"messages": [{"role": "narrator", "content": "x"}]}, r"\$\.messages\[0\]\.role"),
        ({"messages": [USER], "temperature": 1.5}, "temperature"),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "input_audio"),
        ({"messages": "Hello"}, r"\$\.messages"),
        ({}, "messages"),
        ({"messages": [USER], "temperature": "hot"}, "temperature"),
        ({"messages": [USER], "tool_choice": "any"}, "tool_choice"),
        ({"messages": [USER], "response_format": {"type": "xml"}}, "response_format"),
    ],
)
def test_what_is_wrong_is_named(fields: dict[str, object], why: str) -> None:
    with pytest.raises(Malformed, match=why):
        converse.request(ask("chat.completions", fields), HAIKU, Names())


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("https://example.org/a.png", "within the request"),
        ("data:image/png,abc", "within the request"),
        ("data:image/tiff;base64,abcd", "has to be one of"),
        ("data:image/png;base64,###", "not valid base64"),
    ],
)
def test_an_image_that_cannot_go_is_refused(url: str, why: str) -> None:
    with pytest.raises(Malformed, match=why):
        request({"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]})


def test_several_answers_at_once_are_refused() -> None:
    with pytest.raises(Malformed, match="leave out `n`"):
        converse.request(ask("chat.completions", {"messages": [USER], "n": 2}, choices=2), HAIKU, Names())


def test_an_image_in_an_instruction_is_refused() -> None:
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}
    with pytest.raises(Malformed, match="text only"):
        request({"role": "system", "content": [image]}, USER)


SPOKEN = st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant"]), "content": st.text()})


@given(st.lists(SPOKEN))
def test_turns_alternate_and_every_word_is_in_them_in_order(messages: list[dict[str, str]]) -> None:
    turns = request(*messages)["messages"] if messages else []
    assert all(before["role"] != after["role"] for before, after in pairwise(turns))
    said = [(turn["role"], block["text"]) for turn in turns for block in turn["content"] if block["text"] != NEUTRAL]
    assert [(role, text.rstrip()) for role, text in said] == [
        (message["role"], message["content"].rstrip()) for message in messages if message["content"].strip()
    ]
