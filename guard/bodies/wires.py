"""Where the text of an answer's chunks is, and where it ends. Chunks are changed in place. Sans-IO.

What is held back of a text is sent in one more chunk, before the one that ends it. What ends an answer that a rule
refuses is told in its dialect's own words.
"""

from collections.abc import Callable, Iterator
from typing import Any, Protocol

from guard.bodies import Judge
from guard.bodies.growing import Growing, Piece
from guard.bodies.texts import below, joined

Chunk = dict[str, Any]


class Wire(Protocol):
    """The chunks of one answer."""

    def read(self, said: Chunk) -> Iterator[Chunk]:
        """What may be sent, now that this chunk has come. Raises Stop, NotAllowed."""

    def piece(self, piece: Piece) -> Chunk:
        """A chunk that holds this piece of a text and nothing else."""

    def stopped(self, piece: Piece) -> Iterator[Chunk]:
        """The end of an answer that a rule refuses: `piece` is the last of it."""


class Chats:
    """OpenAI's chats and completions: `choices`, each of them with a `delta`, or a `text`."""

    def __init__(self, growing: Growing) -> None:
        self._growing = growing
        self._frame: Chunk = {}

    def read(self, said: Chunk) -> Iterator[Chunk]:
        """See Wire."""
        self._growing.judge.leave_out_pieces(said)
        self._growing.judge_others(said, "choices")
        choices = said.get("choices") or ()
        self._frame = {name: value for name, value in said.items() if name not in ("choices", "usage")}
        for choice in choices:
            place = (choice.get("index") or 0,)
            self._growing.judge.leave_out_pieces(choice)
            growing = [name for name, kind in (("delta", dict), ("text", str)) if isinstance(choice.get(name), kind)]
            self._growing.judge_others(choice, *growing)
            grown = [choice[name] if name == "delta" else {name: choice[name]} for name in growing]
            for node in grown:
                self._growing.grow(node, place)
            if choice.get("finish_reason"):
                yield from _rests(self, self._growing.finish(place), *grown)
            if "text" in growing:
                choice["text"] = grown[-1]["text"]
        yield said

    def piece(self, piece: Piece) -> Chunk:
        """See Wire."""
        return self._chunk(piece, None)

    def stopped(self, piece: Piece) -> Iterator[Chunk]:
        """See Wire."""
        yield self._chunk(piece, "content_filter")

    def _chunk(self, piece: Piece, finish_reason: str | None) -> Chunk:
        gained = below(piece.path, piece.text) if piece.path else {}
        choice = gained if piece.path == ("text",) else {"delta": gained}
        return {**self._frame, "choices": [{"index": piece.place[0], **choice, "finish_reason": finish_reason}]}


_DELTAS = {"text": "text_delta", "thinking": "thinking_delta", "partial_json": "input_json_delta"}
"""Of Anthropic's Messages: the type of what a block gains, by the member that holds it."""


class Messages:
    """Anthropic's: blocks, which begin, gain and stop."""

    def __init__(self, growing: Growing) -> None:
        self._growing = growing
        self._open: set[int] = set()

    def read(self, said: Chunk) -> Iterator[Chunk]:
        """See Wire."""
        kind, block = said.get("type"), said.get("index") or 0
        delta = said.get("delta")
        if kind == "content_block_delta" and isinstance(delta, dict) and "citation" not in delta:
            self._growing.deltas += 1
            self._growing.grow(delta, (block,))
            yield said
            return
        if kind == "content_block_start":
            self._open.add(block)
            self._begin(said["content_block"], block)
        elif kind == "content_block_stop":
            yield from map(self.piece, self._growing.finish((block,)))
            self._open.discard(block)
        self._growing.judge_others(said, "content_block" if kind == "content_block_start" else "")
        yield said

    def piece(self, piece: Piece) -> Chunk:
        """See Wire."""
        gained = below(piece.path, piece.text)
        delta = {"type": _DELTAS.get(str(piece.path[0]), "text_delta"), **gained}
        return {"type": "content_block_delta", "index": piece.place[0], "delta": delta}

    def stopped(self, piece: Piece) -> Iterator[Chunk]:
        """See Wire."""
        if piece.text:
            yield self.piece(piece)
        for block in sorted(self._open):
            yield {"type": "content_block_stop", "index": block}
        delta = {"stop_reason": "refusal", "stop_sequence": None}
        yield {"type": "message_delta", "delta": delta, "usage": {"output_tokens": self._growing.deltas}}

    def _begin(self, block: Chunk, index: int) -> None:
        """What a block begins with grows already; what it holds besides is whole."""
        for name in _DELTAS.keys() & block.keys():
            grown = {name: block[name]}
            self._growing.grow(grown, (index,))
            block.update(grown)
        self._growing.judge_others(block, "text")


class Converse:
    """Bedrock's: each chunk is an object of one member, its type; blocks start, gain and stop."""

    def __init__(self, growing: Growing) -> None:
        self._growing = growing
        self._open: set[int] = set()

    def read(self, said: Chunk) -> Iterator[Chunk]:
        """See Wire."""
        for kind, members in said.items():
            block = members.get("contentBlockIndex") or 0
            if kind == "contentBlockDelta" and isinstance(members.get("delta"), dict):
                self._open.add(block)
                if "citation" in members["delta"]:  # whole, as it comes
                    self._growing.judge_others(members)
                else:
                    self._growing.grow(members["delta"], (block,))
                continue
            if kind == "contentBlockStop":
                yield from map(self.piece, self._growing.finish((block,)))
                self._open.discard(block)
            self._growing.judge_others(members)
        yield said

    def piece(self, piece: Piece) -> Chunk:
        """See Wire."""
        delta = below(piece.path, piece.text)
        return {"contentBlockDelta": {"contentBlockIndex": piece.place[0], "delta": delta}}

    def stopped(self, piece: Piece) -> Iterator[Chunk]:
        """See Wire."""
        if piece.text:
            yield self.piece(piece)
        for block in sorted(self._open):
            yield {"contentBlockStop": {"contentBlockIndex": block}}
        yield {"messageStop": {"stopReason": "content_filtered"}}


_REASONS = ("stop_reason", "finish_reason", "completionReason")
"""Members by which models say that they have ended."""


class Plain:
    """Of a model that says its text in members of its own: each string that comes again continues one."""

    def __init__(self, growing: Growing) -> None:
        self._growing = growing

    def read(self, said: Chunk) -> Iterator[Chunk]:
        """See Wire."""
        _leave_out_pieces(said, self._growing.judge)
        self._growing.grow(said, ())
        if _ended(said):
            yield from _rests(self, self._growing.finish(()), said)
        yield said

    def piece(self, piece: Piece) -> Chunk:
        """See Wire."""
        gained: Chunk = below(piece.path, piece.text)
        return gained

    def stopped(self, piece: Piece) -> Iterator[Chunk]:
        """See Wire."""
        if piece.text:
            yield self.piece(piece)


def _ended(said: Chunk) -> bool:
    """Whether a model says so, by itself or in a list of what it says (Mistral's `outputs`)."""
    listed = [each for value in said.values() if isinstance(value, list) for each in value if isinstance(each, dict)]
    return any(each.get(reason) for each in (said, *listed) for reason in _REASONS)


def _leave_out_pieces(node: Any, judge: Judge) -> None:
    """Wherever a model's own body has them."""
    if isinstance(node, dict):
        judge.leave_out_pieces(node)
    for each in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        _leave_out_pieces(each, judge)


def _rests(wire: Wire, pieces: Iterator[Piece], *last: Chunk) -> Iterator[Chunk]:
    """What was held back: it joins the piece of its text that comes last, or else comes before it."""
    for piece in pieces:
        if not any(joined(node, piece.path, piece.text) for node in last):
            yield wire.piece(piece)


class Bodies:
    """What Bedrock's models answer in bodies of their own: in one of these ways, which the first chunk shows."""

    def __init__(self, growing: Growing) -> None:
        self._growing = growing
        self._wire: Wire | None = None

    def read(self, said: Chunk) -> Iterator[Chunk]:
        """See Wire."""
        return self._wire_of(said).read(said)

    def piece(self, piece: Piece) -> Chunk:
        """See Wire."""
        return self._wire_of({}).piece(piece)

    def stopped(self, piece: Piece) -> Iterator[Chunk]:
        """See Wire."""
        return self._wire_of({}).stopped(piece)

    def _wire_of(self, said: Chunk) -> Wire:
        if self._wire is None:
            self._wire = _way(said)(self._growing)
        return self._wire


def _way(first: Chunk) -> type[Chats] | type[Messages] | type[Converse] | type[Plain]:
    if first.get("type") == "message_start":
        return Messages
    if "choices" in first:
        return Chats
    return Converse if "messageStart" in first else Plain


WIRES: dict[str, Callable[[Growing], Wire]] = {
    "chat.completions": Chats,
    "completions": Chats,
    "messages": Messages,
    "converse": Converse,
    "invoke": Bodies,
}
"""By the operation whose answers are told in such chunks. A Response is always told from a chat."""
