"""One answer: what was laid down, what must be said, and where it stops."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from emulators.bedrock.answer import Laid, answer
from emulators.bedrock.catalogue import MODELS
from emulators.bedrock.conversation import Conversation, Ended, Event, Text, Tool, ToolUse, Turn
from emulators.bedrock.guardrail import Guardrail
from emulators.bedrock.instance import instance

HAIKU = MODELS["anthropic.claude-3-haiku-20240307-v1:0"]
WEATHER = Tool("weather", {"type": "object", "properties": {"city": {"type": "string"}, "days": {"enum": [3, 5]}}})


class Reader:
    """A model that says these pieces, whatever it is asked."""

    def __init__(self, *pieces: str) -> None:
        self._pieces = pieces

    async def count(self, asked: Conversation) -> int:
        return len(asked.turns)

    async def say(self, asked: Conversation) -> AsyncIterator[Text | Ended]:
        for piece in self._pieces:
            yield Text(piece)
        yield Ended("end_turn", len(self._pieces))


def ask(
    model: Reader, laid: Sequence[Laid] | None = None, guardrail: Guardrail | None = None, **members: Any
) -> list[Event]:
    asked = Conversation(turns=(Turn("user", "say it"),), max_tokens=100, **members)

    async def gather() -> list[Event]:
        return [event async for event in answer(HAIKU, asked, model, laid, guardrail, lambda: UUID(int=7))]

    return asyncio.run(gather())


def text(events: Sequence[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, Text))


def ended(events: Sequence[Event]) -> Ended:
    last = events[-1]
    assert isinstance(last, Ended)
    return last


@given(
    st.lists(st.text("ab#", min_size=1, max_size=4), max_size=8),
    st.lists(st.text("ab#", min_size=1, max_size=3), max_size=3),
)
def test_an_answer_ends_at_the_first_stop_sequence_however_it_was_cut_into_pieces(
    pieces: list[str], stop: list[str]
) -> None:
    whole = "".join(pieces)
    # What comes first is what is complete first, as it is for whoever reads a stream.
    ends = [whole.find(each) + len(each) for each in stop if each in whole]
    events = ask(Reader(*pieces), stop=tuple(stop))

    if not ends:
        assert text(events) == whole
        assert ended(events).reason == "end_turn"
        return
    assert ended(events).reason == "stop_sequence"
    assert ended(events).stop_sequence in stop
    assert whole.startswith(text(events) + str(ended(events).stop_sequence))
    assert not any(each in text(events) for each in stop)


def test_what_was_laid_down_is_said_instead_of_what_the_model_would_say() -> None:
    laid = [Laid(text="Let me look."), Laid(tool="weather", input={"city": "Kiel"})]
    events = ask(Reader("nothing"), laid, tools=(WEATHER,))

    assert text(events) == "Let me look."
    assert events[-2:] == [ToolUse(UUID(int=7).hex, "weather", {"city": "Kiel"}), Ended("tool_use", 5)]


def test_a_tool_that_must_be_called_is_called_with_an_instance_of_its_schema() -> None:
    events = ask(Reader("nothing"), forced=WEATHER, tools=(WEATHER,))

    assert events[1] == ToolUse(UUID(int=7).hex, "weather", {"city": "", "days": 3})
    assert ended(events).reason == "tool_use"


def test_an_answer_that_must_be_of_a_schema_is() -> None:
    schema = {"type": "object", "properties": {"ok": {"type": "boolean"}, "tags": {"type": ["array", "null"]}}}

    assert text(ask(Reader("nothing"), json_schema=schema)) == '{"ok":false,"tags":[]}'
    assert instance({"const": 4}) == 4


def test_a_guardrail_lets_nothing_out_before_it_has_seen_everything() -> None:
    guardrail = Guardrail(id="g1", words=("secret",), blocked_output="No.")
    events = ask(Reader("the se", "cret is"), guardrail=guardrail)

    assert text(events) == "No."
    assert ended(events).reason == "guardrail_intervened"
    assert text(ask(Reader("fine"), guardrail=guardrail)) == "fine"


def test_a_guardrail_keeps_what_it_blocks_from_the_model() -> None:
    guardrail = Guardrail(id="g1", words=("SAY",), blocked_input="Not that.")
    events = ask(Reader("said"), guardrail=guardrail)

    assert text(events) == "Not that."
    assert ended(events).output_tokens == 0
