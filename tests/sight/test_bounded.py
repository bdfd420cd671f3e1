"""A sink that fails, and floods of refusals."""

from chalicelib.sight import RequestFacts
from chalicelib.sight.bounded import BURST, PER_S, Bounded
from tests.sight.facts import NOW_MS, facts, refusal


class Broken:
    """A sink that fails at whatever it is told."""

    def flush(self) -> None:
        """Nothing is kept back."""

    def request(self, facts: RequestFacts) -> None:
        raise RuntimeError(facts.request_id)

    def count(self, metric: str, now_ms: int, **facts: str | int) -> None:
        raise OSError(metric, now_ms, facts)

    def fault(self, error: BaseException, now_ms: int, **facts: str | int) -> None:
        raise ValueError(now_ms, facts) from error


class Kept:
    """A sink that keeps what it is told of requests."""

    def __init__(self) -> None:
        self.requests: list[RequestFacts] = []

    def flush(self) -> None:
        """Nothing is kept back."""

    def request(self, facts: RequestFacts) -> None:
        self.requests.append(facts)

    def count(self, metric: str, now_ms: int, **facts: str | int) -> None:
        raise AssertionError((metric, now_ms, facts))

    def fault(self, error: BaseException, now_ms: int, **facts: str | int) -> None:
        raise AssertionError((now_ms, facts)) from error


def test_a_sink_that_fails_is_not_heard_of() -> None:
    bounded = Bounded(Broken())
    bounded.request(facts())
    bounded.request(refusal())
    bounded.count("Anything", NOW_MS)
    bounded.fault(ValueError("of ours"), NOW_MS)


def test_a_flood_of_refusals_is_few_lines_that_count_all() -> None:
    kept = Kept()
    bounded = Bounded(kept)
    for number in range(10_000):
        bounded.request(refusal(request_id=str(number), ended_ms=NOW_MS))
    assert len(kept.requests) == BURST
    bounded.request(refusal(ended_ms=NOW_MS + 1_000))
    assert kept.requests[-1].count == 10_000 - BURST + 1
    assert sum(each.count for each in kept.requests) == 10_001
    for number in range(1_000):
        bounded.request(refusal(request_id=str(number), ended_ms=NOW_MS + 1_000))
    assert len(kept.requests) == BURST + PER_S


def test_what_is_counted_together_is_alike() -> None:
    kept = Kept()
    bounded = Bounded(kept)
    for _ in range(BURST):
        bounded.request(refusal())
    for reason, pool in (("RateLimited", "model-a"), ("RateLimited", "model-b"), ("Unauthenticated", "")):
        bounded.request(refusal(reason=reason, pool=pool))
        bounded.request(refusal(reason=reason, pool=pool))
    bounded.request(refusal(pool="model-b", ended_ms=NOW_MS + 1_000))
    assert (kept.requests[-1].pool, kept.requests[-1].count) == ("model-b", 3)


def test_requests_that_were_admitted_are_all_told() -> None:
    kept = Kept()
    bounded = Bounded(kept)
    for _ in range(1_000):
        bounded.request(facts())
    assert len(kept.requests) == 1_000


def test_what_was_held_back_is_told_when_the_process_ends() -> None:
    kept = Kept()
    bounded = Bounded(kept)
    for _ in range(BURST + 5):
        bounded.request(refusal())
    assert len(kept.requests) == BURST
    bounded.flush()
    assert (kept.requests[-1].count, kept.requests[-1].reason, kept.requests[-1].tenant) == (5, "RateLimited", "")
    bounded.flush()
    assert len(kept.requests) == BURST + 1


def test_one_sink_that_fails_keeps_nothing_from_the_next() -> None:
    kept = Kept()
    Bounded(Broken(), kept).request(facts())
    assert len(kept.requests) == 1
