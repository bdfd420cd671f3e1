"""One JSON line for each finished request, on standard output. Never a prompt, an answer, or a tenant's name."""

import sys
import time
import traceback

import msgspec


class Entry(msgspec.Struct, frozen=True):
    """`tokens` are those the engine reported or, failing that, the events it streamed; `sealed` is the mode, if any."""

    op: str
    request: str
    instance: str
    model: str
    status: int
    queue_ms: int
    duration_ms: int
    tokens: int
    stream: bool
    sealed: str = ""
    code: str = ""


def write(entry: Entry) -> None:
    _print({"event": "request", **msgspec.structs.asdict(entry)})


def event(name: str, **facts: str | int) -> None:
    """Something that happened to the container itself."""
    _print({"event": name, **facts})


def location(error: BaseException) -> str:
    """File and line where an exception was raised."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{last.filename}:{last.lineno}"


def _print(facts: dict[str, str | int]) -> None:
    line = msgspec.json.encode({"at_ms": time.time_ns() // 1_000_000, **facts})
    # One write: lines of a container are read by a log collector, which must not see halves.
    sys.stdout.write(line.decode() + "\n")
    sys.stdout.flush()
