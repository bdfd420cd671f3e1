"""A model for tests that need none: it repeats the last thing that was said to it, one token a word."""

import re
from collections.abc import AsyncIterator

from emulators.bedrock.conversation import Conversation, Ended, Text

_WORD = re.compile(r"\s*\S+")
_SILENCE = "I have nothing to repeat."


class Echo:
    """A `Model`."""

    async def count(self, asked: Conversation) -> int:
        return sum(len(text.split()) for text in (asked.system, *(turn.text for turn in asked.turns)))

    async def say(self, asked: Conversation) -> AsyncIterator[Text | Ended]:
        words = _WORD.findall(asked.turns[-1].text or _SILENCE)
        for word in words[: asked.max_tokens]:
            yield Text(word)
        if len(words) > asked.max_tokens:
            yield Ended("max_tokens", asked.max_tokens)
        else:
            yield Ended("end_turn", len(words))
