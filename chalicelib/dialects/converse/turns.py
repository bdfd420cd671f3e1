"""A chat's messages as Converse's turns, which are stricter than what other servers take. Pure.

The user begins, the sides alternate, no text is blank, each call of a tool has its one result in the very next turn,
before anything else that stands there. Whatever a chat has instead is put so, because its session must go on.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from chalicelib.dialects.converse.images import image
from chalicelib.dialects.converse.messages import CacheControl, Image, Message, Part, Refusal, Text, ToolCall
from chalicelib.dialects.families import Family
from chalicelib.dialects.names import Names
from chalicelib.refusal import Malformed

Block = dict[str, Any]
"""A content block of Converse; the bytes of an image are bytes."""

NEUTRAL = "Go on."
"""The user's turn where there has to be one and nothing is in it."""

NO_RESULT = "There is no result."
NOTHING = "-"
"""A tool's result that says nothing."""


def instructions(messages: Iterable[Message], family: Family) -> list[Block]:
    """Raises: Malformed."""
    found: list[Block] = []
    for message in messages:
        if message.role in ("system", "developer"):
            for block in _content(message, family, "system"):
                if "image" in block:
                    raise Malformed("A system message holds text only.", field="messages")
                found.append(block)
    return found


def turns(messages: Iterable[Message], names: Names, family: Family) -> list[Block]:
    """Raises: Malformed."""
    said = [message for message in messages if message.role not in ("system", "developer")]
    conversation = _Conversation(names, family)
    for message in said:
        if message.role == "assistant":
            conversation.answer(message)
        elif message.role in ("tool", "function"):
            conversation.result(message)
        else:
            conversation.ask(message)
    return conversation.whole(continues=bool(said) and said[-1].role == "assistant")


class _Turn:
    def __init__(self, role: str) -> None:
        self.role = role
        self.results: dict[str, list[Block]] = {}  # what tools have said, by Converse's id of the call
        self.content: list[Block] = []

    def blocks(self) -> list[Block]:
        results = [{"toolResult": {"toolUseId": call, "content": said}} for call, said in self.results.items()]
        return [*results, *self.content]


class _Conversation:
    def __init__(self, names: Names, family: Family) -> None:
        self._names = names
        self._family = family
        self._turns: list[_Turn] = []
        self._waiting: dict[str, list[str]] = {}  # calls of the last answer without a result, by the caller's id
        self._answered: dict[str, str] = {}  # and those with one

    def ask(self, message: Message) -> None:
        if content := list(_content(message, self._family, "messages")):
            self._side("user").content += content

    def answer(self, message: Message) -> None:
        content = list(_content(message, self._family, "messages"))
        calls = [*(message.tool_calls or ()), *_legacy(message)]
        if not content and not calls:
            return
        if not self._turns or self._turns[-1].role == "user":
            self._waiting, self._answered = {}, {}
        turn = self._side("assistant")
        turn.content += content
        for call in calls:
            ours = self._names.call(call.id or "")
            self._waiting.setdefault(call.id or "", []).append(ours)
            use = {"toolUseId": ours, "name": self._names.tool(call.function.name), "input": _arguments(call)}
            turn.content.append({"toolUse": use})

    def result(self, message: Message) -> None:
        called = (message.name or "") if message.role == "function" else message.tool_call_id or ""
        name = _legacy_id(called) if message.role == "function" else called
        content = list(_content(message, self._family, "messages"))
        points = [block for block in content if "cachePoint" in block]  # which a result itself cannot hold
        said = [block for block in content if "cachePoint" not in block] or [{"text": NOTHING}]
        turn = self._side("user")
        if self._waiting.get(name):
            ours = self._answered[name] = self._waiting[name].pop(0)
            turn.results[ours] = said
        elif name in self._answered:
            turn.results[self._answered[name]] += said
        else:
            turn.content += [{"text": f"A tool has answered ({called[:64] or 'of no name'}):"}, *said]
        turn.content += points

    def whole(self, *, continues: bool) -> list[Block]:
        """`continues`: the last answer was begun by the caller, and is to go on."""
        if not self._turns or self._turns[0].role == "assistant":
            self._turns.insert(0, _neutral())
        last = self._turns[-1]
        if last.role == "assistant" and (any(self._waiting.values()) or not continues):
            self._turns.append(_Turn("user") if any(self._waiting.values()) else _neutral())
        elif last.role == "assistant" and "text" in last.content[-1]:
            last.content[-1] = {"text": last.content[-1]["text"].rstrip()}  # Anthropic's refuse to go on after a space
        for before, after in zip(self._turns, self._turns[1:], strict=False):
            called = [block["toolUse"]["toolUseId"] for block in before.content if "toolUse" in block]
            after.results = {each: after.results.get(each, [{"text": NO_RESULT}]) for each in called}
        return [{"role": turn.role, "content": self._pointed(turn)} for turn in self._turns]

    def _side(self, role: str) -> _Turn:
        """The turn of one side that is being said: messages that follow each other are one."""
        if not self._turns or self._turns[-1].role != role:
            self._turns.append(_Turn(role))
        return self._turns[-1]

    def _pointed(self, turn: _Turn) -> list[Block]:
        """The turn's blocks; Nova takes no cache point beside a tool's result."""
        blocks = turn.blocks()
        if turn.results and "tools" not in self._family.cached:
            return [block for block in blocks if "cachePoint" not in block]
        return blocks


def point(control: CacheControl | None, family: Family) -> Iterator[Block]:
    """The cache point that a mark means."""
    if control is not None:
        long = {"ttl": "1h"} if control.ttl == "1h" and family.cached_long else {}
        yield {"cachePoint": {"type": "default", **long}}


def _neutral() -> _Turn:
    turn = _Turn("user")
    turn.content.append({"text": NEUTRAL})
    return turn


def _content(message: Message, family: Family, place: str) -> Iterator[Block]:
    """Without blank texts, which Converse refuses and OpenAI's clients do send beside tool calls."""
    said = [Text(message.content)] if isinstance(message.content, str) else message.content or []
    parts = [part for part in said if not isinstance(part, Text | Refusal) or _text(part).strip()]
    for part in parts:
        yield {"image": image(part.image_url.url)} if isinstance(part, Image) else {"text": _text(part)}
        last = part is parts[-1]
        if place in family.cached:
            yield from point(part.cache_control or (message.cache_control if last else None), family)


def _text(part: Part) -> str:
    return part.refusal if isinstance(part, Refusal) else part.text if isinstance(part, Text) else ""


def _legacy(message: Message) -> Iterator[ToolCall]:
    if message.function_call is not None:
        yield ToolCall(message.function_call, _legacy_id(message.function_call.name))


def _legacy_id(function: str) -> str:
    """Of a call that has none: its result names the function."""
    return f"function {function}"


def _arguments(call: ToolCall) -> dict[str, Any]:
    """What the model wrote; what is cut off or no object is named as Anthropic's own tools do it.

    https://docs.claude.com/en/docs/agents-and-tools/tool-use/fine-grained-tool-streaming
    """
    given = call.function.arguments
    if isinstance(given, dict):  # some servers write it so, and their callers send it back
        return given
    text = given if isinstance(given, str) else msgspec.json.encode(given).decode()
    if not text.strip():
        return {}
    try:
        read = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return {"INVALID_JSON": text}
    return {} if read is None else read if isinstance(read, dict) else {"INVALID_JSON": text}
