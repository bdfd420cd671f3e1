"""The tool calls of a chat's answer, put together from what servers send of them. Sans-IO.

OpenAI numbers them (`index`), names each once (`id`) and sends their arguments as fragments of a text. Servers there
are that number all of them 0 or none at all, repeat the id or leave it out, and send arguments as an object.
"""

from typing import Any

import msgspec


class Function(msgspec.Struct):
    name: str | None = None
    arguments: Any = None  # a text, or a piece of one; an object, where the server has decoded it


class Fragment(msgspec.Struct):
    """A call of a tool as it stands in an answer, or a piece of one as it stands in a chunk."""

    index: int | None = None
    id: str | None = None
    function: Function | None = None

    @property
    def name(self) -> str:
        return (self.function and self.function.name) or ""

    @property
    def arguments(self) -> str:
        given = self.function and self.function.arguments
        if given is None or isinstance(given, str):
            return given or ""
        return msgspec.json.encode(given).decode()


class ToolCall:
    """One call, growing."""

    def __init__(self, number: int) -> None:
        self.number = number  # in the order in which they began
        self.index: int | None = None
        self.id = ""
        self.name = ""
        self._arguments: list[str] = []
        self._complete: bool | None = None

    def gain(self, fragment: Fragment) -> None:
        self.index = fragment.index if self.index is None else self.index
        self.id = self.id or fragment.id or ""
        self.name = self.name or fragment.name
        if arguments := fragment.arguments:
            self._arguments.append(arguments)
            self._complete = None

    @property
    def arguments(self) -> str:
        self._arguments = ["".join(self._arguments)]
        return self._arguments[0]

    @property
    def complete(self) -> bool:
        """Whether nothing can follow: its arguments are a whole JSON text."""
        if self._complete is None:
            try:
                msgspec.json.decode(self.arguments)
                self._complete = True
            except (msgspec.DecodeError, RecursionError):
                self._complete = False
        return self._complete


class ToolCalls:
    """The calls of one answer. Not thread-safe."""

    def __init__(self) -> None:
        self._calls: list[ToolCall] = []

    def __len__(self) -> int:
        return len(self._calls)

    def gain(self, fragment: Fragment) -> ToolCall:
        """The call that the fragment begins or adds to, as it then is."""
        call = self._added_to(fragment)
        if call is None:
            call = ToolCall(len(self._calls))
            self._calls.append(call)
        call.gain(fragment)
        return call

    def _added_to(self, fragment: Fragment) -> ToolCall | None:
        """The call that the fragment continues; None where it begins one."""
        numbered = [call for call in self._calls if _same(call.index, fragment.index)]
        latest = numbered[-1] if numbered else None
        if fragment.id:
            named = next((call for call in numbered if call.id == fragment.id), None)
            # With a new id a call begins; but servers there are that make one up for each fragment.
            return named or (None if fragment.name else latest)
        if latest is None:
            return None if fragment.name or not self._calls else self._calls[-1]
        # Without ids a name begins a call, unless it is repeated with each fragment.
        another = fragment.name != latest.name or (fragment.arguments != "" and latest.complete)
        return None if fragment.name and latest.name and another else latest


def _same(one: int | None, other: int | None) -> bool:
    return one is None or other is None or one == other
