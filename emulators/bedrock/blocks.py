"""The members of a Converse request, as the service model of bedrock-runtime has them, and of Nova's own body."""

from typing import Annotated, Any, Literal

import msgspec

from emulators.bedrock.conversation import Role

_Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
_AtLeastOne = Annotated[int, msgspec.Meta(ge=1)]


class Bytes(msgspec.Struct, frozen=True):
    bytes: str


class Image(msgspec.Struct, frozen=True):
    format: Literal["png", "jpeg", "gif", "webp"]
    source: Bytes


class ToolCall(msgspec.Struct, frozen=True, rename="camel"):
    tool_use_id: str
    name: str
    input: dict[str, Any]


class ResultBlock(msgspec.Struct, frozen=True):
    text: str | None = None
    json: Any = None
    image: Image | None = None


class ToolResult(msgspec.Struct, frozen=True, rename="camel"):
    tool_use_id: str
    content: list[ResultBlock]
    status: Literal["success", "error"] = "success"


class GuardText(msgspec.Struct, frozen=True):
    text: str


class GuardContent(msgspec.Struct, frozen=True):
    text: GuardText


class Block(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """One member of these, as in every union of AWS."""

    text: str | None = None
    image: Image | None = None
    tool_use: ToolCall | None = None
    tool_result: ToolResult | None = None
    guard_content: GuardContent | None = None
    cache_point: dict[str, str] | None = None
    reasoning_content: dict[str, Any] | None = None


class Message(msgspec.Struct, frozen=True):
    role: Role
    content: list[Block]


class InputSchema(msgspec.Struct, frozen=True):
    json: dict[str, Any]


class ToolSpec(msgspec.Struct, frozen=True, rename="camel"):
    name: Annotated[str, msgspec.Meta(pattern="^[a-zA-Z0-9_-]{1,64}$")]
    input_schema: InputSchema
    description: str = ""


class ToolEntry(msgspec.Struct, frozen=True, rename="camel"):
    tool_spec: ToolSpec | None = None
    cache_point: dict[str, str] | None = None


class NamedTool(msgspec.Struct, frozen=True):
    name: str


class ToolChoice(msgspec.Struct, frozen=True):
    auto: dict[str, Any] | None = None
    any: dict[str, Any] | None = None
    tool: NamedTool | None = None


class ToolConfig(msgspec.Struct, frozen=True, rename="camel"):
    tools: Annotated[list[ToolEntry], msgspec.Meta(min_length=1)]
    tool_choice: ToolChoice | None = None


class InferenceConfig(msgspec.Struct, frozen=True, rename="camel"):
    max_tokens: _AtLeastOne | None = None
    temperature: _Share | None = None
    top_p: _Share | None = None
    stop_sequences: list[Annotated[str, msgspec.Meta(min_length=1)]] = []


class JsonSchema(msgspec.Struct, frozen=True):
    schema: str


class Structure(msgspec.Struct, frozen=True, rename="camel"):
    json_schema: JsonSchema


class TextFormat(msgspec.Struct, frozen=True):
    type: Literal["json_schema"]
    structure: Structure


class OutputConfig(msgspec.Struct, frozen=True, rename="camel"):
    text_format: TextFormat | None = None


class GuardrailConfig(msgspec.Struct, frozen=True, rename="camel"):
    guardrail_identifier: str = ""
    guardrail_version: str = ""
    trace: Literal["enabled", "disabled", "enabled_full"] = "disabled"


class Request(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """The body of Converse and ConverseStream. Members without a meaning for the demo model are passed over."""

    messages: list[Message] = []
    system: list[Block] = []
    inference_config: InferenceConfig = InferenceConfig()
    tool_config: ToolConfig | None = None
    guardrail_config: GuardrailConfig | None = None
    output_config: OutputConfig = OutputConfig()
    additional_model_request_fields: dict[str, Any] = {}
