"""A circuit breaker as a value: when a target that keeps failing is left alone, and how it comes back. Pure.

    closed     every call may try; `failures` consecutive ones open it, if enough witnesses saw them
    open       nobody may try until `retry_at_ms`
    half open  the pause is over: exactly one call is on trial, the others still go elsewhere. A trial that fails
               opens it again if it has witnesses enough; else the next one may be tried at once
    probation  a trial got its first event: closed again, but the next failures that are witnessed open it at once

A call counts as a success only when its answer is complete, or a target that dies in the middle of every
answer would never be left alone.

What fails may be the target, or what one tenant asks of it: an answer that takes too long by itself, an input that
breaks every engine. So whoever's calls fail is a *witness*, and what shuts a target to everybody needs two. A tenant
alone shuts it to itself, by a breaker of its own that needs one.
"""

import msgspec

PROBE = "~probe"
"""A witness that needs no other: no request had to do with what it met."""


class Rule(msgspec.Struct, frozen=True):
    """When to open, and for how long."""

    failures: int
    pause_ms: int
    witnesses: int = 2


class Breaker(msgspec.Struct, frozen=True):
    """What is known of one target."""

    failures: int = 0  # consecutive
    retry_at_ms: int | None = None  # None: closed
    on_trial: bool = False
    witnesses: frozenset[str] = frozenset()  # of the failures since it was opened last


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


def failed(breaker: Breaker, now_ms: int, rule: Rule, witness: str) -> Breaker:
    """The target broke, before or after its first event. `witness`: whose call, or PROBE."""
    return _weighed(msgspec.structs.replace(breaker, failures=breaker.failures + 1), now_ms, rule, witness)


def confirmed(breaker: Breaker, now_ms: int, rule: Rule) -> Breaker:
    """A probe failed, too. No call did; but those that did were not their callers' doing."""
    return _weighed(breaker, now_ms, rule, PROBE) if breaker.failures else breaker


def _weighed(breaker: Breaker, now_ms: int, rule: Rule, witness: str) -> Breaker:
    witnesses = breaker.witnesses | {witness}
    if breaker.failures >= rule.failures and (PROBE in witnesses or len(witnesses) >= rule.witnesses):
        return Breaker(breaker.failures, now_ms + rule.pause_ms, breaker.on_trial)
    return msgspec.structs.replace(breaker, witnesses=witnesses)
