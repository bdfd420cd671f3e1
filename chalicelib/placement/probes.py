"""Asking targets how they are: many at once, each in bounded time."""

import time
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

from chalicelib.engines import Engine
from chalicelib.placement.failure import Failure, failure_of
from chalicelib.placement.together import answered
from chalicelib.pool import Capacity, Target
from chalicelib.refusal import Refusal

# Engines bound their probe to a second; this is for what they cannot bound: to resolve a name, and in a new sandbox to
# build botocore's clients. That takes seconds, is no fault of the target's, and nobody waits for us.
DEADLINE_S = 15.0
AT_ONCE = 64

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
