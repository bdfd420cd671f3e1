"""What is asked beside the targets: addresses that shall answer, and models that are to be timed. All at once."""

import threading
import time
from collections.abc import Callable, Hashable, Mapping
from typing import TypeVar

import msgspec

from chalicelib.egress import Egress, NotCallable
from chalicelib.http1.failure import Failed
from chalicelib.placement.timing import Speed
from chalicelib.pool import Pool

DEADLINE_S = 25.0
MOST_BYTES = 200_000

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class Questions(msgspec.Struct, frozen=True):
    """How to ask. `urls`: of what is the service's own, by what a component watches; empty: there is no such thing."""

    egress: Egress
    time_answer: Callable[[Pool], Speed | None]
    urls: Mapping[str, str]
    deadline_s: float = DEADLINE_S

    def ask(self, urls: Mapping[str, str], pools: Mapping[str, Pool]) -> tuple[dict[str, bool], dict[str, Speed]]:
        """Whether 200 was answered in time, and how fast a model was that could be asked; by component."""

        def job(url: str) -> Callable[[], bool | Speed | None]:
            return lambda: self._answers(url)

        def timing(pool: Pool) -> Callable[[], bool | Speed | None]:
            return lambda: self.time_answer(pool)

        jobs = {("url", each): job(url) for each, url in urls.items()}
        jobs |= {("pool", each): timing(pool) for each, pool in pools.items()}
        found = _at_once(jobs, self.deadline_s)
        speeds = {each: found.get(("pool", each)) for each in pools}
        return (
            {each: found.get(("url", each)) is True for each in urls},
            {each: speed for each, speed in speeds.items() if isinstance(speed, Speed)},
        )

    def _answers(self, url: str) -> bool:
        try:
            return self.egress.get(url, limit_bytes=MOST_BYTES).status == 200
        except (Failed, NotCallable):
            return False


def _at_once(jobs: Mapping[K, Callable[[], T]], deadline_s: float) -> dict[K, T]:
    """What each gave that was done in time."""
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
