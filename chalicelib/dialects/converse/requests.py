"""OpenAI's chats as Bedrock's Converse: what is asked. Pure.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html

Which member of a chat becomes what stands in `members`, what only some models have in `families`.
"""

from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Literal

import msgspec

from chalicelib.call import Call
from chalicelib.dialects.converse import members
from chalicelib.dialects.converse.messages import CacheControl, Message
from chalicelib.dialects.converse.turns import instructions, point, turns
from chalicelib.dialects.families import Family, family_of, thinking
from chalicelib.dialects.names import Names
from chalicelib.refusal import Malformed

JSON_ONLY = "Answer with one JSON object and nothing else."

_OPEN_SCHEMA = {"type": "object", "properties": {}}
_TEXT_LIMIT = 300  # characters of what is said about a wrong member; it may quote one of any length

_Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


class _Function(msgspec.Struct):
    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None
    cache_control: CacheControl | None = None


class _Tool(msgspec.Struct):
    function: _Function
    cache_control: CacheControl | None = None


class _Named(msgspec.Struct):
    name: str


class _Choice(msgspec.Struct):
    function: _Named


class _Schema(msgspec.Struct):
    name: str
    schema: dict[str, Any]
    description: str | None = None


class _Format(msgspec.Struct):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: _Schema | None = None


class _Chat(msgspec.Struct):
    messages: list[Message]
    tools: list[_Tool] | None = None
    tool_choice: Literal["none", "auto", "required"] | _Choice | None = None
    functions: list[_Function] | None = None
    function_call: Literal["none", "auto"] | _Named | None = None
    parallel_tool_calls: bool | None = None
    response_format: _Format | None = None
    temperature: _Share | None = None
    top_p: _Share | None = None
    top_k: int | None = None
    stop: str | list[str] | None = None
    reasoning_effort: str | None = None
    thinking: dict[str, Any] | None = None


def request(call: Call, model: str, names: Names) -> dict[str, Any]:
    """The members of a Converse or ConverseStream request, but `modelId`.

    `names` learns what is called otherwise there.

    Raises: Malformed, for what is wrong and for what Converse, or the model, cannot do.
    """
    if call.choices != 1:
        raise Malformed("This model gives one answer to a request: leave out `n`, or ask again.", field="n")
    members.check(call.fields)
    chat = _modern(_read(call))
    family = family_of(model)
    system = instructions(chat.messages, family)
    asked: dict[str, Any] = {
        "messages": turns(chat.messages, names, family),
        "inferenceConfig": _inference(chat, call.ceiling_tokens),
    }
    wanted = chat.response_format
    if wanted is not None and wanted.type == "json_object":
        system.append({"text": JSON_ONLY})
    elif wanted is not None and wanted.json_schema is not None:
        asked["outputConfig"] = {"textFormat": _text_format(wanted.json_schema)}
    if system:
        asked["system"] = system
    if tools := _tools(chat, names, family):
        asked["toolConfig"] = tools
    if own := _models_own(chat, family, call.ceiling_tokens, asked):
        asked["additionalModelRequestFields"] = own
    return asked


def _read(call: Call) -> _Chat:
    try:
        return msgspec.json.decode(msgspec.json.encode(call.fields), type=_Chat)
    except msgspec.ValidationError as error:
        field = str(error).partition(" - at `$.")[2].removesuffix("`") or None
        raise Malformed(f"This model cannot take the request: {str(error)[:_TEXT_LIMIT]}", field=field) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Malformed("The request is not the JSON of a chat.") from None


def _modern(chat: _Chat) -> _Chat:
    """The chat with its functions as tools, as they are called since 2023."""
    if chat.functions is None and chat.function_call is None:
        return chat
    chosen = chat.function_call
    return msgspec.structs.replace(
        chat,
        tools=[*(chat.tools or ()), *map(_Tool, chat.functions or ())],
        tool_choice=chat.tool_choice or (_Choice(chosen) if isinstance(chosen, _Named) else chosen),
    )


def _inference(chat: _Chat, ceiling_tokens: int) -> dict[str, Any]:
    stops = [chat.stop] if isinstance(chat.stop, str) else chat.stop or []
    inference = {
        "maxTokens": ceiling_tokens,
        "temperature": chat.temperature,
        "topP": chat.top_p,
        "stopSequences": [stop for stop in stops if stop.strip()] or None,
    }
    return {name: value for name, value in inference.items() if value is not None}


def _tools(chat: _Chat, names: Names, family: Family) -> dict[str, Any] | None:
    offered = [tool.function.name for tool in chat.tools or ()]
    if not offered or chat.tool_choice == "none":
        # Converse has no "none", and demands the tools of all calls in the conversation.
        called = set(_called(chat.messages))
        spoken = [tool for tool in chat.tools or () if tool.function.name in called]
        missing = sorted(called.difference(offered))
        tools = [*spoken, *(_Tool(_Function(name)) for name in missing)]
        return {"tools": list(_specified(tools, names, family))} if tools else None
    config: dict[str, Any] = {"tools": list(_specified(chat.tools or (), names, family))}
    if chat.tool_choice == "required":
        config["toolChoice"] = {"any": {}}
    elif isinstance(chat.tool_choice, _Choice):
        config["toolChoice"] = {"tool": {"name": names.tool(chat.tool_choice.function.name)}}
    return config


def _called(messages: Iterable[Message]) -> Iterator[str]:
    for message in messages:
        if message.role == "assistant":
            yield from (call.function.name for call in message.tool_calls or ())
            if message.function_call is not None:
                yield message.function_call.name


def _specified(tools: Iterable[_Tool], names: Names, family: Family) -> Iterator[dict[str, Any]]:
    for tool in tools:
        function = tool.function
        spec: dict[str, Any] = {"name": names.tool(function.name), "inputSchema": {"json": _schema(function)}}
        if function.description and function.description.strip():
            spec["description"] = function.description
        if function.strict:
            spec["strict"] = True
        yield {"toolSpec": spec}
        if "tools" in family.cached:
            yield from point(tool.cache_control or function.cache_control, family)


def _schema(function: _Function) -> dict[str, Any]:
    """An object's, which is all that Converse takes and what a schema without a type means here."""
    if not function.parameters:
        return _OPEN_SCHEMA
    return {**function.parameters, "type": "object"}


def _models_own(chat: _Chat, family: Family, ceiling_tokens: int, asked: dict[str, Any]) -> dict[str, Any]:
    """Raises: Malformed, for what this model does not have."""
    own: dict[str, Any] = {}
    if chat.top_k is not None:
        own |= _at(family.top_k, chat.top_k)
    if chat.thinking is not None and chat.thinking.get("type") != "disabled":
        if family.thinks not in ("budget", "adaptive"):
            raise Malformed("This model has no thinking: leave it out.", field="thinking")
        own["thinking"] = chat.thinking
    elif chat.reasoning_effort is not None and (family.thinks == "effort" or not _amid_tools(asked["messages"])):
        own |= thinking(family, chat.reasoning_effort, ceiling_tokens)
    one_call = chat.parallel_tool_calls is False or chat.functions is not None  # which have no way to say two
    if "toolConfig" in asked and one_call and family.one_call:
        # Converse itself says the type of a choice that it was given, and the model refuses to be told it twice.
        untold = {} if "toolChoice" in asked["toolConfig"] else {"type": "auto"}
        own["tool_choice"] = {**untold, "disable_parallel_tool_use": True}
    elif "toolConfig" in asked and chat.parallel_tool_calls is False:
        raise Malformed(
            "This model cannot be told to call one tool at a time: leave parallel_tool_calls out (of a Message, "
            "disable_parallel_tool_use).",
            field="parallel_tool_calls",
        )
    return own


def _at(location: tuple[str, ...], value: int) -> dict[str, Any]:
    if not location:
        raise Malformed("This model has no top_k: leave it out.", field="top_k")
    held: Any = value
    for name in reversed(location):
        held = {name: held}
    return dict(held)


def _amid_tools(said: list[dict[str, Any]]) -> bool:
    """Whether an answer goes on with what its tools have said.

    Claude thinks then only if it is shown what it has thought before, signed, and a chat has no place for signatures.
    """
    return any("toolResult" in block for block in said[-1]["content"])


def _text_format(schema: _Schema) -> dict[str, Any]:
    """https://docs.aws.amazon.com/bedrock/latest/userguide/structured-output.html"""
    described = {"description": schema.description} if schema.description else {}
    definition = {"schema": msgspec.json.encode(schema.schema).decode(), "name": schema.name, **described}
    return {"type": "json_schema", "structure": {"jsonSchema": definition}}
