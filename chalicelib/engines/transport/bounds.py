"""How much is read of a target's answers, and until when."""

import time

ANSWER_LIMIT_BYTES = 64 * 1024 * 1024  # a buffered answer; embeddings of a long list are the largest
ERROR_LIMIT_BYTES = 64 * 1024
PROBE_LIMIT_BYTES = 64 * 1024
PROBE_DEADLINE_S = 1.0


def monotonic_ms() -> int:
    """For deadlines within one sandbox: the wall clock may be set while an answer runs."""
    return time.monotonic_ns() // 1_000_000
