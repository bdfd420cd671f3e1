"""What a caller calls tools and calls of them, and what Bedrock is told instead where it takes no such name. Pure.

An alias is made of the caller's name alone: the next request of the session, from whichever sandbox, has the same one,
and a prompt that was cached stays so. What Bedrock answers with an alias is told to the caller by its own name.
"""

import hashlib
import re

_TAKEN = re.compile(r"[a-zA-Z0-9_-]{1,64}")
"""Converse itself takes `.` and `:` in ids; Anthropic's models behind it do not."""

_ELSE = re.compile(r"[^a-zA-Z0-9_-]")
_READABLE = 39  # characters of the caller's name that the model still sees
_SHOWN = 100  # characters of a caller's name in an error


class Names:
    """Of one request."""

    def __init__(self) -> None:
        self._callers: dict[str, str] = {}  # by alias
        self._calls: dict[str, int] = {}  # how often the caller has given a call this id

    def tool(self, name: str) -> str:
        """The name of a tool."""
        return name if _TAKEN.fullmatch(name) else self._alias(name, name)

    def call(self, name: str) -> str:
        """The id of one more call: some servers count anew in each answer, and no two calls may share one."""
        before = self._calls.get(name, 0)
        self._calls[name] = before + 1
        if before:
            return self._alias(name, f"{name}\0{before}")
        return self.tool(name)

    def callers(self, name: str) -> str:
        """What the caller calls it."""
        return self._callers.get(name, name)

    def in_callers(self, text: str) -> str:
        """The text, speaking of what the caller knows."""
        for alias, name in self._callers.items():
            text = text.replace(alias, name[:_SHOWN])
        return text

    def _alias(self, name: str, distinct: str) -> str:
        digest = hashlib.sha256(distinct.encode("utf-8", "surrogatepass")).hexdigest()[:24]
        alias = f"{_ELSE.sub('_', name)[:_READABLE]}_{digest}"
        self._callers[alias] = name
        return alias
