"""The local Bedrock refuses what botocore's service model of Converse refuses, and what its documentation does."""

from typing import Any

import httpx
import pytest

from tests.emulators.bedrock.served import HAIKU, LLAMA, NOVA, SONNET, Served, refused, user
from tests.patience import PATIENCE_S

SPEC = {"name": "weather", "inputSchema": {"json": {"type": "object"}}}
POINT = {"cachePoint": {"type": "default"}}


def tools(**members: Any) -> dict[str, Any]:
    return {"toolConfig": {"tools": [{"toolSpec": SPEC | members}]}}


def used(name: str = "t1", tool: str = "weather") -> dict[str, Any]:
    return {"role": "assistant", "content": [{"toolUse": {"toolUseId": name, "name": tool, "input": {}}}]}


def answered(name: str = "t1", text: str = "sunny") -> dict[str, Any]:
    return {"role": "user", "content": [{"toolResult": {"toolUseId": name, "content": [{"text": text}]}}]}


def by_http(bedrock: Served, members: dict[str, Any], model: str = HAIKU) -> httpx.Response:
    """botocore itself would not send half of it."""
    return httpx.post(
        f"{bedrock.url}/model/{model}/converse",
        json={"messages": [user("hello")]} | members,
        headers={"authorization": f"Bearer {bedrock.bearer}"},
        timeout=PATIENCE_S,
    )


@pytest.mark.parametrize(
    ("members", "text"),
    [
        (
            {"messages": [{"content": [{"text": "x"}]}]},
            "'messages.1.member.role' failed to satisfy constraint: Member must not",
        ),
        ({"messages": [{"role": "tool", "content": [{"text": "x"}]}]}, "enum value set: [user, assistant"),
        ({"messages": [{"role": "user", "content": [{}]}]}, "exactly one of"),
        ({"messages": [{"role": "user", "content": [{"text": "x"} | POINT]}]}, "exactly one of"),
        ({"messages": [{"role": "user", "content": [{"txt": "x"}]}]}, "'messages.1.member.content.1.member.txt'"),
        ({"messages": [{"role": "user", "content": "x"}]}, "Member must be a list"),
        ({"messages": [user("x"), used("functions|Bash"), answered("functions|Bash")]} | tools(), "regular expression"),
        ({"messages": [user("x"), used("x" * 65), answered("x" * 65)]} | tools(), "less than or equal to 64"),
        ({"messages": [user("x"), used(""), answered("")]} | tools(), "greater than or equal to 1"),
        ({"messages": [user("x"), used("t1", "my.tool"), answered()]} | tools(), "regular expression pattern"),
        (
            {"messages": [user("x"), used(), answered()]} | tools(name="my tool"),
            "'toolConfig.tools.1.member.toolSpec.name'",
        ),
        (
            {"messages": [user("x", {"image": {"format": "png", "source": {"bytes": ""}}})]},
            "length greater than or equal to 1",
        ),
        (tools(description=""), "'toolConfig.tools.1.member.toolSpec.description'"),
        (tools(inputSchema={}), "exactly one of: [json]"),
        ({"toolConfig": {"tools": []}}, "length greater than or equal to 1"),
        ({"system": [{"text": ""}]}, "length greater than or equal to 1"),
        ({"inferenceConfig": {"stopSequences": [""]}}, "length greater than or equal to 1"),
        ({"inferenceConfig": {"maxTokens": 0}}, "value greater than or equal to 1"),
        ({"inferenceConfig": {"maxTokens": "9"}}, "Member must be a integer"),
        ({"inferenceConfig": {"topP": 1.1}}, "value less than or equal to 1"),
        ({"inferenceConfig": {"topK": 1}}, "Member must be one of"),
        ({"requestMetadata": {"a": "{}"}}, "regular expression pattern"),
        ({"serviceTier": {"type": "best"}}, "enum value set"),
    ],
)
def test_the_service_model_is_kept(bedrock: Served, members: dict[str, Any], text: str) -> None:
    answer = by_http(bedrock, members)
    assert answer.status_code == 400
    assert text in answer.json()["message"]


def test_every_place_that_is_wrong_is_told(bedrock: Served) -> None:
    message = by_http(bedrock, {"inferenceConfig": {"topP": 2, "temperature": -1}}).json()["message"]
    assert message.startswith("2 validation errors detected: ")


@pytest.mark.parametrize(
    ("members", "text"),
    [
        ({"system": [{"text": " "}]}, "SystemContentBlock object at system.0 is blank"),
        ({"inferenceConfig": {"stopSequences": ["\n"]}}, "stop"),
        (
            {"messages": [user("x"), used(), answered(text=" ")]} | tools(),
            "messages.2.content.0.toolResult.content.0 is blank",
        ),
        ({"messages": [user("x"), used()]} | tools(), "Expected toolResult blocks at messages.2.content"),
        ({"messages": [answered()]} | tools(), "toolResult blocks at messages.0.content exceeds"),
        ({"messages": [user("x"), used(), answered(), used(), answered()]} | tools(), "duplicate Ids"),
        ({"messages": [{"role": "system", "content": [{"text": "x"}]}]}, "role"),
        (tools(inputSchema={"json": {}}), "inputSchema.json.type must be one of the following: object."),
        (tools(inputSchema={"json": {"type": "string"}}), "inputSchema.json.type must be"),
    ],
)
def test_the_rules_beyond_it_are_kept(bedrock: Served, members: dict[str, Any], text: str) -> None:
    answer = by_http(bedrock, members)
    assert answer.status_code == 400
    assert text in answer.json()["message"]


def test_cache_points_are_for_models_that_cache(bedrock: Served) -> None:
    pointed: dict[str, Any] = {"system": [{"text": "be brief"}, POINT]}
    assert bedrock.converse(model=f"us.{SONNET}", **pointed)["stopReason"] == "end_turn"
    assert bedrock.converse(model=NOVA, **pointed)["stopReason"] == "end_turn"
    for model in (HAIKU, LLAMA):
        with refused("AccessDeniedException", "did not allow prompt caching"):
            bedrock.converse(model=model, **pointed)
    in_tools: dict[str, Any] = {"toolConfig": {"tools": [{"toolSpec": SPEC}, POINT]}}
    assert bedrock.converse(model=f"us.{SONNET}", **in_tools)["stopReason"] == "end_turn"
    with refused("ValidationException", "extraneous key [cachePoint]"):
        bedrock.converse(model=NOVA, **in_tools)
    several: list[list[Any]] = [[POINT], [{"text": "x"}, *[POINT] * 5]]
    for blocks in several:
        with refused("ValidationException"):
            bedrock.converse(model=NOVA, system=blocks)


@pytest.mark.parametrize(
    ("model", "own", "text"),
    [
        (f"us.{SONNET}", {"thinking": {"type": "enabled", "budget_tokens": 1_023}}, "greater than or equal to 1024"),
        (f"us.{SONNET}", {"thinking": {"type": "enabled", "budget_tokens": 4_000}}, "`max_tokens` must be greater"),
        (f"us.{SONNET}", {"thinking": {"type": "adaptive"}}, "not supported on this model"),
        (f"us.{SONNET}", {"seed": 1}, "seed: Extra inputs are not permitted"),
        (f"us.{SONNET}", {"tool_choice": {"disable_parallel_tool_use": True}}, "tool_choice"),
        (HAIKU, {"thinking": {"type": "enabled", "budget_tokens": 1_024}}, "thinking: Extra inputs"),
        (NOVA, {"top_k": 1}, "extraneous key [top_k]"),
        (NOVA, {"inferenceConfig": {"maxTokens": 1}}, "extraneous key [maxTokens]"),
        (LLAMA, {"top_k": 1}, "extraneous key [top_k]"),
    ],
)
def test_a_models_own_members_are_its_own(bedrock: Served, model: str, own: dict[str, Any], text: str) -> None:
    with refused("ValidationException", text):
        bedrock.converse(model=model, inferenceConfig={"maxTokens": 2_000}, additionalModelRequestFields=own)
