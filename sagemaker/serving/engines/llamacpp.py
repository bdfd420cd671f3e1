"""llama.cpp through xllamacpp: the embedded default, for GGUF models on any machine."""

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from serving.engines import BadModel, Engine, Reply, gguf
from serving.engines.llamacpp_child import BATCH, Parameters
from serving.engines.process import SOCKET, Child, Pulse
from serving.refusal import Malformed
from serving.request import ENGINE_PATHS, Call
from serving.settings import Settings

DEFAULT_CONTEXT = 4096
# Below this size one thread is fastest: threads meet after every layer, and on a busy machine each meeting waits for
# the scheduler (seen: 264 tokens/s with two threads on two busy cores, 7,000 with one).
ONE_THREAD_MB = 64
OVERHEAD_MB = 48  # Python and the library
# The longest turn of its loop reads a batch: of a model of 1 GB in 5 s, of 5 GB in 35 s, on two slow cores.
TURN_S_PER_GB = 10
FLOAT_BYTES = 4


class LlamaCpp:
    """One model in a child process of its own."""

    def __init__(self, child: Child, settings: Settings) -> None:
        self._child = child
        self._settings = settings
        # A shared prompt cache tells a tenant, by its speed and by `cached_tokens`, what others have asked. A slot
        # chosen by the caller would aim at one neighbour.
        self._overrides: dict[str, object] = {"id_slot": None}
        if settings.prompt_cache == "off":
            self._overrides["cache_prompt"] = False

    @asynccontextmanager
    async def open(self, call: Call) -> AsyncIterator[Reply]:
        silence_s = self._settings.idle_timeout_s if call.stream else self._settings.request_timeout_s
        _must_be_one(call)
        body = call.body({} if call.op == "embeddings" else self._overrides)
        async with self._child.ask("POST", ENGINE_PATHS[call.op], body, silence_s) as wire:
            yield wire

    def fault(self) -> str | None:
        return self._child.fault()

    async def close(self) -> None:
        await self._child.close()


def _must_be_one(call: Call) -> None:
    """llama.cpp reports the usage of one of several answers, and leaves embeddings at their own length.

    What is not counted cannot be charged, so it is refused. Raises: Malformed.
    """
    for name in ("n", "best_of", "n_cmpl"):
        if bytes(call.fields.get(name, b"1")) not in (b"1", b"null"):
            raise Malformed(f"this model gives one answer at a time: leave {name} at 1, and send the request again")
    if call.op == "completions":
        prompt = msgspec.json.decode(call.fields.get("prompt", b"null"))
        if isinstance(prompt, list) and len(prompt) > 1 and not all(isinstance(token, int) for token in prompt):
            raise Malformed("this model continues one prompt at a time: send a request for each")
    if call.op == "embeddings" and bytes(call.fields.get("dimensions", b"null")) != b"null":
        raise Malformed("this model's embeddings have one length: leave dimensions out")


class Launcher:
    def need_mb(self, model: Path, settings: Settings) -> int:
        header = gguf.read(_file(model))
        cells = settings.limits.capacity * _context(header, settings)
        # A batch needs room for its logits, and for some activations of each of its tokens (measured, rounded up).
        scratch = BATCH * FLOAT_BYTES * (header.vocabulary + 16 * header.width)
        return OVERHEAD_MB + (_file(model).stat().st_size + cells * header.bytes_per_cell + scratch) // 2**20

    async def launch(self, name: str, model: Path, settings: Settings) -> Engine:
        file = _file(model)
        header = gguf.read(file)
        parameters = Parameters(
            path=str(file),
            name=name,
            slots=settings.limits.capacity,
            context=_context(header, settings),
            threads=settings.threads or _threads(file),
            embedding=name in settings.embeddings or header.is_encoder,
            pooled=header.pooled,
            prompt_cache=settings.prompt_cache == "shared",
        )
        command = [sys.executable, "-m", "serving.engines.llamacpp_child", SOCKET]
        command.append(msgspec.json.encode(parameters).decode())
        pulse = Pulse("/metrics", settings.stall_timeout_s + TURN_S_PER_GB * file.stat().st_size / 2**30)
        cause = "the file is damaged, or too new for llama.cpp"
        child = Child(name, command, settings.load_timeout_s, cause, pulse, most_calls=2 * settings.limits.capacity)
        await child.start()
        return LlamaCpp(child, settings)


def _context(header: gguf.Header, settings: Settings) -> int:
    trained = header.context or DEFAULT_CONTEXT
    return min(settings.context or DEFAULT_CONTEXT, trained)


def _threads(file: Path) -> int:
    return 1 if file.stat().st_size < ONE_THREAD_MB * 2**20 else len(os.sched_getaffinity(0))


def _file(model: Path) -> Path:
    """The one .gguf that `model` is or holds. Raises: BadModel."""
    if model.is_file():
        return model
    found = sorted(model.glob("*.gguf")) if model.is_dir() else []
    if len(found) == 1:
        return found[0]
    if not model.exists():
        raise BadModel(f"there is no model at {model}")
    raise BadModel(f"{model} holds {len(found)} .gguf files; exactly one is needed")
