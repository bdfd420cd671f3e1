"""What other servers take and Converse refuses goes to it in a form that it takes: the session goes on."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.dialects.converse import requests
from chalicelib.dialects.converse.turns import NEUTRAL, NO_RESULT, NOTHING
from chalicelib.dialects.names import Names
from emulators.bedrock import converse, service_model
from emulators.bedrock.blocks import Request
from emulators.bedrock.catalogue import MODELS
from emulators.bedrock.refusal import BedrockError
from tests.engines.bedrocks import HAIKU, NOVA, SONNET, ask

HELLO = {"role": "user", "content": "Hello"}
GREETING = {"role": "assistant", "content": "Welcome!"}
ASKED = {"role": "user", "content": [{"text": "Hello"}]}
GO_ON = {"role": "user", "content": [{"text": NEUTRAL}]}


def taken(messages: list[Any], model: str = SONNET, names: Names | None = None, **fields: object) -> dict[str, Any]:
    """The request, which the local Bedrock takes: by botocore's service model, and by the rules beyond it."""
    call = ask("chat.completions", {"messages": messages, **fields}, ceiling_tokens=2_048)
    asked = requests.request(call, model, names or Names())
    body = msgspec.json.encode(asked)
    service_model.check("Converse", body)
    converse.conversation(msgspec.json.decode(body, type=Request), MODELS[model])
    return asked


def call(name: str = "c1", arguments: object = "{}", tool: str = "weather") -> dict[str, Any]:
    return {"id": name, "type": "function", "function": {"name": tool, "arguments": arguments}}


def result(name: str = "c1", content: object = "It is cold.") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": name, "content": content}


def called(*calls: Any, content: object = None) -> dict[str, Any]:
    return {"role": "assistant", "content": content, "tool_calls": list(calls)}


def parts(*texts: str) -> list[Any]:
    return [{"type": "text", "text": text} for text in texts]


@pytest.mark.parametrize(
    ("messages", "turns"),
    [
        ([{"role": "user", "content": parts("Hello", "  \n")}], [ASKED]),
        ([{"role": "user", "content": " "}], [GO_ON]),
        ([{"role": "user", "content": []}], [GO_ON]),
        ([{"role": "user", "content": None}], [GO_ON]),
        ([GREETING, HELLO], [GO_ON, {"role": "assistant", "content": [{"text": "Welcome!"}]}, ASKED]),
        ([{"role": "system", "content": "Be brief."}], [GO_ON]),
        ([{"role": "system", "content": " "}], [GO_ON]),
        (
            [{"role": "system", "content": "Be brief."}, GREETING],
            [GO_ON, {"role": "assistant", "content": [{"text": "Welcome!"}]}],
        ),
        (
            [HELLO, GREETING, {"role": "user", "content": "\t"}],
            [ASKED, {"role": "assistant", "content": [{"text": "Welcome!"}]}, GO_ON],
        ),
        (
            [HELLO, {"role": "assistant", "content": "Well, \n"}],
            [ASKED, {"role": "assistant", "content": [{"text": "Well,"}]}],
        ),
        ([HELLO, {"role": "assistant", "content": ""}, HELLO], [{"role": "user", "content": [{"text": "Hello"}] * 2}]),
        ([HELLO, {"role": "assistant", "content": [{"type": "refusal", "refusal": ""}]}], [ASKED]),
    ],
)
def test_blanks_are_dropped_and_the_user_begins(messages: list[Any], turns: list[Any]) -> None:
    for model in (HAIKU, NOVA, SONNET):
        assert taken(messages, model)["messages"] == turns


def test_a_blank_instruction_is_none() -> None:
    asked = taken(
        [{"role": "system", "content": parts("", "Be brief.", " ")}, {"role": "developer", "content": ""}, HELLO]
    )
    assert asked["system"] == [{"text": "Be brief."}]


@pytest.mark.parametrize(
    ("arguments", "given_as"),
    [
        ('{"city":"Bern"}', {"city": "Bern"}),
        ({"city": "Bern"}, {"city": "Bern"}),
        (None, {}),
        ("", {}),
        (" ", {}),
        ("null", {}),
        ('{"city":', {"INVALID_JSON": '{"city":'}),
        ("[1]", {"INVALID_JSON": "[1]"}),
        ("Bern", {"INVALID_JSON": "Bern"}),
        ('"{}"', {"INVALID_JSON": '"{}"'}),
        ([1], {"INVALID_JSON": "[1]"}),
        ("[" * 100_000, {"INVALID_JSON": "[" * 100_000}),
        ('{"a":1e999}', {"INVALID_JSON": '{"a":1e999}'}),
    ],
)
def test_arguments_arrive_readable_or_not(arguments: object, given_as: object) -> None:
    asked = taken([HELLO, called(call(arguments=arguments)), result()])
    assert asked["messages"][1]["content"][0]["toolUse"]["input"] == given_as


def test_a_call_may_leave_its_arguments_out() -> None:
    asked = taken([HELLO, called({"id": "c1", "function": {"name": "weather"}}), result()])
    assert asked["messages"][1]["content"][0]["toolUse"]["input"] == {}


@pytest.mark.parametrize("content", [None, "", "  ", [], parts(""), parts(" ", "\n")])
def test_a_result_that_says_nothing_is_one(content: object) -> None:
    last = taken([HELLO, called(call()), result(content=content)])["messages"][-1]
    assert last["content"] == [{"toolResult": {"toolUseId": "c1", "content": [{"text": NOTHING}]}}]


IDS = [
    "functions.Bash:0",
    "call_" + "x" * 60,
    "call_65OReGAIB0M4612fiyF6YMbI|fc_0feebbbc39e113d4016969ff3539208191914ede46e71d5d06",
    "chatcmpl-tool/1",
    "Büro 1",
    "call 1",
    "",
    None,
    "x" * 10_000,
]


@pytest.mark.parametrize("name", IDS)
def test_an_id_that_is_not_taken_has_an_alias_that_is_always_the_same(name: Any) -> None:
    names = Names()
    use, told = (
        each["content"][0] for each in taken([HELLO, called(call(name)), result(name)], names=names)["messages"][1:]
    )
    alias = use["toolUse"]["toolUseId"]
    assert told["toolResult"]["toolUseId"] == alias != name
    assert names.callers(alias) == (name or "")
    assert Names().call(name or "") == alias


@pytest.mark.parametrize("name", ["c1", "toolu_01-A", "x" * 64])
def test_an_id_that_is_taken_stays(name: str) -> None:
    asked = taken([HELLO, called(call(name)), result(name)])
    assert asked["messages"][1]["content"][0]["toolUse"]["toolUseId"] == name


def test_ids_that_begin_alike_stay_apart() -> None:
    one, other = "x" * 80 + "1", "x" * 80 + "2"
    use, told = taken([HELLO, called(call(one), call(other)), result(other, "2"), result(one, "1")])["messages"][1:]
    first, second = (block["toolUse"]["toolUseId"] for block in use["content"])
    said = {block["toolResult"]["toolUseId"]: block["toolResult"]["content"] for block in told["content"]}
    assert said == {first: [{"text": "1"}], second: [{"text": "2"}]}


def test_an_id_that_is_used_again_is_another_call() -> None:
    """Some servers count the calls of each answer from nought."""
    asked = taken([HELLO, called(call("call_0")), result("call_0", "1"), called(call("call_0")), result("call_0", "2")])
    first, one, second, two = asked["messages"][1:]
    assert first["content"][0]["toolUse"]["toolUseId"] == one["content"][0]["toolResult"]["toolUseId"] == "call_0"
    assert second["content"][0]["toolUse"]["toolUseId"] == two["content"][0]["toolResult"]["toolUseId"] != "call_0"
    assert two["content"][0]["toolResult"]["content"] == [{"text": "2"}]


@pytest.mark.parametrize("name", ["my.tool", "files/read", "x" * 65, "Büro", "mcp__server__" + "y" * 80])
def test_a_tools_name_that_is_not_taken_has_an_alias_wherever_it_stands(name: str) -> None:
    names = Names()
    tool = {"type": "function", "function": {"name": name, "parameters": {}}}
    choice = {"type": "function", "function": {"name": name}}
    asked = taken([HELLO, called(call(tool=name)), result(), HELLO], names=names, tools=[tool], tool_choice=choice)
    alias = asked["toolConfig"]["tools"][0]["toolSpec"]["name"]
    assert asked["messages"][1]["content"][0]["toolUse"]["name"] == alias
    assert asked["toolConfig"]["toolChoice"] == {"tool": {"name": alias}}
    assert names.callers(alias) == name


@pytest.mark.parametrize(
    "parameters",
    [None, {}, {"properties": {}}, {"type": None}, {"type": ["object", "null"]}, {"type": "object"}, {"$schema": "x"}],
)
def test_a_tools_schema_is_an_objects(parameters: Any) -> None:
    tool = {"type": "function", "function": {"name": "weather", "description": " ", "parameters": parameters}}
    spec = taken([HELLO], tools=[tool])["toolConfig"]["tools"][0]["toolSpec"]
    assert spec["inputSchema"]["json"] == {**(parameters or {"properties": {}}), "type": "object"}


@pytest.mark.parametrize(
    ("stop", "stops"),
    [
        ("", None),
        ("\n", None),
        (["", " ", "END"], ["END"]),
        ([], None),
        (None, None),
        ("END", ["END"]),
    ],
)
def test_a_blank_stop_is_none(stop: object, stops: object) -> None:
    assert taken([HELLO], stop=stop)["inferenceConfig"].get("stopSequences") == stops


def test_a_call_without_a_result_has_one_that_says_so() -> None:
    missing = {"toolResult": {"toolUseId": "c1", "content": [{"text": NO_RESULT}]}}
    for rest, turn in (([], [missing]), ([HELLO], [missing, {"text": "Hello"}])):
        assert taken([HELLO, called(call()), *rest])["messages"][-1] == {"role": "user", "content": turn}


def test_a_result_without_its_call_is_told_in_words() -> None:
    for orphan in (result("c9", "Cold."), result(None, "Cold.")):  # type: ignore[arg-type]
        [turn] = taken([HELLO, orphan])["messages"]
        assert turn["content"][2] == {"text": "Cold."}


def test_a_result_that_comes_twice_is_one() -> None:
    last = taken([HELLO, called(call()), result(content="1"), result(content="2")])["messages"][-1]
    assert last["content"] == [{"toolResult": {"toolUseId": "c1", "content": [{"text": "1"}, {"text": "2"}]}}]


def test_results_stand_before_what_was_said_before_them() -> None:
    last = taken([HELLO, called(call()), HELLO, result()])["messages"][-1]
    assert [next(iter(block)) for block in last["content"]] == ["toolResult", "text"]


def test_an_empty_image_is_refused_by_name() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,"}}
    with pytest.raises(Exception, match="An image is empty"):
        taken([{"role": "user", "content": [image]}])


def test_the_local_bedrock_refuses_what_is_mended_here() -> None:
    """Else the tests above would show nothing."""
    blank: Any = {"messages": [{"role": "user", "content": [{"text": " "}]}]}
    with pytest.raises(BedrockError, match="is blank"):
        converse.conversation(msgspec.convert(blank, Request), MODELS[HAIKU])


NAMES = st.one_of(st.none(), st.text(max_size=4), st.sampled_from(IDS), st.just("c1"))
TEXTS = st.one_of(
    st.none(), st.text(max_size=5), st.lists(st.builds(lambda text: parts(text)[0], st.text(max_size=3)), max_size=3)
)
CALLS = st.lists(
    st.builds(call, NAMES, st.one_of(st.text(max_size=4), st.just("{}"), st.none()), st.text(max_size=70)), max_size=3
)
SAID = st.one_of(
    st.builds(
        lambda role, content: {"role": role, "content": content},
        st.sampled_from(["user", "system", "developer"]),
        TEXTS,
    ),
    st.builds(lambda calls, content: called(*calls, content=content), CALLS, TEXTS),
    st.builds(result, NAMES, TEXTS),
    st.builds(
        lambda name, text: {"role": "assistant", "content": text, "function_call": {"name": name, "arguments": text}},
        st.text(max_size=4),
        st.text(max_size=4),
    ),
    st.builds(lambda name, text: {"role": "function", "name": name, "content": text}, st.text(max_size=4), TEXTS),
)


@given(st.lists(SAID, min_size=1, max_size=8), st.sampled_from([HAIKU, NOVA, SONNET]))
def test_whatever_was_said_is_taken(messages: list[Any], model: str) -> None:
    taken(messages, model)
