"""No member of a chat is dropped in silence at Bedrock: it arrives, or it is refused by its name."""

from typing import Any

import pytest
from openai.types.chat.completion_create_params import CompletionCreateParamsBase

from chalicelib.dialects.converse import members
from chalicelib.dialects.converse.messages import CacheControl
from chalicelib.dialects.converse.requests import request
from chalicelib.dialects.converse.turns import point
from chalicelib.dialects.families import family_of, thinking
from chalicelib.dialects.names import Names
from chalicelib.refusal import Malformed
from tests.dialects.converse.test_stricter import HELLO, taken
from tests.engines.bedrocks import HAIKU, NOVA, SONNET, ask

OPUS_47 = "anthropic.claude-opus-4-7"
GPT_OSS = "openai.gpt-oss-120b-1:0"
LLAMA = "meta.llama4-scout-17b-instruct-v1:0"
WEATHER = {"name": "weather", "parameters": {"type": "object"}}
TOOL = {"type": "function", "function": WEATHER}
SPEC = {"toolSpec": {"name": "weather", "inputSchema": {"json": {"type": "object"}}}}
EPHEMERAL = {"cache_control": {"type": "ephemeral"}}
HOUR = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
POINT = {"cachePoint": {"type": "default"}}


def own(model: str = SONNET, **fields: Any) -> Any:
    """The model's own members; of a model that the local Bedrock does not have, too."""
    if model in (OPUS_47, GPT_OSS):
        asked = request(ask("chat.completions", {"messages": [HELLO], **fields}, ceiling_tokens=2_048), model, Names())
    else:
        asked = taken([HELLO], model, **fields)
    return asked.get("additionalModelRequestFields")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("logprobs", True),
        ("top_logprobs", 3),
        ("logit_bias", {"50256": -100}),
        ("presence_penalty", 0.5),
        ("frequency_penalty", -0.5),
        ("modalities", ["text", "audio"]),
        ("audio", {"voice": "alloy", "format": "wav"}),
        ("web_search_options", {"search_context_size": "low"}),
        ("verbosity", "low"),
        ("min_p", 0.1),
        ("chat_template_kwargs", {"enable_thinking": False}),
        ("guided_json", {"type": "object"}),
        ("no_such_member", "x"),
    ],
)
def test_what_converse_has_no_word_for_is_refused_by_name(name: str, value: Any) -> None:
    for model in (HAIKU, NOVA, SONNET):
        with pytest.raises(Malformed, match=f"has no {name}") as refused:
            taken([HELLO], model, **{name: value})
        assert refused.value.field == name


@pytest.mark.parametrize("nothing", [None, False, 0, 0.0, "", [], {}])
@pytest.mark.parametrize("name", [*members.REFUSED, "no_such_member"])
def test_a_member_that_asks_for_nothing_is_none(name: str, nothing: Any) -> None:
    assert taken([HELLO], **{name: nothing}) == taken([HELLO])


@pytest.mark.parametrize(("name", "value"), [("modalities", ["text"]), ("verbosity", "medium")])
def test_a_member_that_asks_for_what_there_is_anyhow_is_none(name: str, value: Any) -> None:
    assert taken([HELLO], **{name: value}) == taken([HELLO])


@pytest.mark.parametrize("name", members.LEFT_OUT)
def test_what_no_answer_depends_on_is_left_out(name: str) -> None:
    said: dict[str, Any] = {name: "x"}
    assert taken([HELLO], **said) == taken([HELLO])


def test_every_member_that_openai_has_is_in_the_list() -> None:
    listed = members.TRANSLATED.keys() | members.BOUNDED.keys() | members.LEFT_OUT.keys() | members.REFUSED.keys()
    assert CompletionCreateParamsBase.__annotations__.keys() <= listed


@pytest.mark.parametrize(
    ("model", "effort", "told"),
    [
        (SONNET, "none", None),
        (SONNET, None, None),
        (SONNET, "minimal", {"thinking": {"type": "enabled", "budget_tokens": 1_024}}),
        (SONNET, "low", {"thinking": {"type": "enabled", "budget_tokens": 1_024}}),
        (SONNET, "medium", {"thinking": {"type": "enabled", "budget_tokens": 1_024}}),
        (SONNET, "high", {"thinking": {"type": "enabled", "budget_tokens": 1_638}}),
        (OPUS_47, "high", {"thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}}),
        (OPUS_47, "minimal", {"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}}),
        (GPT_OSS, "low", {"reasoning_effort": "low"}),
        (HAIKU, "none", None),
        (NOVA, "none", None),
    ],
)
def test_an_effort_is_what_the_family_has_for_it(model: str, effort: str | None, told: object) -> None:
    assert own(model, reasoning_effort=effort) == told


@pytest.mark.parametrize("model", [HAIKU, NOVA, LLAMA])
def test_an_effort_is_refused_where_the_family_has_none(model: str) -> None:
    with pytest.raises(Malformed, match="no reasoning_effort") as refused:
        own(model, reasoning_effort="low")
    assert refused.value.field == "reasoning_effort"


def test_an_effort_that_leaves_no_room_for_an_answer_says_what_to_ask_for() -> None:
    with pytest.raises(Malformed, match="Ask for more max_tokens"):
        thinking(family_of(SONNET), "low", 1_024)
    assert thinking(family_of(SONNET), "low", 1_025)["thinking"]["budget_tokens"] == 1_024
    with pytest.raises(Malformed, match="one of none, minimal"):
        thinking(family_of(SONNET), "utmost", 4_096)


def test_claude_goes_on_with_its_tools_without_thoughts_that_it_is_not_shown() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    turns = [HELLO, {"role": "assistant", "tool_calls": [call]}, {"role": "tool", "tool_call_id": "c1", "content": "9"}]
    assert "additionalModelRequestFields" not in taken(turns, tools=[TOOL], reasoning_effort="high")
    assert "additionalModelRequestFields" in taken(
        [*turns, {"role": "assistant", "content": "9"}, HELLO], reasoning_effort="high"
    )


@pytest.mark.parametrize(
    ("choice", "told"),
    [
        ({}, {"type": "auto", "disable_parallel_tool_use": True}),
        ({"tool_choice": "auto"}, {"type": "auto", "disable_parallel_tool_use": True}),
        ({"tool_choice": "required"}, {"disable_parallel_tool_use": True}),
        ({"tool_choice": {"type": "function", "function": {"name": "weather"}}}, {"disable_parallel_tool_use": True}),
    ],
)
def test_claude_is_told_to_call_one_tool_at_a_time(choice: dict[str, Any], told: object) -> None:
    for model in (HAIKU, SONNET):
        assert own(model, tools=[TOOL], parallel_tool_calls=False, **choice) == {"tool_choice": told}
        assert own(model, tools=[TOOL], parallel_tool_calls=True, **choice) is None


def test_who_cannot_be_told_to_call_one_tool_at_a_time_refuses() -> None:
    with pytest.raises(Malformed, match="leave parallel_tool_calls out"):
        own(NOVA, tools=[TOOL], parallel_tool_calls=False)
    assert own(NOVA, parallel_tool_calls=False) is None  # there is none to call


@pytest.mark.parametrize(
    ("model", "told"), [(SONNET, {"top_k": 3}), (HAIKU, {"top_k": 3}), (NOVA, {"inferenceConfig": {"topK": 3}})]
)
def test_top_k_stands_where_the_family_has_it(model: str, told: object) -> None:
    assert own(model, top_k=3) == told
    with pytest.raises(Malformed, match="no top_k"):
        own(LLAMA, top_k=3)


@pytest.mark.parametrize("model", [HAIKU, NOVA, LLAMA])
def test_thinking_is_refused_where_the_family_has_none(model: str) -> None:
    assert own(model, thinking={"type": "disabled"}) is None
    with pytest.raises(Malformed, match="no thinking"):
        own(model, thinking={"type": "enabled", "budget_tokens": 1_024})


@pytest.mark.parametrize(
    ("chosen", "config"),
    [
        ({}, {}),
        ({"function_call": "auto"}, {}),
        ({"function_call": {"name": "weather"}}, {"toolChoice": {"tool": {"name": "weather"}}}),
    ],
)
def test_functions_are_tools(chosen: dict[str, Any], config: dict[str, Any]) -> None:
    assert taken([HELLO], functions=[WEATHER], **chosen)["toolConfig"] == {"tools": [SPEC]} | config
    assert "toolConfig" not in taken([HELLO], functions=[WEATHER], function_call="none")
    assert taken([HELLO], functions=[WEATHER])["additionalModelRequestFields"]["tool_choice"][
        "disable_parallel_tool_use"
    ]
    assert taken([HELLO], NOVA, functions=[WEATHER])["toolConfig"] == {"tools": [SPEC]}


def test_a_functions_call_and_its_result_are_turns() -> None:
    called = {
        "role": "assistant",
        "content": None,
        "function_call": {"name": "weather", "arguments": '{"city":"Bern"}'},
    }
    told = {"role": "function", "name": "weather", "content": "9 °C"}
    _, first, one, second, two = taken([HELLO, called, told, called, told], functions=[WEATHER])["messages"]
    for use, result in ((first, one), (second, two)):
        assert use["content"][0]["toolUse"]["input"] == {"city": "Bern"}
        assert result["content"][0]["toolResult"]["toolUseId"] == use["content"][0]["toolUse"]["toolUseId"]
        assert result["content"][0]["toolResult"]["content"] == [{"text": "9 °C"}]


def part(text: str, mark: dict[str, Any]) -> dict[str, Any]:
    return {"type": "text", "text": text, **mark}


MARKED = [
    {"role": "system", "content": [part("Be brief.", EPHEMERAL), part("And kind.", {})]},
    {"role": "user", "content": [part("Hello", EPHEMERAL), part(" ", EPHEMERAL), part("there", {})]},
    {"role": "assistant", "content": "Hi", **EPHEMERAL},
    HELLO,
]


@pytest.mark.parametrize("model", [SONNET, NOVA])
def test_a_mark_is_a_cache_point_behind_what_it_marks(model: str) -> None:
    asked = taken(MARKED, model)
    assert asked["system"] == [{"text": "Be brief."}, POINT, {"text": "And kind."}]
    user, assistant, _ = asked["messages"]
    assert user["content"] == [{"text": "Hello"}, POINT, {"text": "there"}]
    assert assistant["content"] == [{"text": "Hi"}, POINT]


@pytest.mark.parametrize("model", [HAIKU, LLAMA])
def test_a_mark_is_left_out_where_nothing_is_cached(model: str) -> None:
    assert "cachePoint" not in str(taken(MARKED, model, tools=[TOOL | EPHEMERAL]))


def test_tools_and_results_are_marked_where_the_family_takes_it() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    turns = [
        HELLO,
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": [part("9 °C", EPHEMERAL)]},
    ]
    claude = taken(turns, tools=[TOOL | EPHEMERAL])
    assert claude["toolConfig"]["tools"] == [SPEC, POINT]
    assert [next(iter(block)) for block in claude["messages"][-1]["content"]] == ["toolResult", "cachePoint"]
    nova = taken(turns, NOVA, tools=[TOOL | EPHEMERAL])
    assert nova["toolConfig"]["tools"] == [SPEC]
    assert [next(iter(block)) for block in nova["messages"][-1]["content"]] == ["toolResult"]


def test_an_hour_is_asked_for_where_the_family_has_it() -> None:
    hour = CacheControl("1h")
    assert list(point(hour, family_of("us.anthropic.claude-sonnet-4-5-20250929-v1:0"))) == [
        {"cachePoint": {"type": "default", "ttl": "1h"}}
    ]
    assert taken([{"role": "user", "content": [part("Hello", HOUR)]}])["messages"][0]["content"][1] == POINT
