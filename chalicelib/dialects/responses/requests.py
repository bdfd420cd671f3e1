"""OpenAI's Responses as OpenAI's chats: what is asked. Pure (https://platform.openai.com/docs/api-reference/responses).

Every text, image and tool of the request is in the chat. Members that say how OpenAI's own service should run it
(caching, tiers, metadata) are left out; what it would do by itself (store, search, compact) is refused by name; members
that nobody here knows reach the server as they are, as in a chat.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import msgspec

from chalicelib.call import Call
from chalicelib.dialects.responses import tools
from chalicelib.dialects.responses.conversation import Conversation, Item, Message, read
from chalicelib.dialects.responses.members import member
from chalicelib.refusal import Malformed

_TRANSLATED = ("input", "instructions", "max_output_tokens", "text", "tools", "tool_choice", "parallel_tool_calls")
_CHECKED = ("include", "reasoning", "truncation")
_LEFT_OUT = (
    *("store", "previous_response_id"),  # the surface's: what comes before is in the input by now
    *("metadata", "client_metadata", "safety_identifier", "service_tier", "max_tool_calls", "image"),
    *("prompt_cache_key", "prompt_cache_options", "prompt_cache_retention", "background_options", "access_programs"),
)
_ONLY_OPENAIS = {
    "background": "Leave it out, and stream what takes long.",
    "context_management": "Leave it out, and send less of the conversation.",
    "conversation": "Send the whole conversation as `input`.",
    "moderation": "Leave it out.",
    "prompt": "Send what it says as `instructions` and `input`.",
    "top_logprobs": "Send a chat for them.",
}
_CHATS = {
    "messages": "input",
    "response_format": "text.format",
    "reasoning_effort": "reasoning.effort",
    "functions": "tools",
    "function_call": "tool_choice",
    "max_tokens": "max_output_tokens",
    "max_completion_tokens": "max_output_tokens",
}
"""What a chat calls otherwise: as neither has both, one of the two would be lost without a word."""

_NOTHING = (b"null", b"false", b"0", b"[]", b"{}")

_INCLUDED = (
    *("reasoning.encrypted_content", "message.input_image.image_url", "computer_call_output.output.image_url"),
    *("file_search_call.results", "web_search_call.results", "web_search_call.action.sources"),
    "code_interpreter_call.outputs",
)
"""What an answer of a model without built-in tools has nothing of, or has without being asked."""


class _PlainText(msgspec.Struct, tag="text"):
    pass


class _JsonObject(msgspec.Struct, tag="json_object"):
    pass


class _JsonSchema(msgspec.Struct, tag="json_schema"):
    name: str
    schema: msgspec.Raw
    description: str | None = None
    strict: bool | None = None


class _Text(msgspec.Struct):
    format: _PlainText | _JsonObject | _JsonSchema | None = None
    verbosity: Literal["low", "medium", "high"] | None = None


class _Reasoning(msgspec.Struct):
    effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None
    mode: Literal["standard"] | None = None


def as_chat(call: Call) -> Call:
    """The chat that asks an OpenAI-compatible server the same.

    Raises: Malformed, where OpenAI's chats have no word for something.
    """
    for name, instead in _ONLY_OPENAIS.items():
        if name in call.fields and bytes(call.fields[name]) not in _NOTHING:
            raise Malformed(f"This model has no `{name}`. {instead}", field=name)
    for name, instead in _CHATS.items():
        if name in call.fields:
            raise Malformed(f"`{name}` is a chat's: in a Response it is `{instead}`.", field=name)
    known = (*_TRANSLATED, *_CHECKED, *_LEFT_OUT, *_ONLY_OPENAIS)
    fields = {name: value for name, value in call.fields.items() if name not in known}
    fields |= {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in _translated(call.fields)}
    return msgspec.structs.replace(call, operation="chat.completions", fields=fields)


def _translated(fields: Mapping[str, msgspec.Raw]) -> Iterator[tuple[str, Any]]:
    """Members of the chat. Raises: Malformed."""
    _must_be_included(fields)
    member(fields, "truncation", Literal["auto", "disabled"] | None)  # nobody here knows what a model's context holds
    yield "messages", _messages(fields)
    yield from tools.chosen(fields)
    text = member(fields, "text", _Text | None) or _Text()
    if isinstance(text.format, _JsonObject):
        yield "response_format", {"type": "json_object"}
    elif isinstance(text.format, _JsonSchema):
        yield "response_format", {"type": "json_schema", "json_schema": _given(text.format)}
    if text.verbosity in ("low", "high"):
        yield "verbosity", text.verbosity
    reasoning = member(fields, "reasoning", _Reasoning | None)
    if reasoning and reasoning.effort:
        yield "reasoning_effort", reasoning.effort


def _must_be_included(fields: Mapping[str, msgspec.Raw]) -> None:
    for name in member(fields, "include", list[str] | None) or ():
        if name not in _INCLUDED:
            raise Malformed(f"This model has nothing of {name[:64]!r} to include: leave it out.", field="include")


def _messages(fields: Mapping[str, msgspec.Raw]) -> list[dict[str, Any]]:
    conversation = Conversation(member(fields, "instructions", str | None))
    asked = member(fields, "input", str | list[msgspec.Raw])
    items: list[tuple[str, Item]] = (
        [("input", Message("user", asked))]
        if isinstance(asked, str)
        else [(f"input[{number}]", read(raw, f"input[{number}]")) for number, raw in enumerate(asked or ())]
    )
    return conversation.messages(items)


def _given(schema: _JsonSchema) -> dict[str, Any]:
    """The members that are there, which is not the same as null to every server."""
    members = {name: getattr(schema, name) for name in schema.__struct_fields__}
    return {name: value for name, value in members.items() if value is not None}
