"""Rules of Converse that its service model does not hold: what a conversation must be, and what a model must have.

https://docs.aws.amazon.com/bedrock/latest/userguide/conversation-inference-call.html
https://docs.aws.amazon.com/bedrock/latest/userguide/prompt-caching.html
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

from emulators.bedrock.blocks import Block, Message, Request, ToolConfig
from emulators.bedrock.catalogue import Model
from emulators.bedrock.conversation import Tool
from emulators.bedrock.refusal import BedrockError, invalid, malformed

CACHE_POINTS = 4
LEAST_THOUGHT_TOKENS = 1_024


def check_conversation(messages: Sequence[Message], *, has_tools: bool) -> None:
    """Raises Refused."""
    _check_roles(messages)
    for index, message in enumerate(messages):
        _check_content(message, index)
    if has_tools:
        _check_tool_results(messages)
    elif any(block.tool_use or block.tool_result for each in messages for block in each.content):
        raise invalid("The toolConfig field must be defined when using toolUse and toolResult content blocks.")


def check_request(asked: Request, model: Model) -> None:
    """What else a Converse request must be. Raises Refused."""
    for index, block in enumerate(asked.system):
        if block.text is not None and not block.text.strip():
            raise _blank(f"SystemContentBlock object at system.{index}")
    if any(not stop.strip() for stop in asked.inference_config.stop_sequences):
        raise invalid(
            "The stopSequences field in the InferenceConfiguration object is blank. Add text to the stop sequence, "
            "and try again."
        )
    for index, entry in enumerate(asked.tool_config.tools if asked.tool_config else ()):
        if entry.tool_spec and entry.tool_spec.input_schema.json.get("type") != "object":
            raise invalid(
                f"The value at toolConfig.tools.{index}.toolSpec.inputSchema.json.type must be one of the following: "
                "object."
            )
    _check_cache_points(asked, model)


def check_additional(
    asked: dict[str, Any], model: Model, max_tokens: int, temperature: float | None, config: ToolConfig | None
) -> None:
    """The model's own members (`additionalModelRequestFields`). Raises Refused."""
    known = {"anthropic": {"thinking", "tool_choice", "top_k", "anthropic_beta"}, "nova": {"inferenceConfig"}}
    for name in asked.keys() - known.get(model.family, set()):
        if model.family == "anthropic":
            raise invalid(f"The model returned the following errors: {name}: Extra inputs are not permitted")
        raise malformed(f"#: extraneous key [{name}] is not permitted")
    for name in asked.get("inferenceConfig", {}).keys() - {"topK"}:
        raise malformed(f"#/inferenceConfig: extraneous key [{name}] is not permitted")
    choice = config.tool_choice if config else None
    if "tool_choice" in asked:
        if ("type" in asked["tool_choice"]) == (choice is not None):
            raise invalid(
                "The model returned the following errors: tool_choice: a type is needed, and may be given once, here "
                "or in toolConfig.toolChoice"
            )
        if config is None:
            raise invalid("The model returned the following errors: tool_choice may only be specified with tools.")
    forced = choice is not None and choice.auto is None
    check_thinking(asked.get("thinking"), model, max_tokens, temperature, forced=forced)


def check_thinking(
    thinking: dict[str, Any] | None, model: Model, max_tokens: int, temperature: float | None, *, forced: bool
) -> None:
    """https://docs.aws.amazon.com/bedrock/latest/userguide/claude-messages-extended-thinking.html. Raises Refused."""
    if thinking is None or thinking.get("type") == "disabled":
        return
    budget_tokens = thinking.get("budget_tokens")
    if not model.thinks:
        raise invalid("thinking: Extra inputs are not permitted")
    if thinking.get("type") != "enabled":
        raise invalid(f"thinking.type: {thinking.get('type')!r} is not supported on this model")
    if not isinstance(budget_tokens, int) or budget_tokens < LEAST_THOUGHT_TOKENS:
        raise invalid(
            f"thinking.enabled.budget_tokens: Input should be greater than or equal to {LEAST_THOUGHT_TOKENS}"
        )
    if budget_tokens >= max_tokens:
        raise invalid("`max_tokens` must be greater than `thinking.budget_tokens`.")
    if temperature not in (None, 1):
        raise invalid("`temperature` may only be set to 1 when thinking is enabled.")
    if forced:
        raise invalid("Thinking may not be enabled when tool_choice forces tool use.")


def forced(config: ToolConfig | None, offered: Sequence[Tool]) -> Tool | None:
    """The tool that must be called. Raises Refused: there is none of that name."""
    if config is None or config.tool_choice is None:
        return None
    choice = config.tool_choice
    if choice.tool:
        name = choice.tool.name
        found = [tool for tool in offered if tool.name == name]
        if not found:
            raise invalid(f"The toolChoice.tool.name {name} does not match any tool of toolConfig.tools.")
        return found[0]
    return offered[0] if choice.any is not None and offered else None


def _check_cache_points(asked: Request, model: Model) -> None:
    entries = asked.tool_config.tools if asked.tool_config else []
    in_tools = [entry for entry in entries if entry.cache_point]
    lists = [asked.system, *(message.content for message in asked.messages)]
    points = [block for blocks in lists for block in blocks if block.cache_point]
    if not points and not in_tools:
        return
    if not model.caches:
        raise BedrockError(
            "AccessDeniedException",
            "You invoked an unsupported model or your request did not allow prompt caching. See the documentation for "
            "more information.",
        )
    if any(blocks and blocks[0].cache_point for blocks in lists) or (in_tools and model.family == "nova"):
        raise malformed("#: extraneous key [cachePoint] is not permitted")
    if len(points) + len(in_tools) > CACHE_POINTS:
        raise invalid(f"A maximum of {CACHE_POINTS} blocks with cache_control may be provided.")


def _check_roles(messages: Sequence[Message]) -> None:
    if not messages or messages[0].role != "user":
        raise invalid(
            "A conversation must start with a user message. Try again with a conversation that starts with a user "
            "message."
        )
    if any(before.role == after.role for before, after in pairwise(messages)):
        raise invalid(
            "A conversation must alternate between user and assistant roles. Make sure the conversation alternates "
            "between user and assistant roles and try again."
        )


def _check_content(message: Message, index: int) -> None:
    if not message.content:
        raise invalid(
            f"The content field in the Message object at messages.{index} is empty. Add a ContentBlock object to the "
            "content field and try again."
        )
    for where, text in _texts(message.content, f"messages.{index}.content"):
        if not text.strip():
            raise _blank(f"ContentBlock object at {where}")


def _texts(content: Sequence[Block], where: str) -> Iterator[tuple[str, str]]:
    """Every text, those of tools' results too, and where it stands."""
    for at, block in enumerate(content):
        if block.text is not None:
            yield f"{where}.{at}", block.text
        for inner, part in enumerate(block.tool_result.content if block.tool_result else ()):
            if part.text is not None:
                yield f"{where}.{at}.toolResult.content.{inner}", part.text


def _blank(place: str) -> BedrockError:
    return invalid(f"The text field in the {place} is blank. Add text to the text field, and try again.")


def _check_tool_results(messages: Sequence[Message]) -> None:
    """Every call of a tool has its result in the turn after it, and every result its call in the turn before."""
    calls = [block.tool_use.tool_use_id for each in messages for block in each.content if block.tool_use]
    if len(set(calls)) < len(calls):
        raise invalid("The toolUse blocks contain duplicate Ids.")
    nobody = Message("user", [])
    for index, (before, after) in enumerate(pairwise((nobody, *messages, nobody))):
        called = [block.tool_use.tool_use_id for block in before.content if block.tool_use]
        answered = [block.tool_result.tool_use_id for block in after.content if block.tool_result]
        where = f"messages.{index}.content"
        if unanswered := [each for each in called if each not in answered]:
            raise invalid(f"Expected toolResult blocks at {where} for the following Ids: {', '.join(unanswered)}")
        if len(answered) > len(called):
            raise invalid(
                f"The number of toolResult blocks at {where} exceeds the number of toolUse blocks of previous turn."
            )
