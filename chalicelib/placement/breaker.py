"""A circuit breaker as a value: when a target that keeps failing is left alone, and how it comes back. Pure.

    closed     every call may try; `failures` consecutive ones open it
    open       nobody may try until `retry_at_ms`
    half open  the pause is over: exactly one call is on trial, the others still go elsewhere
    probation  a trial got its first event: closed again, but the next failure opens it at once

A call counts as a success only when its answer is complete, or a target that dies in the middle of every
answer would never be left alone.
"""

import msgspec


class Rule(msgspec.Struct, frozen=True):
    """When to open, and for how long."""

    failures: int
    pause_ms: int


class Breaker(msgspec.Struct, frozen=True):
    """What is known of one target."""

    failures: int = 0  # consecutive
    retry_at_ms: int | None = None  # None: closed
    on_trial: bool = False


CLOSED = Breaker()


def admits(breaker: Breaker, now_ms: int) -> bool:
    """Whether a call may try this target now."""
    return breaker.retry_at_ms is None or (not breaker.on_trial and now_ms >= breaker.retry_at_ms)


def tried(breaker: Breaker) -> Breaker:
    """An admitted call goes there; if the breaker is not closed, this call is the trial."""
    return breaker if breaker.retry_at_ms is None else msgspec.structs.replace(breaker, on_trial=True)


def trial_over(breaker: Breaker) -> Breaker:
    """The trial has ended. By itself this says nothing of the target: the next call may be the next trial."""
    return msgspec.structs.replace(breaker, on_trial=False) if breaker.on_trial else breaker


def answered(breaker: Breaker) -> Breaker:
    """The trial got its first event: closed, but what failed before is not forgotten yet."""
    return Breaker(breaker.failures)


def succeeded(breaker: Breaker) -> Breaker:
    """A complete answer, or a well-founded complaint about the request."""
    # A long answer that began before the breaker opened says nothing of calls that begin now.
    return CLOSED if breaker.retry_at_ms is None else breaker


def failed(breaker: Breaker, now_ms: int, rule: Rule) -> Breaker:
    """The target broke, before or after its first event."""
    failures = breaker.failures + 1
    retry_at_ms = breaker.retry_at_ms
    if failures >= rule.failures:
        retry_at_ms = now_ms + rule.pause_ms
    return Breaker(failures, retry_at_ms, breaker.on_trial)
