"""The seam behind which sight is kept, and what is told of one request.

Lines, metrics and spans hold ids, counts and durations; never a prompt, an answer or a secret.
"""

import traceback
from pathlib import PurePath
from typing import Literal, Protocol

import msgspec

from chalicelib.sight.trace import UNTRACED, Trace

RequestEvent = Literal["Settled", "SettledLate", "SettlementDeferred", "Refused", "Answered"]
"""How a request ended for us.

Settled: its entry is in the ledger. SettledLate: it had been declared abandoned before. SettlementDeferred: the store
does not answer, and it will be settled when it does. Refused: it was not admitted. Answered: it needed no admission.
"""


class RequestFacts(msgspec.Struct, frozen=True):
    """One request that has ended."""

    event: RequestEvent
    tenant: str  # empty where nobody has proved to be one's
    request_id: str
    route: str  # as `Route.called`
    arrived_ms: int
    ended_ms: int
    trace: Trace = UNTRACED
    reason: str = ""  # the refusal's class, or why it failed; empty: answered
    count: int = 1  # so many alike: only refusals, and only in a flood, of which this is the last
    lease: str = ""
    pool: str = ""  # one that there is
    target: str = ""
    operation: str = ""
    outcome: str = ""
    streamed: bool = False
    admitted_ms: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    tokens: int = 0  # as they were used, which is what is charged at most
    micro_usd: int = 0
    queue_position: int | None = None  # the last that its engine told while it waited
    predicted_start_ms: int | None = None  # likewise
    first_token_ms: int | None = None  # when the first piece of a stream came

    @property
    def has_spans(self) -> bool:
        """Whether it was admitted, and its trace is one that is kept."""
        return self.trace.sampled and bool(self.lease)


class Telemetry(Protocol):
    """Where it is told. Nobody waits for it, and nothing depends on it. Used from many threads."""

    def request(self, facts: RequestFacts) -> None:
        """A request has ended: all its metrics at once, one line, and its spans where it is traced."""

    def count(self, metric: str, now_ms: int, **facts: str | int) -> None:
        """One occurrence of `metric`, with facts that identify it."""

    def fault(self, error: BaseException, now_ms: int, **facts: str | int) -> None:
        """A bug of ours: which exception, and where; not its text, which may quote a request."""

    def flush(self) -> None:
        """The process is about to end: what was kept back is told now, in a few seconds or never."""


def where_it_broke(error: BaseException) -> dict[str, str]:
    """What a fault is told by."""
    frames = traceback.extract_tb(error.__traceback__)[-6:]
    where = " < ".join(f"{PurePath(frame.filename).name}:{frame.lineno}" for frame in reversed(frames))
    return {"error": type(error).__name__, "where": where}
