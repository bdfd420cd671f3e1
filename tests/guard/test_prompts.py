"""Requests, judged in whichever words they come: redacted in place, refused before anything else, or let be."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from guard import Rule, Rules, Tools, compiled
from guard.bodies import Judge, NotAllowed, prompts

RULES = Rules(
    rules=(Rule("secret", r"word-\d{4}", "redact", "in"), Rule("bomb", "boom!", "refuse", "in")),
    packs=("cards",),
    tools=Tools(allowed=("look_*", "web_search"), blocked=("look_away",)),
    max_prompt_bytes=200,
)
ASKED: dict[str, tuple[str, Any]] = {
    "a chat": ("chat.completions", {"messages": [{"role": "user", "content": "TEXT"}]}),
    "parts of a chat": ("chat.completions", {"messages": [{"content": [{"type": "text", "text": "TEXT"}]}]}),
    "a name": ("chat.completions", {"messages": [{"role": "user", "name": "TEXT", "content": "hi"}]}),
    "a tool's result": ("chat.completions", {"messages": [{"role": "tool", "tool_call_id": "c", "content": "TEXT"}]}),
    "arguments": (
        "chat.completions",
        {"messages": [{"tool_calls": [{"function": {"name": "look_up", "arguments": '{"a": "TEXT"}'}}]}]},
    ),
    "a user who begins as media do": ("chat.completions", {"messages": [{"content": "data:,TEXT"}]}),
    "a text that could be a medium": ("chat.completions", {"messages": [{"content": "data:a/b;base64,TEXT"}]}),
    "a tool's answer of several": (
        "converse",
        {"body": {"messages": [{"content": [{"toolResult": {"content": [{"json": [{"id": "TEXT"}]}]}}]}]}},
    ),
    "a role": ("chat.completions", {"messages": [{"role": "TEXT", "content": "hi"}]}),
    "a sentence for an id": ("chat.completions", {"messages": [{"role": "tool", "tool_call_id": "TEXT"}]}),
    "a part of a lying type": ("chat.completions", {"messages": [{"content": [{"type": "image", "data": "TEXT"}]}]}),
    "an effort": ("chat.completions", {"reasoning_effort": "TEXT"}),
    "what comes after": ("completions", {"prompt": "hi", "suffix": "TEXT"}),
    "the name of a document's member": ("chat.completions", {"documents": [{"TEXT": 1}]}),
    "a document's format": ("chat.completions", {"documents": [{"format": "TEXT", "role": "user"}]}),
    "a template's own": ("chat.completions", {"chat_template_kwargs": {"format": "TEXT"}}),
    "a model's own member by Converse": ("converse", {"body": {"additionalModelRequestFields": {"id": "TEXT"}}}),
    "lists in a list": ("completions", {"prompt": [["TEXT"]]}),
    "a member that nobody knows": ("chat.completions", {"documents": [{"title": "t", "text": "TEXT"}]}),
    "a completion": ("completions", {"prompt": ["one", "TEXT"]}),
    "an embedding": ("embeddings", {"input": "TEXT"}),
    "a message": ("messages", {"system": "TEXT", "messages": [{"role": "user", "content": "hi"}]}),
    "a tool's result in a message": (
        "messages",
        {"messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "TEXT"}]}]},
    ),
    "a tool's input in a message": (
        "messages",
        {"messages": [{"content": [{"type": "tool_use", "name": "look_up", "input": {"a": ["TEXT"]}}]}]},
    ),
    "a document in a message": (
        "messages",
        {"messages": [{"role": "user", "content": [{"type": "document", "source": {"type": "text", "data": "TEXT"}}]}]},
    ),
    "a response": ("responses", {"instructions": "TEXT", "input": "hi"}),
    "a response's items": ("responses", {"input": [{"type": "function_call_output", "output": "TEXT"}]}),
    "a conversation": ("converse", {"body": {"messages": [{"role": "user", "content": [{"text": "TEXT"}]}]}}),
    "a conversation's system": ("converse", {"body": {"system": [{"text": "TEXT"}], "messages": []}}),
    "a body": ("invoke", {"body": {"prompt": "TEXT"}}),
    "a body in a text": ("invoke", {"body": '{"inputText": "TEXT"}'}),
}  # fmt: skip
every_wording = pytest.mark.parametrize(("operation", "fields"), ASKED.values(), ids=ASKED.keys())


def raw(fields: Any) -> dict[str, msgspec.Raw]:
    return {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in fields.items()}


def with_text(fields: Any, text: str) -> dict[str, msgspec.Raw]:
    written = msgspec.json.encode(text).decode()[1:-1]
    return msgspec.json.decode(
        msgspec.json.encode(fields).decode().replace("TEXT", written), type=dict[str, msgspec.Raw]
    )


def judge() -> Judge:
    return Judge(compiled(RULES), "in")


def judged(asked: prompts.Fields, operation: str, judging: Judge) -> prompts.Fields:
    return prompts.judged(asked, judging, "body" if operation in ("invoke", "converse") else "")


def said(fields: Any) -> str:
    return msgspec.json.encode(fields).decode()


@every_wording
def test_what_is_redacted_reads_as_its_rules_name(operation: str, fields: Any) -> None:
    asked, judging = with_text(fields, "it is word-1234."), judge()
    shown = said(judged(asked, operation, judging))
    assert "it is [secret]." in shown
    assert "1234" not in shown
    assert judging.findings == {"secret": 1}


@every_wording
def test_what_is_refused_is_refused_wherever_it_stands(operation: str, fields: Any) -> None:
    with pytest.raises(NotAllowed) as refused:
        judged(with_text(fields, "it goes boom! now"), operation, judge())
    assert refused.value.rule == "bomb"
    assert "boom" not in refused.value.text


@every_wording
def test_what_meets_no_rule_stays_the_same_object(operation: str, fields: Any) -> None:
    asked = with_text(fields, "word-12 is fine")
    assert judged(asked, operation, judge()) is asked


@pytest.mark.parametrize(
    "fields",
    [
        {"model": "word-1234", "user": "word-1234", "metadata": {"a": "word-1234"}},
        {"tools": [{"type": "function", "function": {"name": "look_up", "description": "as word-1234"}}]},
        {"response_format": {"json_schema": {"schema": {"description": "word-1234"}}}},
        {"messages": [{"content": [{"image_url": {"url": "data:image/png;base64,word-1234"}}]}]},
        {"messages": [{"content": [{"type": "image", "source": {"type": "base64", "data": "word-1234"}}]}]},
        {"messages": [{"role": "tool", "tool_call_id": "word-1234", "content": "hi"}]},
    ],
)  # fmt: skip
def test_what_is_no_prompt_and_no_text_is_let_be(fields: Any) -> None:
    asked = raw(fields)
    assert judged(asked, "chat.completions", judge()) is asked


@pytest.mark.parametrize(
    ("operation", "written"),
    [
        ("chat.completions", '{"messages": [{"content": "boom!", "content": "hi"}]}'),
        ("chat.completions", '{"messages":[{"content":"boom!","content":"hi"}],"stop":["a"]}'),
        ("chat.completions", '{"tools":[{"function":{"name":"rm_all","name":"look_up"}}]}'),
        ("chat.completions", '{"documents":[{"text":"boom!","text":"hi"}]}'),
        ("invoke", '{"body":{"prompt":"boom!","prompt":"hi"}}'),
        ("invoke", '{"body":{"messages":[{"content":"boom!","content":"hi"}]}}'),
        ("invoke", msgspec.json.encode({"body": '{"prompt":"boom!","prompt":"hi"}'}).decode()),
    ],
)
def test_of_a_member_that_is_there_twice_a_model_gets_the_one_that_was_judged(operation: str, written: str) -> None:
    asked = msgspec.json.decode(written, type=dict[str, msgspec.Raw])
    shown = said(judged(asked, operation, judge()))
    assert "hi" in shown or "look_up" in shown
    assert "boom" not in shown and "rm_all" not in shown


def test_a_request_that_is_written_otherwise_than_we_would_stays_the_same_object() -> None:
    asked = msgspec.json.decode('{"messages": [ {"content": "\\u00e9", "top_k": 1e2} ]}', type=dict[str, msgspec.Raw])
    assert judged(asked, "chat.completions", judge()) is asked


TOOL: dict[str, Callable[[str], Any]] = {
    "chat.completions": lambda name: {"tools": [{"type": "function", "function": {"name": name}}]},
    "messages": lambda name: {"tools": [{"name": name, "input_schema": {}}]},
    "responses": lambda name: {"tools": [{"type": name}]},
    "converse": lambda name: {"body": {"toolConfig": {"tools": [{"toolSpec": {"name": name}}]}}},
    "completions": lambda name: {"functions": [{"name": name}]},
}


@pytest.mark.parametrize("operation", TOOL)
@pytest.mark.parametrize(("name", "allowed"), [("look_up", True), ("look_away", False), ("run", False)])
def test_tools_that_may_not_be_used_may_not_be_offered(operation: str, name: str, allowed: bool) -> None:
    asked = raw(TOOL[operation](name))
    if allowed:
        assert judged(asked, operation, judge()) is asked
        return
    with pytest.raises(NotAllowed) as refused:
        judged(asked, operation, judge())
    assert refused.value.rule == "tools"


@pytest.mark.parametrize(
    ("operation", "fields"),
    [
        ("responses", {"tools": [{"type": "function", "name": "look_away", "function": {"name": "look_up"}}]}),
        ("responses", {"tools": [{"type": "function", "name": "look_away", "function": {}}]}),
        ("responses", {"tools": [{"type": "namespace", "name": "look_all", "tools": [{"name": "look_away"}]}]}),
        ("converse", {"body": {"additionalModelRequestFields": {"tools": [{"type": "computer", "name": "run"}]}}}),
    ],
)
def test_no_tool_hides_behind_another_name_or_place(operation: str, fields: Any) -> None:
    with pytest.raises(NotAllowed) as refused:
        judged(raw(fields), operation, judge())
    assert refused.value.rule == "tools"


def test_a_number_that_is_a_card_cannot_be_cut_out_of_a_tools_input() -> None:
    use = {"type": "tool_use", "name": "look_up", "input": {"card": 4111111111111111}}
    with pytest.raises(NotAllowed) as refused:
        judged(raw({"messages": [{"role": "assistant", "content": [use]}]}), "messages", judge())
    assert refused.value.rule == "cards"


@pytest.mark.parametrize(
    ("operation", "fields"),
    [
        ("completions", {"prompt": [1, 2]}),
        ("completions", {"prompt": [[1], [2]]}),
        ("completions", {"prompt": [1.0, 2.0]}),
        ("completions", {"prompt": "hi", "prompt_embeds": "AAAA"}),
        ("chat.completions", {"input_ids": [3]}),
        ("embeddings", {"input": ["a", [7]]}),
        ("chat.completions", {"prompt_token_ids": [3]}),
    ],
)
def test_tokens_cannot_be_judged_and_are_refused(operation: str, fields: Any) -> None:
    with pytest.raises(NotAllowed, match="as text"):
        judged(raw(fields), operation, judge())


def test_a_prompt_may_be_as_long_as_is_allowed_and_no_longer() -> None:
    asked = raw({"messages": [{"content": "x" * 150}, {"content": "\u00e9" * 25}]})
    assert judged(asked, "chat.completions", judge()) is asked
    with pytest.raises(NotAllowed, match=r"201 bytes.*allow 200"):
        judged(raw({"messages": [{"content": "x" * 151}, {"content": "\u00e9" * 25}]}), "chat.completions", judge())
