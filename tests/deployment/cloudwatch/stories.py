"""What may happen to a stage, as CloudWatch is told of it: thirty hours, of which the last nine are watched."""

from collections import defaultdict
from collections.abc import Iterable

from tests.deployment.cloudwatch.series import MINUTE, Name

HOUR = 60
LENGTH = 30 * HOUR
"""In minutes; the last is LENGTH - 1."""

WATCHED = range(21 * HOUR, LENGTH + 1)
"""The minutes at whose beginning alarms are looked at."""

LAST_HOUR = range(LENGTH - HOUR, LENGTH)
ALWAYS = range(LENGTH)


class Story:
    """Everything runs and nobody asks anything, until something else is said."""

    def __init__(self, stage: str = "dev") -> None:
        self.metrics: dict[Name, dict[int, list[tuple[float, int]]]] = defaultdict(lambda: defaultdict(list))
        self._door = frozenset({("ApiName", f"cloister-{stage}")})
        self._service = frozenset({("service", f"cloister-{stage}")})
        self.counted("ReaperRan", ALWAYS).counted("ProberRan", ALWAYS)
        self.counted("NotaryRan", range(7, LENGTH, HOUR))
        self.seen("AWS/Lambda", "ConcurrentExecutions", 2, ALWAYS)

    def asked(
        self, per_minute: int, minutes: Iterable[int] = ALWAYS, *, failed: int = 0, broken: int = 0, refused: int = 0
    ) -> "Story":
        """So many requests each minute; of them `failed` with 5xx, `broken` after their 200, `refused` with 4xx."""
        for minute in minutes:
            for metric, count in (("Count", per_minute), ("5XXError", failed), ("4XXError", refused)):
                samples = self.metrics[Name("AWS/ApiGateway", metric, self._door)][minute * MINUTE]
                samples += [(1.0, count)] if count else []
                samples += [(0.0, per_minute - count)] if count < per_minute else []
            ours = (("RequestCount", per_minute), ("ErrorCount", failed + broken), ("RefusalCount", refused))
            for metric, count in ours:
                if count:  # lines say nothing of what was not
                    self.metrics[Name("Cloister", metric, self._service)][minute * MINUTE].append((1.0, count))
        return self

    def counted(self, metric: str, minutes: Iterable[int], times: int = 1) -> "Story":
        for minute in minutes:
            self.metrics[Name("Cloister", metric)][minute * MINUTE].append((1.0, times))
        return self

    def seen(self, namespace: str, metric: str, value: float, minutes: Iterable[int], **dimensions: str) -> "Story":
        """A metric of AWS's own, or one that is no count."""
        for minute in minutes:
            self.metrics[Name(namespace, metric, frozenset(dimensions.items()))][minute * MINUTE].append((value, 1))
        return self

    def without(self, metric: str, minutes: Iterable[int]) -> "Story":
        """What was told of the metric in these minutes does not come; "": of none."""
        for minute in minutes:
            for name, samples in self.metrics.items():
                if metric in ("", name.metric):
                    samples.pop(minute * MINUTE, None)
        return self
