"""vLLM as a child process: the production engine on GPUs."""

import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from serving.engines import BadModel, Engine, Reply
from serving.engines.process import SOCKET, Child
from serving.request import ENGINE_PATHS, Call
from serving.settings import Settings

# Weights in GPU memory are counted as files; what vLLM takes beyond them is bounded by its own flags.
OVERHEAD_MB = 1024


class Vllm:
    def __init__(self, child: Child, name: str, settings: Settings) -> None:
        self._child = child
        self._name = name
        self._settings = settings

    @asynccontextmanager
    async def open(self, call: Call) -> AsyncIterator[Reply]:
        silence_s = self._settings.idle_timeout_s if call.stream else self._settings.request_timeout_s
        overrides: dict[str, object] = {"model": self._name}  # vLLM knows the model by the name it was started with
        if call.op != "embeddings":
            # Prefixes are shared only inside one tenant: nobody can probe by timing what another has asked.
            overrides["cache_salt"] = call.attributes.tenant or None
        async with self._child.ask("POST", ENGINE_PATHS[call.op], call.body(overrides), silence_s) as wire:
            yield wire

    def fault(self) -> str | None:
        return self._child.fault()

    async def close(self) -> None:
        await self._child.close()


class Launcher:
    def need_mb(self, model: Path, _settings: Settings) -> int:
        if not (model / "config.json").is_file():
            raise BadModel(f"there is no Hugging Face model (config.json, *.safetensors) in {model}")
        weights = sum(file.stat().st_size for file in model.glob("*.safetensors"))
        if not weights:
            raise BadModel(f"there are no *.safetensors in {model}")
        return OVERHEAD_MB + weights // 2**20

    async def launch(self, name: str, model: Path, settings: Settings) -> Engine:
        program = Path(sys.executable).with_name("vllm")
        found = str(program) if program.exists() else shutil.which("vllm")
        if found is None:
            raise BadModel("the program `vllm` is not installed in this image")
        command = [
            sys.executable,
            "-m",
            "serving.engines.orphan_guard",
            found,
            "serve",
            str(model),
            "--uds",
            SOCKET,
            "--served-model-name",
            name,
        ]
        command += ["--max-num-seqs", str(settings.limits.capacity), "--disable-uvicorn-access-log"]
        if settings.context:
            command += ["--max-model-len", str(settings.context)]
        if name in settings.embeddings:
            command += ["--runner", "pooling"]
        child = Child(name, [*command, *settings.engine_args], settings.load_timeout_s, "vLLM ended without a word")
        await child.start()
        return Vllm(child, name, settings)
