"""Many questions at once, each by a thread of its own, and all of them in bounded time."""

import threading
import time
from collections.abc import Callable, Hashable, Mapping
from typing import TypeVar

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


def answered(jobs: Mapping[K, Callable[[], T]], deadline_s: float) -> dict[K, T]:
    """What each gave that was done in time. Nobody waits for the others, which end with the process at the latest."""
    found: dict[K, T] = {}

    def do(key: K, job: Callable[[], T]) -> None:
        found[key] = job()

    threads = [threading.Thread(target=do, args=each, daemon=True) for each in jobs.items()]
    for thread in threads:
        thread.start()
    until = time.monotonic() + deadline_s
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
    return dict(found)
