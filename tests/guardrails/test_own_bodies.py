"""Whole answers in bodies of models' own, as Bedrock's InvokeModel gives them: every family's is judged."""

from typing import Any

import msgspec
import pytest

from chalicelib.call import Call, Delta, Finished, Usage
from chalicelib.guardrails.streams import Judged
from chalicelib.refusal import ContentRefused
from guard import Rule, Rules, Tools, compiled
from guard.bodies import Judge
from tests.guardrails.test_leaks import Told

GUARD = compiled(
    Rules(
        rules=(Rule("secret", r"\bword-\d{4}\b", "redact", "out"), Rule("bomb", "boom!", "refuse", "out")),
        tools=Tools(blocked=("rm_*",)),
    )
)

TEXTS: dict[str, Any] = {
    "claude": {"content": [{"type": "text", "text": "TEXT"}], "stop_reason": "end_turn"},
    "claude, thinking": {"content": [{"type": "thinking", "thinking": "TEXT", "signature": "abc"}]},
    "claude, with a tool": {"content": [{"type": "tool_use", "id": "t", "name": "look_up", "input": {"id": "TEXT"}}]},
    "claude, before Messages": {"completion": "TEXT", "stop_reason": "stop_sequence"},
    "nova": {"output": {"message": {"content": [{"text": "TEXT"}]}}, "stopReason": "end_turn"},
    "nova, with a tool": {
        "output": {"message": {"content": [{"toolUse": {"name": "look_up", "input": {"id": "TEXT"}}}]}}
    },
    "titan": {"results": [{"outputText": "TEXT", "completionReason": "FINISH"}]},
    "llama": {"generation": "TEXT", "stop_reason": "stop"},
    "mistral": {"outputs": [{"text": "TEXT", "stop_reason": "stop"}]},
    "mistral, with a tool": {
        "choices": [{"message": {"tool_calls": [{"function": {"name": "f", "arguments": '{"id":"TEXT"}'}}]}}]
    },
    "cohere": {"text": "TEXT", "finish_reason": "COMPLETE", "chat_history": []},
    "cohere, what was said": {"text": "hi", "chat_history": [{"role": "CHATBOT", "message": "TEXT"}]},
    "cohere, before Command R": {"generations": [{"id": "g", "text": "TEXT", "finish_reason": "COMPLETE"}]},
    "jamba": {"choices": [{"index": 0, "message": {"role": "assistant", "content": "TEXT"}}]},
    "jurassic": {"completions": [{"data": {"text": "TEXT"}, "finishReason": {"reason": "endoftext"}}]},
    "deepseek": {"choices": [{"text": "TEXT", "stop_reason": "stop"}]},
    "gpt-oss": {"choices": [{"message": {"content": "hi", "reasoning_content": "TEXT"}}]},
    "one that nobody knows": {"said": {"at_last": ["TEXT"]}},
}  # fmt: skip
CALLS: dict[str, Any] = {
    "claude": {"content": [{"type": "tool_use", "id": "t", "name": "rm_all", "input": {}}]},
    "nova": {"output": {"message": {"content": [{"toolUse": {"name": "rm_all", "input": {}}}]}}},
    "mistral": {"choices": [{"message": {"tool_calls": [{"function": {"name": "rm_all", "arguments": "{}"}}]}}]},
    "cohere": {"text": "hi", "tool_calls": [{"name": "rm_all", "parameters": {}}]},
}
every_text = pytest.mark.parametrize("body", TEXTS.values(), ids=TEXTS.keys())


def told(body: Any, text: str) -> str:
    written = msgspec.json.encode(body).replace(b"TEXT", text.encode())
    call = Call("r", "invoke", "p", {}, False, 1, 10, 1, "t")
    judged = Judged(Told(Delta(written, 3), Finished(Usage(1, 3))), call, Judge(GUARD, "out"), lambda _: None)
    return b"".join(event.data for event in judged if isinstance(event, Delta)).decode()


@every_text
def test_what_is_redacted_reads_as_its_rule_is_called(body: Any) -> None:
    for said in ("it is word-1234", "word-1234", "data:a/b;base64,word-1234"):
        shown = told(body, said)
        assert "[secret]" in shown and "1234" not in shown


@every_text
def test_what_is_refused_is_not_told(body: Any) -> None:
    with pytest.raises(ContentRefused) as refused:
        told(body, "so: boom!")
    assert refused.value.symptom == "bomb" and refused.value.usage == Usage(1, 3)


@every_text
def test_what_no_rule_forbids_stays(body: Any) -> None:
    assert msgspec.json.decode(told(body, "all is well")) == msgspec.json.decode(
        msgspec.json.encode(body).replace(b"TEXT", b"all is well")
    )


@pytest.mark.parametrize("body", CALLS.values(), ids=CALLS.keys())
def test_a_tool_that_may_not_be_used_is_not_called(body: Any) -> None:
    with pytest.raises(ContentRefused) as refused:
        told(body, "")
    assert refused.value.symptom == "tools"
