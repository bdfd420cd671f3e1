"""Sight: one JSON line for each thing worth counting. Fails open: it never fails a request.

On Lambda, standard output is CloudWatch Logs, and the `_aws` member makes the line a metric (CloudWatch
Embedded Metric Format). Lines hold ids, counts and durations; never a prompt, an answer or a secret.
"""

import sys
import traceback
from pathlib import PurePath
from typing import Protocol

import msgspec

NAMESPACE = "Cloister"


class Telemetry(Protocol):
    def count(self, metric: str, now_ms: int, **facts: str | int) -> None:
        """One occurrence of `metric`, with facts that identify it."""

    def fault(self, error: BaseException, now_ms: int, **facts: str | int) -> None:
        """A bug of ours: which exception, and where; not its text, which may quote a request."""


class LogTelemetry:
    """Metrics as lines on standard output."""

    def count(self, metric: str, now_ms: int, **facts: str | int) -> None:
        aws = {
            "Timestamp": now_ms,
            "CloudWatchMetrics": [
                {"Namespace": NAMESPACE, "Dimensions": [[]], "Metrics": [{"Name": metric, "Unit": "Count"}]}
            ],
        }
        try:
            sys.stdout.write(msgspec.json.encode({"_aws": aws, metric: 1, **facts}).decode() + "\n")
            sys.stdout.flush()
        except (OSError, ValueError):
            return

    def fault(self, error: BaseException, now_ms: int, **facts: str | int) -> None:
        frames = traceback.extract_tb(error.__traceback__)[-6:]
        where = " < ".join(f"{PurePath(frame.filename).name}:{frame.lineno}" for frame in reversed(frames))
        self.count("Fault", now_ms, error=type(error).__name__, where=where, **facts)
