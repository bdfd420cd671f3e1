"""An engine of many long streams: `python -m bench.streams_upstream PORT CHUNKS PACE_MS`.

One clock writes to all of them, a share of them each time, so that a thousand cost it no thousand timers: it must not
be what is measured.
"""

import asyncio
import json
import sys
from itertools import count

from bench.upstream import HEALTH, MODELS, NOT_FOUND, PROMPT_TOKENS, STREAM_HEAD, UNARY, chunk, framed
from bench.wire import Reply, Request, serve

SHARES = 10  # of the streams, in turn


class Clock:
    """Writes the next chunk to each stream, once in `pace_s`."""

    def __init__(self, chunks: int, pace_s: float) -> None:
        self._chunks = chunks
        self._step_s = pace_s / SHARES
        self._shares: list[dict[Reply, int]] = [{} for _ in range(SHARES)]  # how many chunks each has left
        self._next = count()
        self._ticking: asyncio.TimerHandle | None = None
        self._delta = framed(chunk([{"index": 0, "delta": {"content": " word"}, "finish_reason": None}]))
        usage = {"prompt_tokens": PROMPT_TOKENS, "completion_tokens": chunks, "total_tokens": PROMPT_TOKENS + chunks}
        stop = chunk([{"index": 0, "delta": {}, "finish_reason": "stop"}])
        self._closing = framed(stop) + framed(chunk([], usage=usage)) + framed(b"data: [DONE]\n\n") + b"0\r\n\r\n"

    def begin(self, to: Reply) -> None:
        to.write(STREAM_HEAD + self._delta)
        self._shares[next(self._next) % SHARES][to] = self._chunks - 1
        if self._ticking is None:
            now = asyncio.get_running_loop().time()
            self._ticking = asyncio.get_running_loop().call_at(now, self._tick, now, 0)

    def _tick(self, due: float, turn: int) -> None:
        share = self._shares[turn % SHARES]
        for to, left in list(share.items()):
            if left and to.alive:
                to.write(self._delta)
                share[to] = left - 1
            else:
                to.write(self._closing)
                del share[to]
        # By the time that it was due, so that no pace is lost.
        due += self._step_s
        self._ticking = (
            asyncio.get_running_loop().call_at(due, self._tick, due, turn + 1) if any(self._shares) else None
        )


def main(port: int, chunks: int, pace_ms: int) -> None:
    clock = Clock(chunks, pace_ms / 1_000)

    def answer(request: Request, to: Reply) -> None:
        if request.method == b"POST" and request.path.startswith(b"/v1/chat/completions"):
            if json.loads(request.body).get("stream"):
                clock.begin(to)
            else:
                to.write(UNARY)
        elif request.path in (b"/health", b"/ping", b"/v1/health"):
            to.write(HEALTH)
        else:
            to.write(MODELS if request.path == b"/v1/models" else NOT_FOUND)

    serve(port, answer)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
