"""The OpenAI-compatible engine, with a server whose every byte a test decides."""

from collections.abc import Iterator
from contextlib import contextmanager

from chalicelib.engines.openai_compatible import OpenAICompatibleEngine
from chalicelib.pool import OpenAICompatible
from chalicelib.settings import Settings
from tests.engines.answers import STREAM
from tests.engines.servers import (
    LAST_CHUNK,
    Handler,
    Server,
    chunk,
    head,
    serving,
    stream_head,
)
from tests.patience import PATIENCE_S

PATIENT = Settings()
IMPATIENT = Settings(connect_deadline_ms=500, idle_deadline_ms=100)  # for what is never to come
HALTING = Settings(idle_deadline_ms=3_000)  # for what comes at once, and then nothing
NEVER_IDLE = Settings(idle_deadline_ms=10 * round(PATIENCE_S * 1_000))  # whatever ends, ends by something else
SEVENS = [STREAM[at : at + 7] for at in range(0, len(STREAM), 7)]
KNOWN_LENGTH = head(content_type="text/event-stream", content_length=str(len(STREAM)))
WHOLE_STREAM = stream_head() + chunk(STREAM) + LAST_CHUNK


@contextmanager
def engine_for(
    handler: Handler, settings: Settings = PATIENT
) -> Iterator[tuple[OpenAICompatibleEngine, OpenAICompatible, Server]]:
    with serving(handler) as server:
        target = OpenAICompatible("gpu-1", model="org/model", capacity=3, url=f"{server.root}/v1")
        yield OpenAICompatibleEngine(settings), target, server
