"""An answer that comes in chunks, judged on its way.

Each chunk goes on at once, with as much of its text as may be sent: what is held back is never longer than the widest
match of a rule.
"""

from collections import Counter
from collections.abc import Iterable, Iterator

import msgspec

from guard.bodies import COST, TOO_COSTLY, Judge, NotAllowed, wholes
from guard.bodies.again import Again
from guard.bodies.growing import Growing, Grown, Piece, Stop
from guard.bodies.wires import WIRES
from guard.scanner import TooCostly

_NOTHING = Piece((0,), (), "")


class Chunks:
    """Of one answer. A refusal's `ending` is what may still be sent then. Not thread-safe."""

    def __init__(self, operation: str, judge: Judge) -> None:
        """`operation`: one of WIRES."""
        self._judge = judge
        self._growing = Growing(judge)
        self._wire = WIRES[operation](self._growing)
        self._again = Again()
        self._last = Grown((), (), "")  # in the chunk that was learnt
        self._deltas = 0  # that it counted as

    def read(self, data: bytes) -> list[bytes]:
        """What may be sent, now that this chunk has come. Raises NotAllowed, NotUnderstood."""
        text = self._again.text(data)
        if text is None:
            return self._sent(self._read(data))
        self._growing.deltas += self._deltas
        try:
            return [self._again.told(self._growing.grow_again(self._last, text))]
        except (Stop, TooCostly) as met:
            raise self._ended(met, []) from None

    def finish(self) -> list[bytes]:
        """What was held back: no text comes any more. Raises NotAllowed."""
        self._again.forget()
        return self._sent(msgspec.json.encode(self._wire.piece(piece)) for piece in self._growing.finish_all())

    def last(self, data: bytes) -> bytes:
        """A chunk that counts, after all texts: servers put more into it. Raises NotAllowed, NotUnderstood."""
        try:
            return wholes.judged(data, self._judge)
        except NotAllowed as refused:
            refused.ending = self._ending([])
            raise

    def findings(self) -> Counter[str]:
        """What was found so far, by rule."""
        return self._growing.findings()

    def _read(self, data: bytes) -> Iterator[bytes]:
        self._again.forget()
        steps, found, deltas = self._growing.steps, self._judge.findings.total(), self._growing.deltas
        steps.clear()
        told: list[bytes] = []
        for chunk in self._wire.read(wholes.parsed(data)):
            told.append(msgspec.json.encode(chunk))
            yield told[-1]
        # One text grew and nothing else was found, so that all the rest may be told again as it is.
        if len(told) == len(steps) == 1 and steps[0] and self._judge.findings.total() == found:
            self._last, self._deltas = steps[0], self._growing.deltas - deltas
            self._again.learn(data, told[0], self._last.path[-1], self._last.text)

    def _sent(self, chunks: Iterable[bytes]) -> list[bytes]:
        sent: list[bytes] = []
        try:
            for chunk in chunks:
                sent.append(chunk)
        except (Stop, TooCostly, NotAllowed) as met:
            raise self._ended(met, sent) from None
        return sent

    def _ended(self, met: Stop | TooCostly | NotAllowed, sent: list[bytes]) -> NotAllowed:
        """As a refusal, which knows what may be sent yet."""
        if isinstance(met, TooCostly):
            return NotAllowed(TOO_COSTLY, COST)
        refused, piece = (met.refused, met.piece) if isinstance(met, Stop) else (met, _NOTHING)
        refused.ending = self._ending(sent, piece)
        return refused

    def _ending(self, sent: list[bytes], piece: Piece = _NOTHING) -> list[bytes]:
        return [*sent, *map(msgspec.json.encode, self._wire.stopped(piece))]
