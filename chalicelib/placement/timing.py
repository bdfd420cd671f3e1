"""How fast a pool answers: a short question of ours, to a server that runs anyway. Costs a few tokens, wakes nobody."""

import threading
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from chalicelib.call import Call, Delta, Finished, Stream
from chalicelib.clock import Clock
from chalicelib.engines import Engine
from chalicelib.engines.transport.bounds import monotonic_ms
from chalicelib.pool import OpenAICompatible, Pool, Scripted
from chalicelib.refusal import Refusal

DEADLINE_S = 20.0
TOKENS = 32
QUESTION = msgspec.Raw(b'[{"role":"user","content":"Count from one to twenty."}]')


class Speed(NamedTuple):
    """Of one answer."""

    first_token_ms: int
    tokens_per_ks: int  # tokens in a thousand seconds, from the first one to the last


def time_answer(
    engines: Mapping[str, Engine[Any]],
    pool: Pool,
    request_id: str,
    clock: Clock = monotonic_ms,
    deadline_s: float = DEADLINE_S,
) -> Speed | None:
    """`clock` only ever goes on. None where the pool has no server that runs anyway, or it did not answer in time."""
    target = next((each for each in pool.targets if isinstance(each, OpenAICompatible | Scripted)), None)
    if target is None or "chat.completions" not in pool.operations:
        return None
    call = Call(
        request_id=request_id,
        operation="chat.completions",
        pool=pool.name,
        fields={"messages": QUESTION},
        stream=True,
        prompt_tokens=len(QUESTION),
        ceiling_tokens=TOKENS,
        choices=1,
        tenant_tag="status",
        priority=0,
    )
    streams: list[Stream] = []
    found: list[Speed] = []

    def ask() -> None:
        began_ms = clock()
        try:
            streams.append(engines[target.engine].open(target, call))
            speed = _speed(streams[0], began_ms, clock)
        except Refusal:
            return  # it is not well, which its probe says
        if speed is not None:
            found.append(speed)

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(deadline_s)
    for stream in streams:
        stream.close()
    return found[0] if found else None


def _speed(stream: Stream, began_ms: int, clock: Clock) -> Speed | None:
    first_ms, tokens = None, 0
    for event in stream:
        if isinstance(event, Delta) and event.tokens:
            first_ms = clock() if first_ms is None else first_ms
            tokens += event.tokens
        if isinstance(event, Finished) and event.usage:
            tokens = event.usage.completion_tokens
    took_ms = clock() - first_ms if first_ms is not None else 0
    if first_ms is None or tokens < 2 or took_ms <= 0:
        return None  # of one token nothing can be said
    return Speed(first_ms - began_ms, (tokens - 1) * 1_000_000 // took_ms)
