"""A server that does not end: an answer that is held until its end is bounded, whoever is answered."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from chalicelib.call import Call, Delta, Event, Operation, Started
from chalicelib.dialects import failures
from chalicelib.dialects.anthropic.answers import Answered as Message
from chalicelib.dialects.responses.answers import Answered as Response
from chalicelib.refusal import EngineFailed
from tests.engines.responses import asked

MEGABYTE = "x" * 1024 * 1024


class Endless:
    """A chat that says the same again and again; of which no more was asked for than was met."""

    def __init__(self, delta: dict[str, Any]) -> None:
        self._chunk = Delta(msgspec.json.encode({"choices": [{"delta": delta}]}), 1)
        self.told = 0

    def __iter__(self) -> Iterator[Event]:
        yield Started("i")
        while True:
            self.told += 1
            yield self._chunk

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    "delta",
    [
        {"content": MEGABYTE},
        {"reasoning_content": MEGABYTE},
        {"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": MEGABYTE}}]},
    ],
    ids=lambda delta: next(iter(delta)),
)
@pytest.mark.parametrize(("answered", "operation"), [(Message, "messages"), (Response, "responses")])
def test_what_is_held_until_its_end_is_bounded(answered: Any, operation: Operation, delta: dict[str, Any]) -> None:
    chat = Endless(delta)
    call: Call = asked(operation, stream=True)
    with pytest.raises(EngineFailed, match=failures.TOO_LONG):
        for _ in answered(chat, call):
            pass
    assert chat.told == failures.GROWN_LIMIT_BYTES // len(MEGABYTE)
