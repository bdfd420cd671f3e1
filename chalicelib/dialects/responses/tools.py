"""The tools of a Response as functions of a chat, and their names on the way back. Pure.

A chat knows functions only. A custom tool, which takes any text, is asked as a function of one text; the tools of a
namespace are functions of joined names.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import msgspec

from chalicelib.dialects.responses.members import member
from chalicelib.refusal import Malformed

_NULL = msgspec.Raw(b"null")
_FREE_INPUT = msgspec.Raw(
    b'{"type":"object","properties":{"input":{"type":"string"}},"required":["input"],"additionalProperties":false}'
)


class Tool(msgspec.Struct, frozen=True):
    """What a Response calls a function of the chat."""

    name: str
    namespace: str | None = None
    custom: bool = False


class _Kind(msgspec.Struct):
    type: str


class _Function(msgspec.Struct):
    name: str
    description: str | None = None
    parameters: msgspec.Raw = _NULL
    strict: bool | None = None


class _Custom(msgspec.Struct):
    name: str
    description: str | None = None
    format: _Kind | None = None


class _Namespace(msgspec.Struct):
    name: str
    tools: list[msgspec.Raw]
    description: str = ""


class _Allowed(msgspec.Struct):
    name: str = ""


class _Choice(msgspec.Struct):
    type: str
    name: str = ""
    mode: Literal["auto", "required"] = "auto"
    tools: list[_Allowed] = []


def joined(namespace: str | None, name: str) -> str:
    """What the chat calls a function of a namespace."""
    return f"{namespace}__{name}" if namespace else name


def names(fields: Mapping[str, msgspec.Raw]) -> dict[str, Tool]:
    """Each tool, by what the chat calls it. Raises: Malformed."""
    return {function.name: tool for tool, function in _functions(fields)}


def chosen(fields: Mapping[str, msgspec.Raw]) -> Iterator[tuple[str, Any]]:
    """The members of a chat that say which functions there are, and how to choose. Raises: Malformed."""
    tools = list(_functions(fields))
    choice = member(fields, "tool_choice", Literal["none", "auto", "required"] | _Choice | None)
    if isinstance(choice, _Choice) and choice.type == "allowed_tools":
        allowed = {each.name for each in choice.tools}
        tools = [(tool, function) for tool, function in tools if allowed & {tool.name, tool.namespace}]
        choice = choice.mode
    if tools:
        yield "tools", [{"type": "function", "function": _given(function)} for _, function in tools]
        if choice is not None:
            yield "tool_choice", _choice(choice)
        parallel = member(fields, "parallel_tool_calls", bool | None)
        if parallel is not None:
            yield "parallel_tool_calls", parallel
    elif choice not in (None, "none", "auto"):
        raise Malformed("There is no tool to choose: name one in `tools`.", field="tool_choice")


def _functions(fields: Mapping[str, msgspec.Raw]) -> list[tuple[Tool, _Function]]:
    tools = member(fields, "tools", list[msgspec.Raw] | None) or []
    found = list(_read(tools, "tools", _Namespace("", [])))
    called = [function.name for _, function in found]
    for tool, function in found:
        if tool.namespace and called.count(function.name) > 1:
            raise Malformed(f"Two tools would be called {function.name[:129]!r}: rename one.", field="tools")
    return found


def _read(tools: list[msgspec.Raw], where: str, space: _Namespace) -> Iterator[tuple[Tool, _Function]]:
    for number, raw in enumerate(tools):
        place = f"{where}[{number}]"
        kind = member({place: raw}, place, _Kind).type
        if kind == "function":
            function = member({place: raw}, place, _Function)
            yield _within(space, Tool(function.name), function)
        elif kind == "custom":
            custom = member({place: raw}, place, _Custom)
            if custom.format is not None and custom.format.type != "text":
                raise Malformed(
                    f"This model cannot be held to a {custom.format.type[:64]}: leave `format` out, or make "
                    f"{custom.name[:64]!r} a function.",
                    field=f"{place}.format",
                )
            function = _Function(custom.name, custom.description, _FREE_INPUT)
            yield _within(space, Tool(custom.name, custom=True), function)
        elif kind == "namespace" and not space.name:
            inner = member({place: raw}, place, _Namespace)
            yield from _read(inner.tools, f"{place}.tools", inner)
        else:
            raise Malformed(f"This model has no tool {kind[:64]!r}: leave it out of `tools`.", field=f"{place}.type")


def _within(space: _Namespace, tool: Tool, function: _Function) -> tuple[Tool, _Function]:
    if not space.name:
        return tool, function
    described = "\n\n".join(filter(None, (space.description, function.description)))
    return (
        msgspec.structs.replace(tool, namespace=space.name),
        msgspec.structs.replace(function, name=joined(space.name, function.name), description=described or None),
    )


def _choice(choice: str | _Choice) -> str | dict[str, Any]:
    if isinstance(choice, str):
        return choice
    if choice.type not in ("function", "custom"):
        raise Malformed(f"This model has no tool {choice.type[:64]!r} to choose.", field="tool_choice")
    return {"type": "function", "function": {"name": choice.name}}


def _given(function: _Function) -> dict[str, Any]:
    """The members that are there, which is not the same as null to every server."""
    members = {name: getattr(function, name) for name in function.__struct_fields__}
    return {name: value for name, value in members.items() if value is not None and value != _NULL}
