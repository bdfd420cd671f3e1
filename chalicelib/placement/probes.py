"""Asking targets how they are: many at once, each in bounded time."""

import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

from chalicelib.engines import Engine
from chalicelib.pool import Capacity, Target
from chalicelib.refusal import Refusal

# Engines bound their probe to a second; this is for what they cannot bound: to resolve a name, and in a new sandbox to
# build botocore's clients. That takes seconds, is no fault of the target's, and nobody waits for us.
DEADLINE_S = 15.0
AT_ONCE = 64


def ask(
    engines: Mapping[str, Engine[Any]], targets: Mapping[str, Target], deadline_s: float = DEADLINE_S
) -> dict[str, Capacity | None]:
    """What each place says of itself; None for one that does not answer."""
    answers: dict[str, Capacity | None] = dict.fromkeys(targets)
    for together in _batches(targets):
        answers.update(_ask(engines, together, deadline_s))
    return answers


def _batches(targets: Mapping[str, Target]) -> Iterator[dict[str, Target]]:
    places = list(targets)
    for first in range(0, len(places), AT_ONCE):
        yield {place: targets[place] for place in places[first : first + AT_ONCE]}


def _ask(engines: Mapping[str, Engine[Any]], targets: Mapping[str, Target], deadline_s: float) -> dict[str, Capacity]:
    answers: dict[str, Capacity] = {}

    def probe(place: str, target: Target) -> None:
        try:
            answers[place] = engines[target.engine].probe(target)
        except (Refusal, KeyError):  # it is not well, or this sandbox has no engine for it
            return

    threads = [threading.Thread(target=probe, args=item, daemon=True) for item in targets.items()]
    for thread in threads:
        thread.start()
    until = time.monotonic() + deadline_s
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
    return dict(answers)
