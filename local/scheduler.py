"""Runs the app's Chalice schedules, as EventBridge does on AWS.

    python -m local.scheduler [--ready-fd N]

Each schedule has a thread of its own and does not overlap with itself. A run that fails is logged; the next one comes
in its time.
"""

import argparse
import re
import signal
import sys
import threading
import traceback
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from chalice.app import Chalice, ScheduledEventConfig

from emulators.server import tell
from local import layout

_RATE = re.compile(r"rate\((\d+) (minute|hour|day)s?\)")
_UNIT_S = {"minute": 60, "hour": 3600, "day": 86_400}


class Unschedulable(Exception):
    """A schedule in a form that is not run locally. The text is one sentence."""


class Schedule(NamedTuple):
    name: str
    period_s: int
    run: Callable[[], Any]


def schedules(app: Chalice) -> Sequence[Schedule]:
    """What the app declares. Raises Unschedulable."""
    declared = [source for source in app.event_sources if isinstance(source, ScheduledEventConfig)]
    return [_schedule(app, source) for source in declared]


def period_s(expression: str) -> int:
    """Seconds between two runs. Raises Unschedulable: nothing here uses `cron(…)` yet."""
    matched = _RATE.fullmatch(expression)
    if matched is None:
        raise Unschedulable(f"Schedules are run locally as rate(…), not {expression}.")
    return int(matched[1]) * _UNIT_S[matched[2]]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m local.scheduler", description=__doc__.splitlines()[0])
    parser.add_argument("--ready-fd", type=int, default=sys.stdout.fileno())
    options = parser.parse_args()

    from app import app  # after the flags: --help should not take half a second

    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    threads = [threading.Thread(target=_repeat, args=(schedule, stopped)) for schedule in schedules(app)]
    for thread in threads:
        thread.start()
    tell(options.ready_fd, {})
    for thread in threads:
        thread.join()
    return 0


def _repeat(schedule: Schedule, stopped: threading.Event) -> None:
    """At once, so that nobody waits an hour to see it, and then in its time."""
    while not stopped.is_set():
        try:
            schedule.run()
        except Exception:
            print(f"schedule {schedule.name} failed", file=sys.stderr)
            traceback.print_exc()
        stopped.wait(schedule.period_s)


def _schedule(app: Chalice, source: ScheduledEventConfig) -> Schedule:
    handler = app.handler_map[source.name]
    return Schedule(source.name, period_s(str(source.schedule_expression)), lambda: handler(_event(source.name), None))


def _event(name: str) -> dict[str, Any]:
    """As EventBridge sends it."""
    return {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": "Scheduled Event",
        "source": "aws.events",
        "account": "123456789012",
        "time": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "region": layout.REGION,
        "resources": [name],
        "detail": {},
    }


if __name__ == "__main__":
    sys.exit(main())
