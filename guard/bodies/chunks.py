"""An answer that comes in chunks, judged on its way.

Each chunk goes on at once, with as much of its text as may be sent: what is held back is never longer than the widest
match of a rule.
"""

from collections import Counter
from collections.abc import Iterable

import msgspec

from guard.bodies import COST, TOO_COSTLY, Judge, NotAllowed, wholes
from guard.bodies.growing import Growing, Piece, Stop
from guard.bodies.wires import WIRES, Chunk
from guard.scanner import TooCostly

_NOTHING = Piece((0,), (), "")


class Chunks:
    """Of one answer. A refusal's `ending` is what may still be sent then. Not thread-safe."""

    def __init__(self, operation: str, judge: Judge) -> None:
        """`operation`: one of WIRES."""
        self._judge = judge
        self._growing = Growing(judge)
        self._wire = WIRES[operation](self._growing)

    def read(self, data: bytes) -> list[bytes]:
        """What may be sent, now that this chunk has come. Raises NotAllowed, NotUnderstood."""
        return self._sent(self._wire.read(wholes.parsed(data)))

    def finish(self) -> list[bytes]:
        """What was held back: no text comes any more. Raises NotAllowed."""
        return self._sent(map(self._wire.piece, self._growing.finish_all()))

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

    def _sent(self, chunks: Iterable[Chunk]) -> list[bytes]:
        sent: list[bytes] = []
        try:
            for chunk in chunks:
                sent.append(msgspec.json.encode(chunk))
        except Stop as stop:
            stop.refused.ending = self._ending(sent, stop.piece)
            raise stop.refused from None
        except TooCostly:
            raise NotAllowed(TOO_COSTLY, COST) from None
        except NotAllowed as refused:
            refused.ending = self._ending(sent)
            raise
        return sent

    def _ending(self, sent: list[bytes], piece: Piece = _NOTHING) -> list[bytes]:
        return [*sent, *map(msgspec.json.encode, self._wire.stopped(piece))]
