"""A Message as Anthropic's models at Bedrock take it: what only the service knows stays here, sessions go on."""

from typing import Any

import msgspec
import pytest
from anthropic.types.beta.message_create_params import MessageCreateParamsBase

from chalicelib.dialects import invoke
from chalicelib.dialects.anthropic.members import BETAS, CLAUDES, HEADER, LEFT_OUT, REFUSED
from chalicelib.dialects.names import Names
from chalicelib.refusal import THREAD_UNSUPPORTED, Malformed
from emulators.bedrock.anthropic import KNOWN_BETAS, Anthropic
from emulators.bedrock.catalogue import MODELS
from tests.engines.bedrocks import HAIKU, SONNET
from tests.engines.messages import HELLO, asked

EPHEMERAL = {"type": "ephemeral"}
CLEARING = {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]}
MANAGING = {"edits": [{"type": "clear_tool_uses_20250919"}]}
MANAGEMENT = "context-management-2025-06-27"


def sent(model: str = SONNET, names: Names | None = None, **fields: Any) -> dict[str, Any]:
    """The body, which the local Bedrock takes."""
    body = invoke.messages(asked(**fields), model, names or Names())
    Anthropic(lambda: None, "claude").read(body, MODELS[model])  # type: ignore[arg-type, return-value]
    read: dict[str, Any] = msgspec.json.decode(body)
    return read


def header(*betas: str) -> dict[str, Any]:
    return {HEADER: ",".join(betas)}


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (header("context-1m-2025-08-07"), ["context-1m-2025-08-07"]),
        (header("claude-code-20250219", "oauth-2025-04-20"), None),
        (
            header(
                "claude-code-20250219",
                " interleaved-thinking-2025-05-14",
                MANAGEMENT,
                "prompt-caching-scope-2026-01-05",
            ),
            ["interleaved-thinking-2025-05-14", MANAGEMENT],
        ),
        (header("advanced-tool-use-2025-11-20", "tool-search-tool-2025-10-19"), ["tool-search-tool-2025-10-19"]),
        ({"betas": [MANAGEMENT]}, [MANAGEMENT]),
        ({"anthropic_beta": [MANAGEMENT, "no-such-2026-01-01"]}, [MANAGEMENT]),
        (
            {"betas": [MANAGEMENT], **header(MANAGEMENT), "anthropic_beta": ["compact-2026-01-12"]},
            [MANAGEMENT, "compact-2026-01-12"],
        ),
        ({"betas": None}, None),
        (header(""), None),
        ({}, None),
    ],
)
def test_claude_is_told_of_the_betas_that_bedrock_knows(said: dict[str, Any], told: list[str] | None) -> None:
    assert sent(**said).get("anthropic_beta") == told


def test_every_member_that_anthropic_has_is_listed_or_is_a_models_own() -> None:
    models_own = {
        *("max_tokens", "messages", "model", "output_config", "stop_sequences", "system", "thinking"),
        *("tool_choice", "tools"),
    }
    listed = LEFT_OUT.keys() | CLAUDES.keys() | REFUSED.keys()
    assert MessageCreateParamsBase.__annotations__.keys() - models_own <= listed


def test_both_know_the_same_betas() -> None:
    assert set(BETAS.values()) == KNOWN_BETAS


@pytest.mark.parametrize("betas", [7, {"a": 1}, [7]])
def test_betas_that_are_none_are_refused_by_name(betas: object) -> None:
    with pytest.raises(Malformed, match="betas has to be"):
        sent(betas=betas)


@pytest.mark.parametrize("name", sorted(LEFT_OUT))
def test_what_only_the_service_knows_stays_here(name: str) -> None:
    value: Any = [] if name in ("betas", "anthropic_beta") else "" if name == HEADER else {"type": "ephemeral"}
    assert name not in sent(**{name: value})


@pytest.mark.parametrize(
    ("name", "nothing"), [("mcp_servers", []), ("mcp_servers", None), ("container", None), ("container", {})]
)
def test_nothing_of_what_only_the_service_does_is_nothing(name: str, nothing: Any) -> None:
    assert name not in sent(**{name: nothing})


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("mcp_servers", [{"type": "url", "url": "https://x", "name": "x"}], None),
        ("container", "c_1", None),
        ("thread", {"type": "create"}, THREAD_UNSUPPORTED),
        ("thread", {"type": "continue", "previous_message_id": "msg_1"}, THREAD_UNSUPPORTED),
    ],
)
def test_what_only_the_service_does_is_refused_by_name(name: str, value: Any, code: str | None) -> None:
    with pytest.raises(Malformed, match=f"This model has no {name}") as refused:
        sent(**{name: value})
    assert (refused.value.field, refused.value.code) == (name, code)


def test_contexts_are_managed_with_their_beta_alone() -> None:
    assert sent(context_management=MANAGING, **header(MANAGEMENT))["context_management"] == MANAGING
    assert "context_management" not in sent(context_management=MANAGING)
    assert "context_management" not in sent(
        context_management=CLEARING, thinking={"type": "adaptive"}, **header(MANAGEMENT)
    )


def test_what_a_model_cannot_be_asked_for_is_left_out_where_it_asks_for_nothing() -> None:
    body = sent(thinking={"type": "adaptive"}, output_config={"effort": "high"})
    assert "thinking" not in body
    assert "output_config" not in body
    newer = msgspec.json.decode(
        invoke.messages(
            asked(thinking={"type": "adaptive"}, output_config={"effort": "high"}), "anthropic.claude-opus-4-7", Names()
        )
    )
    assert (newer["thinking"], newer["output_config"]) == ({"type": "adaptive"}, {"effort": "high"})


def test_tools_come_without_what_takes_a_beta() -> None:
    tool = {"name": "read", "input_schema": {"type": "object"}}
    more = {"defer_loading": True, "eager_input_streaming": True, "input_examples": [{}], "allowed_callers": ["direct"]}
    assert sent(tools=[tool | more])["tools"] == [tool]


def test_marks_are_kept_where_the_model_caches_and_as_it_takes_them() -> None:
    marked = {"cache_control": EPHEMERAL | {"scope": "global", "ttl": "1h"}}
    text = {"type": "text", "text": "Hello"}
    fields: dict[str, Any] = {
        "system": [text | marked],
        "messages": [{"role": "user", "content": [text | marked]}],
        "tools": [{"name": "read", "input_schema": {"type": "object"}} | marked],
    }
    kept, dropped = sent(**fields), sent(HAIKU, **fields)
    for read, mark in ((kept, {"cache_control": EPHEMERAL}), (dropped, {})):
        assert read["system"] == [text | mark]
        assert read["messages"][0]["content"] == [text | mark]
        assert read["tools"][0].get("cache_control") == mark.get("cache_control")


def use(name: str) -> dict[str, Any]:
    return {"role": "assistant", "content": [{"type": "tool_use", "id": name, "name": "read", "input": {"id": "a.b"}}]}


def told(name: str, content: object = "done") -> dict[str, Any]:
    return {"role": "user", "content": [{"type": "tool_result", "tool_use_id": name, "content": content}]}


@pytest.mark.parametrize("name", ["functions.Bash:0", "call|1", "x" * 65, ""])
def test_an_id_that_claude_does_not_take_has_an_alias(name: str) -> None:
    names = Names()
    _, said, answered = sent(names=names, messages=[*HELLO, use(name), told(name, "")])["messages"]
    [call], [result] = said["content"], answered["content"]
    assert call["id"] == result["tool_use_id"] != name
    assert names.callers(call["id"]) == name
    assert call["input"] == {"id": "a.b"}


@pytest.mark.parametrize(
    ("messages", "arrived"),
    [
        ([{"role": "assistant", "content": "Welcome!"}, *HELLO], ["user", "assistant", "user"]),
        ([*HELLO, {"role": "assistant", "content": " "}, *HELLO], ["user", "user"]),
        ([{"role": "user", "content": [{"type": "text", "text": "\n"}]}], ["user"]),
        ([*HELLO, {"role": "system", "content": "Be brief."}], ["user", "user"]),
        (
            [
                *HELLO,
                {"role": "assistant", "content": [{"type": "thinking", "thinking": "x", "signature": ""}]},
                *HELLO,
            ],
            ["user", "user"],
        ),
        (
            [
                *HELLO,
                {
                    "role": "assistant",
                    "content": [{"type": "thinking", "thinking": "x"}, {"type": "text", "text": "y"}],
                },
            ],
            ["user", "assistant"],
        ),
    ],
)
def test_a_session_that_began_elsewhere_goes_on(messages: list[Any], arrived: list[str]) -> None:
    assert [message["role"] for message in sent(messages=messages)["messages"]] == arrived


def test_a_blank_system_prompt_is_none() -> None:
    for system in ("", " ", [{"type": "text", "text": " "}], []):
        assert "system" not in sent(system=system)


def test_a_session_in_which_nothing_is_amiss_is_sent_as_it_came() -> None:
    text = 'He said "role": "system", "id": "a.b", "text": "".'
    raw = b'[ {"role":"user", "content":[{"type":"text","text":' + msgspec.json.encode(text) + b"}]} ]"
    call = asked()
    call = msgspec.structs.replace(call, fields={**call.fields, "messages": msgspec.Raw(raw)})
    assert raw in invoke.messages(call, SONNET, Names())
