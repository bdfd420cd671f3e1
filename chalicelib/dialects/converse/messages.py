"""The messages of a chat, as far as Converse has something for what is in them."""

from typing import Any, Literal

import msgspec


class CacheControl(msgspec.Struct, frozen=True):
    """That a prompt may be kept up to here; no member of OpenAI's, but what its clients send for Anthropic's models."""

    ttl: str | None = None


class Url(msgspec.Struct):
    url: str


class Text(msgspec.Struct, tag="text"):
    text: str
    cache_control: CacheControl | None = None


class Refusal(msgspec.Struct, tag="refusal"):
    refusal: str
    cache_control: CacheControl | None = None


class Image(msgspec.Struct, tag="image_url"):
    image_url: Url
    cache_control: CacheControl | None = None


Part = Text | Image | Refusal


class Called(msgspec.Struct):
    """A function and its arguments: JSON in a text, but for servers that write an object or nothing."""

    name: str
    arguments: Any = None


class ToolCall(msgspec.Struct):
    function: Called
    id: str | None = None


class Message(msgspec.Struct):
    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[Part] | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None
    function_call: Called | None = None
    name: str | None = None
    cache_control: CacheControl | None = None
