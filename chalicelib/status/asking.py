"""What is asked beside the targets: addresses that shall answer, and models that are to be timed. All at once."""

from collections.abc import Callable, Mapping
from functools import partial

import msgspec

from chalicelib.egress import Egress, NotCallable
from chalicelib.http1.failure import Failed
from chalicelib.placement.probes import answered
from chalicelib.placement.timing import Speed
from chalicelib.pool import Pool

DEADLINE_S = 25.0
MOST_BYTES = 200_000


class Questions(msgspec.Struct, frozen=True):
    """How to ask. `urls`: of what is the service's own, by what a component watches; empty: there is no such thing."""

    egress: Egress
    time_answer: Callable[[Pool], Speed | None]
    urls: Mapping[str, str]
    deadline_s: float = DEADLINE_S

    def ask(self, urls: Mapping[str, str], pools: Mapping[str, Pool]) -> tuple[dict[str, bool], dict[str, Speed]]:
        """Whether 200 was answered in time, and how fast a model was that could be asked; by component."""
        jobs: dict[tuple[str, str], Callable[[], bool | Speed | None]] = {}
        jobs |= {("url", each): partial(self._answers, url) for each, url in urls.items()}
        jobs |= {("pool", each): partial(self.time_answer, pool) for each, pool in pools.items()}
        found = answered(jobs, self.deadline_s)
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
