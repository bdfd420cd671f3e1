"""The body of a target's answer: read as it arrives by one thread, or polled by a loop; closed by any."""

from chalicelib.call import Source
from chalicelib.clock import Clock
from chalicelib.dialects import failures
from chalicelib.http1.answer import Answer
from chalicelib.http1.failure import Failed, Silent, Unreachable
from chalicelib.refusal import EngineFailed, EngineTimedOut, Refusal


def refusal(failure: Failed) -> Refusal:
    """What a failure of the connection means for the caller."""
    if isinstance(failure, Unreachable):
        return EngineFailed(failures.UNREACHABLE, symptom=failure.symptom, unsent=True)
    if isinstance(failure, Silent):
        return EngineTimedOut(failures.SILENT, symptom=failure.symptom)
    return EngineFailed(failures.BROKE_OFF, symptom=failure.symptom)


class WireBody:
    """A Body, and the Source of itself."""

    def __init__(self, answer: Answer, clock: Clock, silence_ms: int, until_ms: int) -> None:
        """`silence_ms`: the longest gap; `until_ms`: when the whole must be there, on the clock."""
        self._answer = answer
        self._clock = clock
        self._silence_ms = silence_ms
        self._until_ms = until_ms
        self._polled = False
        self._came = False  # something, since a poll last looked at the clock
        self._silent_at_ms = 0  # when a body that is polled has been silent for too long

    def next(self) -> bytes | None:
        """See Body.next."""
        if not self._polled:
            self._be_in_time(self._clock())
        try:
            piece = self._answer.poll() if self._polled else self._answer.next()
        except Failed as failure:
            raise refusal(failure) from failure
        if piece is None:
            self._be_patient(self._clock())
        else:
            self._came = True
        return piece

    def read(self, limit_bytes: int) -> bytes:
        """All of it, within the longest gap, for nobody renews a lease meanwhile. Raises as `next`; EngineFailed also
        where it is longer than `limit_bytes`."""
        self._until_ms = min(self._until_ms, self._clock() + self._silence_ms)
        parts = []
        size = 0
        while part := self.next():
            parts.append(part)
            size += len(part)
            if size > limit_bytes:
                raise EngineFailed(failures.TOO_LONG)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def finish(self) -> None:
        """See Body.finish."""
        self._answer.finish()

    def close(self) -> None:
        """See Body.close."""
        self._answer.close()

    def _be_in_time(self, now_ms: int) -> None:
        if now_ms > self._until_ms:
            raise EngineTimedOut(failures.SILENT)

    def _be_patient(self, now_ms: int) -> None:
        """Nothing more has come: now is when the silence begins, or it goes on."""
        self._be_in_time(now_ms)
        if self._came:
            self._came = False
            self._silent_at_ms = now_ms + self._silence_ms
        elif now_ms > self._silent_at_ms:
            raise EngineTimedOut(failures.SILENT, symptom="TimeoutError")

    @property
    def source(self) -> Source:
        """See Body.source."""
        return self

    def poll(self) -> None:
        """See Source.poll."""
        self._polled = True
        self._silent_at_ms = self._clock() + self._silence_ms
        self._answer.receive()

    def fileno(self) -> int:
        """See Source.fileno."""
        return self._answer.fileno()

    def receive(self) -> None:
        """See Source.receive."""
        self._answer.receive()

    def patience_s(self) -> float:
        """See Source.patience_s."""
        return max(0, min(self._silent_at_ms, self._until_ms) + 1 - self._clock()) / 1_000
