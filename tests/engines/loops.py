"""A stream as a loop takes it, and as a thread does."""

import select
from collections.abc import Iterator

from chalicelib.call import Event, Finished, Pause, Source, Stream


def begun(stream: Stream) -> tuple[Source, Iterator[Event], list[Event]]:
    """As a loop takes a stream over: its source, and its events after the first one, which a thread has waited for."""
    events = iter(stream)
    first = [next(events)]
    source = stream.source
    source.poll()
    return source, events, first


def polled(stream: Stream) -> list[Event]:
    """All of it, taken as a loop does."""
    source, events, seen = begun(stream)
    for each in events:
        if each is Pause.LULL:
            select.select([file] if (file := source.fileno()) >= 0 else [], [], [], source.patience_s())
            source.receive()
        else:
            seen.append(each)
            if isinstance(each, Finished):
                break
    stream.close()
    return seen


def waited(stream: Stream) -> list[Event]:
    seen = list(stream)
    stream.close()
    return seen
