"""Telemetry that is looked at."""

from chalicelib.sight import RequestFacts


class Kept:
    """What was told of requests, and what was counted besides. Nothing is to break."""

    def __init__(self) -> None:
        self.requests: list[RequestFacts] = []
        self.counted: list[tuple[str, dict[str, str | int]]] = []

    def flush(self) -> None:
        """Nothing is held back."""

    def request(self, facts: RequestFacts) -> None:
        self.requests.append(facts)

    def count(self, metric: str, now_ms: int, **facts: str | int) -> None:
        self.counted.append((metric, facts))

    def fault(self, error: BaseException, now_ms: int, **facts: str | int) -> None:
        raise AssertionError((now_ms, facts)) from error

    def of(self, metric: str) -> list[dict[str, str | int]]:
        return [facts for name, facts in self.counted if name == metric]
