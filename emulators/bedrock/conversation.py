"""What a model is asked and what it says, whatever shape a provider gives them."""

from collections.abc import AsyncIterator
from typing import Any, Literal, Protocol

import msgspec

Role = Literal["user", "assistant"]
StopReason = Literal["end_turn", "max_tokens", "stop_sequence", "tool_use", "guardrail_intervened"]


class Turn(msgspec.Struct, frozen=True):
    """What one side said. Tool calls and their results are text to the demo model, which knows no tools."""

    role: Role
    text: str
    image_tokens: int = 0


class Tool(msgspec.Struct, frozen=True):
    name: str
    schema: dict[str, Any]


class Conversation(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked. `forced` is a tool that must be called, `json_schema` what the answer must be an instance of."""

    turns: tuple[Turn, ...]
    system: str = ""
    max_tokens: int
    temperature: float | None = None
    top_p: float | None = None
    stop: tuple[str, ...] = ()
    tools: tuple[Tool, ...] = ()
    forced: Tool | None = None
    json_schema: dict[str, Any] | None = None

    @property
    def image_tokens(self) -> int:
        return sum(turn.image_tokens for turn in self.turns)


class Began(msgspec.Struct, frozen=True):
    """Always the first event."""

    input_tokens: int


class Text(msgspec.Struct, frozen=True):
    """A piece of the text block that is being said."""

    text: str


class ToolUse(msgspec.Struct, frozen=True):
    """A whole block: the demo model never says one, control does."""

    id: str
    name: str
    input: dict[str, Any]


class Ended(msgspec.Struct, frozen=True):
    """Always the last event. `assessed` is the trace of a guardrail that intervened."""

    reason: StopReason
    output_tokens: int
    stop_sequence: str | None = None
    assessed: dict[str, Any] = {}


Event = Began | Text | ToolUse | Ended
Events = AsyncIterator[Event]


class Model(Protocol):
    """Who answers."""

    async def count(self, asked: Conversation) -> int:
        """Tokens of the prompt, images left out. Raises Refused."""
        ...

    def say(self, asked: Conversation) -> AsyncIterator[Text | Ended]:
        """The answer, regardless of `stop`. Raises Refused before the first event, ModelBroke after it."""
        ...


class ModelBroke(Exception):
    """The model's answer broke off."""
