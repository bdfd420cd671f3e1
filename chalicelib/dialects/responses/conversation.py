"""The items of a Response's input as the messages of a chat. Pure.

https://platform.openai.com/docs/api-reference/responses/create#responses-create-input

A Response has an item for each thought, text, call and result. A chat has one message for all that a model says until
somebody else speaks, and the results of its calls stand right behind it. Templates of models want one system message,
at the beginning.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, Literal

import msgspec

from chalicelib.dialects.responses.members import member
from chalicelib.dialects.responses.tools import joined
from chalicelib.refusal import Malformed

_STORED = "refers to something that was not stored: send the item itself."


class _Text(msgspec.Struct, tag="input_text"):
    text: str


class _Answered(msgspec.Struct, tag="output_text"):
    text: str


class _Refused(msgspec.Struct, tag="refusal"):
    refusal: str

    @property
    def text(self) -> str:
        return self.refusal


class _Image(msgspec.Struct, tag="input_image"):
    image_url: str | None = None
    detail: str | None = None


Part = _Text | _Answered | _Refused | _Image


class Message(msgspec.Struct):
    role: Literal["user", "assistant", "system", "developer"]
    content: str | list[Part]


class _Call(msgspec.Struct):
    call_id: str
    name: str
    arguments: str
    namespace: str | None = None


class _CustomCall(msgspec.Struct):
    call_id: str
    name: str
    input: str
    namespace: str | None = None

    @property
    def arguments(self) -> str:
        """Those of the function that stands for the tool, see `tools`."""
        return msgspec.json.encode({"input": self.input}).decode()


class _Output(msgspec.Struct):
    call_id: str
    output: str | list[_Text | _Image]


class _Thought(msgspec.Struct):
    text: str = ""


class _Reasoning(msgspec.Struct):
    """`encrypted_content` is for OpenAI's own models only: nobody else can read it. A summary is no thought."""

    content: list[_Thought] | None = None


Item = Message | _Call | _CustomCall | _Output | _Reasoning

_ITEMS: dict[str, type[Item]] = {
    "message": Message,
    "function_call": _Call,
    "function_call_output": _Output,
    "custom_tool_call": _CustomCall,
    "custom_tool_call_output": _Output,
    "reasoning": _Reasoning,
}


class _Kind(msgspec.Struct):
    type: str | None = None


class Conversation:
    """One request's items, put together."""

    def __init__(self, instructions: str | None) -> None:
        self._system = [instructions] if instructions else []
        self._turns: list[dict[str, Any]] = []
        self._said: list[str] = []
        self._thoughts: list[str] = []
        self._calls: list[_Call | _CustomCall] = []
        self._outputs: dict[str, deque[_Output]] = {}  # that no call was met for so far

    def messages(self, items: Iterable[tuple[str, Item]]) -> list[dict[str, Any]]:
        """Of the chat. Each item comes with its place. Raises: Malformed."""
        items = list(items)
        for _, item in items:
            if isinstance(item, _Output):
                self._outputs.setdefault(item.call_id, deque()).append(item)
        for place, item in items:
            self._add(place, item)
        self._speak()
        if self._turns and self._turns[-1]["role"] == "assistant":
            # llama.cpp repeats it in its answer, others begin another one.
            raise Malformed(
                "This model does not continue an answer that was begun: let the last item be the user's, or a tool's.",
                field="input",
            )
        system = [{"role": "system", "content": "\n\n".join(self._system)}] if self._system else []
        return system + self._turns

    def _add(self, place: str, item: Item) -> None:
        if isinstance(item, _Reasoning):
            self._thoughts += [thought.text for thought in item.content or () if thought.text]
        elif isinstance(item, _Call | _CustomCall):
            self._calls.append(item)
        elif isinstance(item, _Output):
            self._speak()
            if any(waiting is item for waiting in self._outputs[item.call_id]):
                raise Malformed(
                    f"{place}: there is no call {item.call_id[:64]!r} before its output. Send the call's item as well.",
                    field=f"{place}.call_id",
                )
        elif item.role == "assistant":
            self._said.append(_joined(item.content, f"{place}.content"))
        elif item.role == "user":
            self._speak()
            self._turns.append({"role": "user", "content": _shown(item.content, f"{place}.content")})
        else:
            self._instruct(_joined(item.content, f"{place}.content"))

    def _instruct(self, text: str) -> None:
        self._speak()
        if self._turns:
            self._turns.append({"role": "system", "content": text})
        else:
            self._system.append(text)

    def _speak(self) -> None:
        """The model has ended: what it said is one message, and the results of its calls are the next."""
        if self._said or self._calls:
            turn: dict[str, Any] = {"role": "assistant", "content": "\n".join(self._said) or None}
            if self._calls:
                turn["tool_calls"] = [_called(call) for call in self._calls]
            else:
                turn["content"] = turn["content"] or ""
            if self._thoughts:
                turn["reasoning_content"] = "\n".join(self._thoughts)
            self._turns += [turn, *self._results()]
        self._said, self._thoughts, self._calls = [], [], []

    def _results(self) -> Iterator[dict[str, Any]]:
        """A chat's tools give text only: images follow as a message of the user's."""
        images: list[Part] = []
        for call in self._calls:
            if waiting := self._outputs.get(call.call_id):
                output = waiting.popleft().output
                yield {"role": "tool", "tool_call_id": call.call_id, "content": _text_of(output)}
                images += [] if isinstance(output, str) else [part for part in output if isinstance(part, _Image)]
        if images:
            yield {"role": "user", "content": _shown(images, "input")}


def read(raw: msgspec.Raw, place: str) -> Item:
    """An item of the input. Raises: Malformed."""
    kind = member({place: raw}, place, _Kind).type or "message"
    if kind == "item_reference":
        raise Malformed(f"{place}: an item_reference {_STORED}", field=place)
    if kind not in _ITEMS:
        raise Malformed(f"{place}: this model has no {kind[:64]!r}: leave it out.", field=f"{place}.type")
    item: Item = member({place: raw}, place, _ITEMS[kind])
    return item


def _called(call: _Call | _CustomCall) -> dict[str, Any]:
    function = {"name": joined(call.namespace, call.name), "arguments": call.arguments}
    return {"id": call.call_id, "type": "function", "function": function}


def _joined(content: str | list[Part], place: str) -> str:
    """Raises: Malformed."""
    if not isinstance(content, str) and any(isinstance(part, _Image) for part in content):
        raise Malformed(f"{place}: only the user, and the output of a tool, may show an image.", field=place)
    return _text_of(content)


def _text_of(content: str | list[Any]) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(part.text for part in content if not isinstance(part, _Image))


def _shown(content: str | list[Part], place: str) -> str | list[dict[str, Any]]:
    """A plain text where that is all there is: many a model's template takes nothing else. Raises: Malformed."""
    if isinstance(content, str) or not any(isinstance(part, _Image) for part in content):
        return _text_of(content)
    return [
        {"type": "image_url", "image_url": _address(part, place)}
        if isinstance(part, _Image)
        else {"type": "text", "text": part.text}
        for part in content
    ]


def _address(image: _Image, place: str) -> dict[str, str]:
    if not image.image_url:
        raise Malformed(f"{place}: there are no files here: send an image as `image_url`, a data URL.", field=place)
    return {"url": image.image_url} | ({"detail": image.detail} if image.detail else {})
