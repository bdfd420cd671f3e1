"""Asking targets how they are: many at once, each in bounded time."""

import threading
import time
from collections.abc import Callable, Hashable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple, TypeVar

from chalicelib.engines import Engine
from chalicelib.placement.failure import Failure, failure_of
from chalicelib.pool import Capacity, Target
from chalicelib.refusal import Refusal

# Engines bound their probe to a second; this is for what they cannot bound: to resolve a name, and in a new sandbox to
# build botocore's clients. That takes seconds, is no fault of the target's, and nobody waits for us.
DEADLINE_S = 15.0
AT_ONCE = 64

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")

SILENT = "The target did not answer in time."
NO_ENGINE = "The gateway has no engine for targets of this kind."


class Probe(NamedTuple):
    """How a place answered."""

    capacity: Capacity | None  # None: it is not well
    latency_ms: int | None = None  # until it said so; None: it did not
    failure: Failure | None = None


def probe(
    engines: Mapping[str, Engine[Any]], targets: Mapping[str, Target], now_ms: int, deadline_s: float = DEADLINE_S
) -> dict[str, Probe]:
    """What each place says of itself, with how long it took, and why one is not well."""
    answers = dict.fromkeys(targets, Probe(None, failure=Failure(now_ms, SILENT)))
    for together in _batches(targets):
        jobs = {place: partial(_probe, engines, target, now_ms) for place, target in together.items()}
        answers.update(answered(jobs, deadline_s))
    return answers


def answered(jobs: Mapping[K, Callable[[], T]], deadline_s: float) -> dict[K, T]:
    """What each gave that was done in time, by a thread of its own. Nobody waits for the others."""
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


def _batches(targets: Mapping[str, Target]) -> Iterator[dict[str, Target]]:
    places = list(targets)
    for first in range(0, len(places), AT_ONCE):
        yield {place: targets[place] for place in places[first : first + AT_ONCE]}


def _probe(engines: Mapping[str, Engine[Any]], target: Target, now_ms: int) -> Probe:
    began = time.monotonic()
    capacity, failure = None, None
    try:
        capacity = engines[target.engine].probe(target)
    except KeyError:
        failure = Failure(now_ms, NO_ENGINE)
    except Refusal as refusal:
        failure = failure_of(refusal, now_ms)
    return Probe(capacity, round((time.monotonic() - began) * 1_000), failure)
