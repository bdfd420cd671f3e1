"""The end of a conversation that is too long for whoever answers it. Pure."""

import msgspec

from emulators.bedrock.conversation import Conversation, Turn


def length(asked: Conversation) -> int:
    """In characters."""
    return len(asked.system) + sum(len(turn.text) for turn in asked.turns)


def ending(asked: Conversation, most: int) -> Conversation:
    """Its last `most` characters, one at least: the last turns, the first of them cut at its start."""
    kept: list[Turn] = []
    for turn in reversed(asked.turns):
        kept.insert(0, msgspec.structs.replace(turn, text=turn.text[-most:]))
        most -= len(turn.text)
        if most <= 0:
            return msgspec.structs.replace(asked, turns=tuple(kept), system="")
    return msgspec.structs.replace(asked, system=asked.system[-most:])
