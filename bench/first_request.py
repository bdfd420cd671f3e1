"""One cold start, from inside: `python bench/first_request.py`, by `bench.cold_start`.

The handler is that of the tree that PYTHONPATH names. Nothing is imported before the clock starts but `time`, so that
every module that it needs is counted. Reads the API Gateway event from standard input; prints milliseconds as JSON.
"""

import time

_began, _began_cpu = time.perf_counter(), time.process_time()

from app import app  # noqa: E402

_imported = time.perf_counter()

import json  # noqa: E402
import sys  # noqa: E402
from typing import Any  # noqa: E402

WARM_REQUESTS = 20


def answered(event: dict[str, Any]) -> float:
    """Seconds of one request. Raises RuntimeError unless it is answered."""
    began = time.perf_counter()
    reply = app(event, None)
    seconds = time.perf_counter() - began
    if reply["statusCode"] != 200:
        raise RuntimeError(reply)
    return seconds


def main() -> None:
    event = json.load(sys.stdin)
    first = answered(event)
    cpu = time.process_time() - _began_cpu
    warm = sorted(answered(event) for _ in range(WARM_REQUESTS))[WARM_REQUESTS // 2]
    imported = _imported - _began
    report = {"import": imported, "first": first, "warm": warm, "cold": imported + first - warm, "cpu": cpu}
    print(json.dumps({name: seconds * 1_000 for name, seconds in report.items()}))


if __name__ == "__main__":
    main()
