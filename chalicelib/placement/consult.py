"""Put a question to the enclave of a pool: at the first target whose container reaches one."""

from collections.abc import Mapping

from chalicelib.clock import Clock
from chalicelib.engines import Engine
from chalicelib.placement.choose import candidates
from chalicelib.placement.health import Health
from chalicelib.pool import Pool
from chalicelib.refusal import EngineFailed, EngineTimedOut, NoCapacity, Refusal


def consult(
    pool: Pool, pin: str | None, question: bytes, engines: Mapping[str, Engine], health: Health, clock: Clock
) -> bytes:
    """What the enclave tells, as JSON. A breaker is asked, but learns nothing: a model may be well without its enclave.

    Raises:
        NotOpened, Malformed, TooLarge: the enclave's word; another would say the same.
        NoCapacity, EngineFailed, EngineTimedOut: no target reached an enclave that told.
    """
    now_ms = clock()
    last: Refusal = NoCapacity("No enclave is there to ask. Try again.", retry_in_ms=1_000)
    for target in candidates(pool.targets, pin=pin, admits=lambda each: health.admits(each, now_ms), draw=0.0):
        try:
            return engines[target.engine].consult(target, question)
        except (NoCapacity, EngineFailed, EngineTimedOut) as refusal:
            last = refusal
    raise last
