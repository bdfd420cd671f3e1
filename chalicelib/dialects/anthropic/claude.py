"""A Message as Anthropic's models at Bedrock take it: less than other pools and Anthropic's own service do. Pure.

https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-anthropic-claude-messages-request-response.html
"""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from chalicelib.dialects.anthropic import members
from chalicelib.dialects.families import Family, family_of
from chalicelib.dialects.names import Names
from chalicelib.refusal import Malformed

NEUTRAL = "Go on."
"""What a turn says that would say nothing."""

_CONTEXT_MANAGEMENT = "context-management-2025-06-27"
_OF_BETAS = {
    "defer_loading": "tool-search-tool-2025-10-19",
    "input_examples": "tool-examples-2025-10-29",
    "eager_input_streaming": "",
    "allowed_callers": "",
}
"""Members of tools that Bedrock takes with a beta only, or never; no answer depends on them."""

# Of the raw JSON, so that a session in which nothing is amiss is sent as it came: inside a text, quotes are escaped.
_AMISS = re.compile(
    rb'"role"\s*:\s*"system"|"type"\s*:\s*"thinking"|"(?:text|content)"\s*:\s*"(?:\s|\\[nrt])*"'
    rb'|"(?:tool_use_)?id"\s*:\s*"(?![a-zA-Z0-9_-]{1,64}")|"scope"\s*:|"ttl"\s*:'
)

_Members = dict[str, Any]
_EMPTY = msgspec.Raw(b'""')


def message(fields: Mapping[str, msgspec.Raw], model: str, names: Names) -> _Members:
    """The members of a Message for InvokeModel, without the gateway's own. Raises: Malformed."""
    family = family_of(model)
    body: _Members = members.without_the_services(fields)
    betas = members.betas(fields)
    if betas:
        body["anthropic_beta"] = betas
    try:
        _think(body, family)
        if "context_management" in body and not _manages(body, betas):
            del body["context_management"]
        if "tools" in body:
            body["tools"] = _tools(body["tools"], betas, family)
        if "messages" in body:
            body["messages"] = _messages(body["messages"], family, names)
        if "system" in body:
            body["system"] = _system(body["system"], family)
            if not body["system"]:
                del body["system"]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Malformed("The request is not the JSON of a Message.") from None
    return body


def _think(body: _Members, family: Family) -> None:
    """Leave out what asks for nothing that the model could do otherwise."""
    if not family.efforts and _read(body.get("thinking")).get("type") == "adaptive":
        del body["thinking"]
    if not family.efforts and "output_config" in body:
        kept = {name: value for name, value in _read(body["output_config"]).items() if name != "effort"}
        body["output_config"] = kept
        if not kept:
            del body["output_config"]


def _manages(body: _Members, betas: list[str]) -> bool:
    # An edit of thoughts is refused where there are none.
    return _CONTEXT_MANAGEMENT in betas and (
        "thinking" in body or b"clear_thinking" not in bytes(body["context_management"])
    )


def _tools(tools: msgspec.Raw, betas: list[str], family: Family) -> object:
    raw = bytes(tools)
    unknown = [name for name, beta in _OF_BETAS.items() if beta not in betas and name.encode() in raw]
    if not unknown and b'"cache_control"' not in raw:
        return tools
    read = msgspec.json.decode(tools, type=list[dict[str, msgspec.Raw]])
    return [_cached({name: value for name, value in tool.items() if name not in unknown}, family) for tool in read]


def _system(system: msgspec.Raw, family: Family) -> object:
    if not bytes(system).startswith(b"["):
        return system if _says(system) else None
    blocks = msgspec.json.decode(system, type=list[dict[str, msgspec.Raw]])
    return [_cached(block, family) for block in blocks if _says(block.get("text", _EMPTY))]


def _messages(messages: msgspec.Raw, family: Family, names: Names) -> object:
    read = msgspec.json.decode(messages, type=list[dict[str, msgspec.Raw]])
    begun = not read or bytes(read[0].get("role", b"")) == b'"assistant"'
    uncached = not family.cached and b'"cache_control"' in bytes(messages)
    if not begun and not uncached and not _AMISS.search(messages):
        return messages
    turns = [turn for each in read if (turn := _turn(each, family, names))]
    neutral = {"role": "user", "content": NEUTRAL}
    return [neutral, *turns] if not turns or turns[0]["role"] == "assistant" else turns


def _turn(message: dict[str, msgspec.Raw], family: Family, names: Names) -> _Members | None:
    """What was said, by somebody whom Claude knows; None for an answer of nothing."""
    role = "assistant" if _text(message.get("role")) == "assistant" else "user"
    said = message.get("content", _EMPTY)
    if not bytes(said).startswith(b"["):
        content: object = said if _says(said) else None
    else:
        blocks = msgspec.json.decode(said, type=list[dict[str, msgspec.Raw]])
        content = [_block(block, family, names) for block in blocks if _kept(block)]
    if content:
        return {**message, "role": role, "content": content}
    return {"role": role, "content": NEUTRAL} if role == "user" else None


def _kept(block: dict[str, msgspec.Raw]) -> bool:
    """No blank text, and no thought that another model has had, which has no signature of Anthropic's."""
    kind = _text(block.get("type"))
    if kind == "text":
        return _says(block.get("text", _EMPTY))
    return kind != "thinking" or _says(block.get("signature", _EMPTY))


def _block(block: _Members, family: Family, names: Names) -> _Members:
    for name in ("id", "tool_use_id"):
        if name in block and _text(block["type"]) in ("tool_use", "tool_result"):
            block[name] = names.tool(_text(block[name]))
    return _cached(block, family)


def _cached(block: _Members, family: Family) -> _Members:
    """With its mark as the model takes it, or without, where it keeps nothing."""
    if "cache_control" in block:
        kept = _read(block["cache_control"])
        kept.pop("scope", None)
        if not family.cached_long:
            kept.pop("ttl", None)
        if kept and family.cached:
            block["cache_control"] = kept
        else:
            del block["cache_control"]
    return block


def _says(text: msgspec.Raw) -> bool:
    said = msgspec.json.decode(text)
    return bool(said.strip()) if isinstance(said, str) else said is not None


def _text(value: msgspec.Raw | None) -> str:
    said = None if value is None else msgspec.json.decode(value)
    return said if isinstance(said, str) else ""


def _read(value: msgspec.Raw | None) -> dict[str, Any]:
    said = None if value is None else msgspec.json.decode(value)
    return said if isinstance(said, dict) else {}
