"""One limiter put to work, in its own interpreter; the report is one line of JSON on standard output.

cost     nothing is ever short: CPU, wall time and DynamoDB calls of one admit + settle
bucket   BUCKET units that do not refill within the run, twice as many attempts: how many are admitted
curve    RATE units a second, bursts of BURST, demand always above: how much of the curve is used
"""

import argparse
import json
import statistics
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

Scenario = Literal["cost", "bucket", "curve"]

COST_CALLS = 480
BUCKET = 200
RATE = 40
BURST = 80
CURVE_S = 5.0
RESERVED_TOKENS = 500
USED_TOKENS = 62
SHORTEST_WAIT_S = 0.005


@dataclass(frozen=True)
class Admitted:
    """Admitted and settled."""


@dataclass(frozen=True)
class Denied:
    """Over the limit; it says to come back after so long."""

    wait_s: float


@dataclass(frozen=True)
class GaveUp:
    """Neither: the limiter could not decide."""


class Limiter(Protocol):
    def take(self) -> Admitted | Denied | GaveUp:
        """Admit one request of RESERVED_TOKENS, and settle it at once with USED_TOKENS."""


class Calls:
    """Counts requests to DynamoDB, whichever client makes them, by Python's own audit events."""

    def __init__(self) -> None:
        self.count = 0
        sys.addaudithook(self._heard)

    def _heard(self, event: str, arguments: tuple[object, ...]) -> None:
        if event == "http.client.send" and isinstance(arguments[1], bytes) and arguments[1].startswith(b"POST "):
            self.count += 1


class Tally:
    """What the threads of one run saw."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.admitted = self.denied = self.gave_up = 0
        self.seconds: list[float] = []  # of each admitted one

    def add(self, outcome: Admitted | Denied | GaveUp, seconds: float) -> None:
        with self._lock:
            if isinstance(outcome, Admitted):
                self.admitted += 1
                self.seconds.append(seconds)
            elif isinstance(outcome, Denied):
                self.denied += 1
            else:
                self.gave_up += 1


def run(name: Scenario, limiter: Limiter, threads: int) -> dict[str, float]:
    calls = Calls()
    tally = Tally()
    if name == "cost":
        for _ in range(5):  # connections, caches, the item itself
            limiter.take()
        each = COST_CALLS // threads
        elapsed, cpu, made = _measured(threads, lambda: _times(limiter, tally, each), calls)
        done = each * threads
        return {
            "calls": made / done,
            "cpu_us": cpu * 1e6 / done,
            "wall_us": elapsed * 1e6 / done,
            "latency_ms": statistics.median(tally.seconds) * 1e3,
            "lost": tally.denied + tally.gave_up,
            "excess": 0,
        }
    if name == "bucket":
        each = 2 * BUCKET // threads
        _, _, made = _measured(threads, lambda: _times(limiter, tally, each), calls)
        allowed: float = BUCKET
    else:
        limiter.take()
        time.sleep(BURST / RATE + 0.5)  # full again
        until = time.monotonic() + CURVE_S
        elapsed, _, made = _measured(threads, lambda: _until(limiter, tally, until), calls)
        allowed = BURST + RATE * elapsed
    attempts = tally.admitted + tally.denied + tally.gave_up
    return {
        "allowed": allowed,
        "admitted": tally.admitted,
        "excess": max(0.0, tally.admitted - allowed),
        "lost": max(0.0, allowed - tally.admitted),
        "admitted_percent": 100 * tally.admitted / allowed,
        "excess_percent": 100 * max(0.0, tally.admitted / allowed - 1),
        "lost_percent": 100 * max(0.0, 1 - tally.admitted / allowed),
        "gave_up": tally.gave_up,
        "calls": made / attempts,
    }


def _measured(threads: int, work: Callable[[], None], calls: Calls) -> tuple[float, float, int]:
    """Wall seconds, CPU seconds of the process and DynamoDB calls of the same work on so many threads."""
    started = calls.count, time.process_time(), time.perf_counter()
    crew = [threading.Thread(target=work) for _ in range(threads)]
    for thread in crew:
        thread.start()
    for thread in crew:
        thread.join()
    return time.perf_counter() - started[2], time.process_time() - started[1], calls.count - started[0]


def _times(limiter: Limiter, tally: Tally, count: int) -> None:
    for _ in range(count):
        began = time.perf_counter()
        tally.add(limiter.take(), time.perf_counter() - began)


def _until(limiter: Limiter, tally: Tally, until: float) -> None:
    """Keep asking; come back exactly when told to."""
    while time.monotonic() < until:
        began = time.perf_counter()
        outcome = limiter.take()
        tally.add(outcome, time.perf_counter() - began)
        if isinstance(outcome, Denied):
            time.sleep(max(SHORTEST_WAIT_S, min(outcome.wait_s, until - time.monotonic())))


def main(build: Callable[[str, Scenario], Limiter]) -> None:
    """`build` makes a limiter with a fresh tenant on the store at a URL."""
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("scenario", choices=["cost", "bucket", "curve"])
    parser.add_argument("threads", type=int)
    options = parser.parse_args()
    print(json.dumps(run(options.scenario, build(options.url, options.scenario), options.threads)))
