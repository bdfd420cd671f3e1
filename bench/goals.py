"""What the benches are to show, as ratios within one run: each goal beside what was found."""

import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from bench import rounds
from bench.table import print_lines, shown

Figures = Mapping[str, Mapping[str, float]]  # by contestant and row
OURS = "Cloister"


@dataclass(frozen=True)
class Goal:
    """A figure and how far it shall be: `least` or `most`."""

    title: str
    found: float
    unit: str = "x"
    least: float | None = None
    most: float | None = None

    @property
    def met(self) -> bool:
        return (self.least is None or self.found >= self.least) and (self.most is None or self.found <= self.most)


def of_gateways(figures: Figures) -> Iterator[Goal]:
    ours, governed, smg = (figures.get(name) for name in (OURS, "LiteLLM governed", "smg"))
    if ours and governed:
        yield Goal("CPU per request, 32 at a time, LiteLLM governed / ours", governed["cpu"] / ours["cpu"], least=12)
        yield Goal("added latency p50, LiteLLM governed / ours", governed["p50"] / ours["p50"], least=18)
    if ours and smg:
        yield Goal("CPU per request, 32 at a time, ours / smg", ours["cpu"] / smg["cpu"], most=5.5)
        yield Goal("CPU per streamed chunk (paced), ours / smg", ours["chunk_cpu"] / smg["chunk_cpu"], most=1.7)
    if ours:
        yield Goal("resident memory after the load, ours", ours["rss"], "MB", most=55)


def of_streams(figures: Figures) -> Iterator[Goal]:
    ours, smg = (figures.get(name) for name in (OURS, "smg"))
    if ours:
        yield Goal("first chunk, the last of all, ours", ours["first_max"], "s", most=3)
        yield Goal("resident memory, at most, ours", ours["rss"], "MB", most=200)
        yield Goal("/live, the slowest answer, ours", ours["live"], "ms", most=250)
        yield Goal("/health, the slowest answer, ours", ours["health"], "ms", most=250)
    if ours and smg:
        yield Goal("between two chunks, p99, ours / smg", ours["gap_p99"] / smg["gap_p99"], most=2)


def of_guarded(guarded: Sequence[rounds.Figures], plain: Sequence[rounds.Figures]) -> Iterator[Goal]:
    """By round, of a tenant with rules and a token, and of one with neither."""
    pairs = list(zip(guarded, plain, strict=True))
    for key, crowd in (("cpu_ms", "32"), ("alone_cpu_ms", "1")):
        yield Goal(
            f"CPU per request, {crowd} at a time, with rules / without",
            statistics.median(getattr(one, key) / getattr(other, key) for one, other in pairs),
            most=1.2,
        )
    more = statistics.median(one.chunk_cpu_us - other.chunk_cpu_us for one, other in pairs)
    yield Goal("CPU per streamed chunk (paced), more with rules", more, "us", most=15)


def print_goals(goals: Iterable[Goal]) -> None:
    lines = [["goal", "found", "wanted", ""]]
    for goal in goals:
        wanted = f">= {goal.least:g}" if goal.least is not None else f"<= {goal.most:g}"
        lines.append(
            [goal.title, f"{shown(goal.found)} {goal.unit}", f"{wanted} {goal.unit}", "" if goal.met else "not met"]
        )
    print()
    print_lines(lines)
