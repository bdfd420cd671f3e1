"""Containers to test against: one inside this process on a scripted engine, and real ones as their own processes."""

import asyncio
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn

from serving.container import Container
from serving.engines import Engine
from serving.engines.scripted import Gate, Scripted
from serving.engines.scripted import Launcher as ScriptedLauncher
from serving.protocol import BoundedProtocol
from serving.routes import build
from serving.settings import Settings
from tests.patience import PATIENCE_S, until
from tests.prompt_server import PromptServer

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "sagemaker" / "models" / "demo"


class Answer:
    """A response that was read to its end."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        self.body = response.read()

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """Of an OpenAI error, whose shape is checked on the way."""
        error = self.json["error"]
        assert set(error) == {"message", "type", "code"}, error
        return str(error["code"])


class Client:
    """Talks to one port of this machine; every call on a connection of its own."""

    def __init__(self, port: int) -> None:
        self.port = port

    def open(
        self,
        method: str,
        path: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = PATIENCE_S,
    ) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)
        data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        connection.request(method, path, data, dict(headers or {}))
        return connection.getresponse()

    def call(self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None) -> Answer:
        return Answer(self.open(method, path, body, headers))

    def ping(self) -> Any:
        return self.call("GET", "/ping").json


class Recorded(ScriptedLauncher):
    """Scripted models, kept so that a test can look at them, behind a gate if there is one."""

    def __init__(self, gate: Gate | None) -> None:
        self.engines: dict[str, Scripted] = {}
        self._gate = gate

    async def launch(self, name: str, _model: Path, _settings: Settings) -> Engine:
        self.engines[name] = Scripted(name, self._gate) if self._gate else Scripted(name)
        return self.engines[name]


class House(Client):
    """A container in a thread of this process. `run` executes on its event loop."""

    def __init__(self, settings: Settings, gate: Gate | None) -> None:
        with socket.create_server(("127.0.0.1", 0)) as found:
            listener = found.dup()
        super().__init__(listener.getsockname()[1])
        self.launcher = Recorded(gate)
        self._listener = listener
        self._settings = settings
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    def run(self, action: Callable[[], None]) -> None:
        self.loop.call_soon_threadsafe(action)

    def start(self) -> None:
        self._thread.start()
        assert self._ready.wait(PATIENCE_S)
        assert self.server.up.wait(PATIENCE_S)

    def stop(self) -> None:
        self.server.stop()
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()

    async def _serve(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.container = Container(self._settings, self.launcher)
        for name, path in self._settings.models:
            await self.container.models.load(name, str(path))
        config = uvicorn.Config(
            build(self.container),
            http=BoundedProtocol,
            lifespan="off",
            ws="none",
            log_level="error",
            access_log=False,
            timeout_graceful_shutdown=1,
        )
        self.server = PromptServer(config)
        self._ready.set()
        await self.server.serve([self._listener])
        await self.container.close()


class Gatekeeper:
    """Lets tokens of a scripted engine out one by one, from any thread."""

    def __init__(self) -> None:
        self.waiting = threading.Semaphore(0)  # released each time a token has to wait at the gate
        self._lock = threading.Lock()
        self._passes = 0
        self._held: deque[asyncio.Future[None]] = deque()

    async def __call__(self, _index: int) -> None:
        with self._lock:
            if self._passes:
                self._passes -= 1
                return
            token = asyncio.get_running_loop().create_future()
            self._held.append(token)
        self.waiting.release()
        await token

    def let(self, tokens: int) -> None:
        with self._lock:
            self._passes += tokens
            while self._passes and self._held:
                self._passes -= 1
                token = self._held.popleft()
                token.get_loop().call_soon_threadsafe(self._pass, token)

    def shut(self) -> None:
        """Whatever it was told to let pass and has not come yet, waits."""
        with self._lock:
            self._passes = 0

    def _pass(self, token: "asyncio.Future[None]") -> None:
        if token.done():  # its call was cancelled: the pass is for the next
            self.let(1)
        else:
            token.set_result(None)


class Gated(House):
    """A container whose one model, `gated`, is scripted and asks `gate` before each token. Runs within its block."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        model = folder / "gated"
        model.touch()
        self.gate = Gatekeeper()
        super().__init__(Settings(models=(("gated", model),), engine="scripted", **settings), self.gate)

    def __enter__(self) -> "Gated":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def target(self) -> dict[str, Any]:
        """For a pool of the gateway's."""
        url = f"http://127.0.0.1:{self.port}/v1"
        return {"name": "gated", "engine": "openai_compatible", "model": "gated", "url": url}

    def await_rest(self) -> None:
        """Until it has noticed that callers have left: before that, what the gate lets pass may be theirs."""
        until(lambda: self.ping()["in_flight"] == 0)


class Process(Client):
    """`python -m serving …` as its users run it."""

    def __init__(self, *arguments: str, environ: Mapping[str, str] | None = None) -> None:
        super().__init__(port=0)  # it takes a free one, and says which when it is ready
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("CLOISTER_", "SAGEMAKER_"))}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "serving", "--host", "127.0.0.1", "--port", "0", *arguments],
            env={**clean, "PYTHONPATH": f"{ROOT / 'sagemaker'}{os.pathsep}{ROOT}", **(environ or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def ready(self) -> "Process":
        assert self.process.stdout
        for line in self.process.stdout:
            said = json.loads(line)
            if said["event"] == "ready":
                self.port = said["port"]
                return self
        raise AssertionError(self.process.communicate()[1])

    def finish(self) -> tuple[int, list[Any], str]:
        """Terminated if it still runs: its exit code, its journal from here on, and what it complained of."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.ended()

    def ended(self) -> tuple[int, list[Any], str]:
        """The same of a process that ends by itself."""
        out, err = self.process.communicate(timeout=PATIENCE_S)
        return self.process.returncode, [json.loads(line) for line in out.splitlines()], err


@contextmanager
def process(*arguments: str, environ: Mapping[str, str] | None = None) -> Iterator[Process]:
    each = Process(*arguments, environ=environ)
    try:
        yield each
    finally:
        if each.process.poll() is None:
            each.finish()


def events(response: http.client.HTTPResponse) -> Iterator[str]:
    """The events and comments of a stream, each as it arrives."""
    text = ""
    while line := response.readline().decode():
        if line == "\n":
            yield text
            text = ""
        else:
            text += line.rstrip("\n")
    assert not text, "the stream ended inside an event"


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits to be noticed by its parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
