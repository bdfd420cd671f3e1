"""What a chat gains, as items of a Response's output and the events that tell of them. Sans-IO.

https://platform.openai.com/docs/api-reference/responses-streaming

Thoughts and texts end where something else begins. Calls of tools end with the answer: servers tell of several in
turns, and a Response may have several items open.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Literal, Protocol

import msgspec

from chalicelib.dialects.responses.tools import Tool
from chalicelib.dialects.tool_calls import Fragment, ToolCall, ToolCalls

Happening = dict[str, Any]
"""An event without its `sequence_number`."""

Status = Literal["in_progress", "completed", "incomplete"]
Kind = Literal["reasoning_text", "output_text", "refusal"]


class Said(msgspec.Struct):
    """What one choice says, or gained. Servers disagree on the name of what a model thinks aloud."""

    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: list[Fragment] | None = None


class Output:
    """The items of one answer, while it grows."""

    def __init__(self, request_id: str, tools: Mapping[str, Tool]) -> None:
        """`tools`: by what the chat calls them."""
        self._request_id = request_id
        self._tools = tools
        self._items: list[_Item] = []
        self._prose: _Prose | None = None  # the one that is open
        self._said = ToolCalls()
        self._calls: list[_Call] = []  # all of them, told or not
        self._ids: set[str] = set()  # under which their outputs will come back

    def gain(self, said: Said) -> Iterator[Happening]:
        """The events of what the answer has gained."""
        if thought := said.reasoning_content or said.reasoning:
            yield from self._say("reasoning_text", thought)
        if said.content:
            yield from self._say("output_text", said.content)
        if said.refusal:
            yield from self._say("refusal", said.refusal)
        for piece in said.tool_calls or ():
            yield from self._call(piece)

    def end(self, status: Status) -> Iterator[Happening]:
        """`status`: of the answer, and so of the item that it ended in."""
        yield from self._close(status if not self._calls else "completed")
        for call in self._calls:
            if not call.told:
                yield from self._begun(call)
            yield from call.end(status if call is self._calls[-1] else "completed")

    def items(self) -> list[dict[str, Any]]:
        """Those that have ended."""
        return [item.ended for item in self._items if item.ended]

    def _say(self, kind: Kind, text: str) -> Iterator[Happening]:
        if self._prose is None or not self._prose.takes(kind):
            yield from self._close("completed")
            self._prose = _Prose(kind, self._request_id, len(self._items))
            self._items.append(self._prose)
            yield from self._prose.begin()
        yield from self._prose.gain(kind, text)

    def _close(self, status: Status) -> Iterator[Happening]:
        if self._prose is not None:
            yield from self._prose.end(status)
            self._prose = None

    def _call(self, fragment: Fragment) -> Iterator[Happening]:
        said = self._said.gain(fragment)
        if said.number == len(self._calls):
            self._calls.append(_Call(said))
        call = self._calls[said.number]
        if not call.told and not said.name:
            call.pieces.append(fragment.arguments)  # a call is told of by its name
            return
        if not call.told:
            yield from self._close("completed")
            yield from self._begun(call)
        yield from call.gain(fragment.arguments)

    def _begun(self, call: "_Call") -> Iterator[Happening]:
        earlier, call.pieces = call.pieces, []
        said = call.said
        # It comes back with the tool's output: where the server gave none, or one twice, one of ours does as well.
        own = not said.id or said.id in self._ids
        call_id = f"call_{self._request_id}_{said.number}" if own else said.id
        self._ids.add(call_id)
        tool = self._tools.get(said.name, Tool(said.name))
        yield from call.begin(self._request_id, len(self._items), call_id, tool)
        self._items.append(call)
        yield from call.gain("".join(earlier))


class _Item(Protocol):
    ended: dict[str, Any]  # empty until then

    def end(self, status: Status) -> Iterator[Happening]: ...


class _Prose:
    """A thought, or a message: parts of text, one after the other."""

    def __init__(self, kind: Kind, request_id: str, index: int) -> None:
        self.ended: dict[str, Any] = {}
        self._thinks = kind == "reasoning_text"
        self._index = index
        self._id = f"{'rs' if self._thinks else 'msg'}_{request_id}_{index}"
        self._parts: list[tuple[Kind, list[str]]] = []

    def takes(self, kind: Kind) -> bool:
        return (kind == "reasoning_text") == self._thinks

    def begin(self) -> Iterator[Happening]:
        yield {"type": "response.output_item.added", "output_index": self._index, "item": self._item("in_progress")}

    def gain(self, kind: Kind, text: str) -> Iterator[Happening]:
        if not self._parts or self._parts[-1][0] != kind:
            yield from self._part_ended()
            self._parts.append((kind, []))
            yield {"type": "response.content_part.added", **self._place(), "part": _part(kind, "")}
        self._parts[-1][1].append(text)
        delta = {"type": f"response.{kind}.delta", **self._place(), "delta": text}
        yield delta | {"logprobs": []} if kind == "output_text" else delta

    def end(self, status: Status) -> Iterator[Happening]:
        yield from self._part_ended()
        self.ended = self._item(status)
        yield {"type": "response.output_item.done", "output_index": self._index, "item": self.ended}

    def _part_ended(self) -> Iterator[Happening]:
        if not self._parts:
            return
        kind, pieces = self._parts[-1]
        text = "".join(pieces)
        done = {"type": f"response.{kind}.done", **self._place(), "refusal" if kind == "refusal" else "text": text}
        yield done | {"logprobs": []} if kind == "output_text" else done
        yield {"type": "response.content_part.done", **self._place(), "part": _part(kind, text)}

    def _place(self) -> dict[str, Any]:
        return {"item_id": self._id, "output_index": self._index, "content_index": len(self._parts) - 1}

    def _item(self, status: Status) -> dict[str, Any]:
        content = [_part(kind, "".join(pieces)) for kind, pieces in self._parts]
        if self._thinks:
            return {"id": self._id, "type": "reasoning", "summary": [], "content": content, "status": status}
        return {"id": self._id, "type": "message", "role": "assistant", "content": content, "status": status}


class _Call:
    """A call of a function, or of a tool that takes any text: a chat knows it as a function of one `input`."""

    def __init__(self, said: ToolCall) -> None:
        self.said = said
        self.pieces: list[str] = []  # of the arguments
        self.told = False
        self.ended: dict[str, Any] = {}
        self._call_id = ""
        self._id = ""
        self._index = 0
        self._tool = Tool("")

    def begin(self, request_id: str, index: int, call_id: str, tool: Tool) -> Iterator[Happening]:
        self.told = True
        self._call_id = call_id
        self._tool = tool
        self._index = index
        self._id = f"{'ctc' if tool.custom else 'fc'}_{request_id}_{index}"
        yield {"type": "response.output_item.added", "output_index": index, "item": self._item("in_progress", "")}

    def gain(self, text: str) -> Iterator[Happening]:
        if not text:
            return
        self.pieces.append(text)
        if not self._tool.custom:
            yield {"type": "response.function_call_arguments.delta", **self._place(), "delta": text}

    def end(self, status: Status) -> Iterator[Happening]:
        arguments = "".join(self.pieces)
        if self._tool.custom:
            arguments = _free_text(arguments)
            yield {"type": "response.custom_tool_call_input.delta", **self._place(), "delta": arguments}
            yield {"type": "response.custom_tool_call_input.done", **self._place(), "input": arguments}
        else:
            done = {"name": self._tool.name, "arguments": arguments}
            yield {"type": "response.function_call_arguments.done", **self._place(), **done}
        self.ended = self._item(status, arguments)
        yield {"type": "response.output_item.done", "output_index": self._index, "item": self.ended}

    def _place(self) -> dict[str, Any]:
        return {"item_id": self._id, "output_index": self._index}

    def _item(self, status: Status, arguments: str) -> dict[str, Any]:
        named = {"call_id": self._call_id, "name": self._tool.name, "status": status}
        if self._tool.namespace:
            named["namespace"] = self._tool.namespace
        if self._tool.custom:
            return {"id": self._id, "type": "custom_tool_call", **named, "input": arguments}
        return {"id": self._id, "type": "function_call", **named, "arguments": arguments}


class _FreeInput(msgspec.Struct):
    input: str


def _free_text(arguments: str) -> str:
    """What a tool that takes any text is given; as the model wrote it, where it did not write the `input` of one."""
    try:
        return msgspec.json.decode(arguments, type=_FreeInput).input
    except (msgspec.DecodeError, RecursionError):
        return arguments


def _part(kind: Kind, text: str) -> dict[str, Any]:
    if kind == "output_text":
        return {"type": kind, "text": text, "annotations": [], "logprobs": []}
    return {"type": kind, "refusal" if kind == "refusal" else "text": text}
