"""A child process that serves one model over HTTP on a private Unix socket.

Both llama.cpp and vLLM run this way, for reasons found by trying: xllamacpp holds Python's global lock while a model
loads and replaces the process's signal handlers, so inside our process `/ping` would hang; a failed assertion in an
engine aborts its whole process, which must not be the one that holds the other models; and when a process ends, its
memory is really free.
"""

import asyncio
import os
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import bounds
from serving import journal
from serving.engines import BadModel
from serving.engines.loopback import Wire, exchange
from serving.refusal import EngineFailed, EngineTimedOut, NoRoom

HEALTH_EVERY_S = 0.05
PULSE_EVERY_S = 1.0
STOP_TIMEOUT_S = 5.0
# Sooner than whoever asks us takes our silence for a model that has died, which it has not.
ROOM_TIMEOUT_S = 20.0
ROOM_RETRY_MS = 5_000
# The first time at once, and ever more slowly while it keeps dying; but never given up, or whoever finds a request that
# kills an engine could switch a model off for good by sending it a few times.
RESTART_PAUSES_S = (0.0, 1.0, 5.0, 15.0, 30.0)
STEADY_AFTER_S = 60.0
OUTPUT_TAIL_BYTES = 4096
# Stands in a command where the socket's path goes.
SOCKET = "{socket}"


class Pulse(NamedTuple):
    """How to tell that an engine's loop turns: a path that it answers between two turns only, and the longest turn."""

    path: str
    longest_turn_s: float


class Child:
    """One engine process: brought up, watched, brought back when it dies or stands still, ended for good by `close`."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        load_timeout_s: float,
        likely_cause: str,
        pulse: Pulse | None = None,
        most_calls: int | None = None,
        room_timeout_s: float = ROOM_TIMEOUT_S,
    ) -> None:
        """`pulse`: none where an engine has no such path. `most_calls`: that it is good for, those included whose
        caller has left and which it has not let go of; others wait here, so long. None: any number."""
        self.name = name
        self._pulse = pulse
        self._calls = 0
        self._free = asyncio.Semaphore(most_calls) if most_calls else None
        self._room_timeout_s = room_timeout_s
        # Set by a call, until the loop was seen to turn after the last one: what a call began may outlive it.
        self._busy = asyncio.Event()
        self._watchdog: asyncio.Task[None] | None = None
        self._folder = tempfile.TemporaryDirectory(prefix="cloister-")  # mode 0700: nobody else reaches the socket
        self.socket = Path(self._folder.name) / "engine.sock"
        self._command = [str(self.socket) if part == SOCKET else part for part in command]
        # Our own modules are found by the child too, whatever its working directory is.
        ours = (Path(__file__).parents[2], Path(bounds.__file__).parents[1])
        self._environ = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, ours)), "MALLOC_ARENA_MAX": "2"}
        self._load_timeout_s = load_timeout_s
        self._likely_cause = likely_cause  # what it means when the engine ends without a word
        self._process: asyncio.subprocess.Process | None = None
        self._group: int | None = None  # of the process, until it is ended: its number may be another's then
        self._supervisor: asyncio.Task[None] | None = None
        self._output: asyncio.Task[str] | None = None  # held, or it would be collected while it reads
        self._up = False

    async def start(self) -> None:
        """Raises: BadModel, when it does not come up."""
        try:
            await self._bring_up()
        except BaseException:
            await self.close()
            raise
        self._supervisor = asyncio.create_task(self._supervise())
        if self._pulse:
            self._watchdog = asyncio.create_task(self._watch(self._pulse))

    def fault(self) -> str | None:
        return None if self._up else "engine_restarting"

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    @asynccontextmanager
    async def ask(self, method: str, path: str, body: bytes, silence_s: float) -> AsyncIterator[Wire]:
        """Raises: EngineFailed, EngineTimedOut, NoRoom."""
        if not self._up:
            raise EngineFailed("the model's engine is not running")
        if self._free:
            await self._take_room(self._free)
        self._calls += 1
        self._busy.set()
        try:
            async with exchange(self.socket, method, path, body, silence_s, self._let_go) as wire:
                yield wire
        finally:
            self._calls -= 1

    async def _take_room(self, free: asyncio.Semaphore) -> None:
        try:
            async with asyncio.timeout(self._room_timeout_s):
                await free.acquire()
        except TimeoutError:
            text = "the model's engine is busy with calls whose callers have left; come back later"
            raise NoRoom(text, ROOM_RETRY_MS) from None

    def _let_go(self) -> None:
        if self._free:
            self._free.release()

    async def close(self) -> None:
        for task in (self._watchdog, self._supervisor):
            if task:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
        self._up = False
        await self._end()
        self._folder.cleanup()

    async def _bring_up(self) -> None:
        self.socket.unlink(missing_ok=True)
        began = time.monotonic()
        # A session of its own: Ctrl-C in a terminal must reach the container only, which then ends its children.
        # Its standard input is a pipe that we hold: it ends with us, even if we are killed.
        self._process = process = await asyncio.create_subprocess_exec(
            *self._command,
            env=self._environ,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        self._group = process.pid
        self._output = output = asyncio.create_task(_tail(process))
        while time.monotonic() - began < self._load_timeout_s:
            if process.returncode is not None:
                raise BadModel(f"model {self.name!r} did not load: {_last_line(await output) or self._likely_cause}")
            if await self._healthy():
                self._up = True
                return
            await asyncio.sleep(HEALTH_EVERY_S)
        raise BadModel(f"model {self.name!r} was not up after {self._load_timeout_s:.0f} s")

    async def _healthy(self) -> bool:
        try:
            async with exchange(self.socket, "GET", "/health", b"", 2.0) as wire:
                return wire.status == 200
        except (EngineFailed, EngineTimedOut):
            return False

    async def _supervise(self) -> None:
        """Bring the process back whenever it dies."""
        deaths = 0
        while True:
            assert self._process
            began = time.monotonic()
            code = await self._process.wait()
            self._up = False
            deaths = 1 if time.monotonic() - began > STEADY_AFTER_S else deaths + 1
            journal.event("engine_died", model=self.name, exit_code=code, deaths=deaths)
            await self._end()
            await asyncio.sleep(RESTART_PAUSES_S[min(deaths, len(RESTART_PAUSES_S)) - 1])
            try:
                await self._bring_up()
            except (BadModel, OSError):  # OSError: no process can be started now
                await self._end()  # it may be there and deaf: to the next turn it has died

    async def _watch(self, pulse: Pulse) -> None:
        """End the process when its loop stands still while it has work: nothing else would, and everybody waits."""
        while True:
            await self._busy.wait()
            await asyncio.sleep(PULSE_EVERY_S)
            had_calls = self._calls
            process = self._process
            if not self._up or process is None or await self._turns(pulse):
                if not had_calls and not self._calls:
                    self._busy.clear()
            elif process is self._process and process.returncode is None:
                self._up = False
                journal.event("engine_stalled", model=self.name, calls=self._calls)
                _signal(process.pid, signal.SIGKILL)

    async def _turns(self, pulse: Pulse) -> bool:
        # Once more, for it may have been we who stood still.
        for patience_s in (pulse.longest_turn_s, PULSE_EVERY_S):
            try:
                async with exchange(self.socket, "GET", pulse.path, b"", patience_s):
                    return True
            except EngineTimedOut:
                continue
            except EngineFailed:
                return True  # it has died, which the supervisor sees
        return False

    async def _end(self) -> None:
        """The whole process group, politely at first."""
        process = self._process
        if process is None:
            return
        if process.returncode is None:
            _signal(process.pid, signal.SIGTERM)
            with suppress(TimeoutError):
                async with asyncio.timeout(STOP_TIMEOUT_S):
                    await process.wait()
        if self._group is not None:
            _signal(self._group, signal.SIGKILL)  # what the leader left behind in it
            self._group = None
        await process.wait()


def _signal(group: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(group, number)


async def _tail(process: asyncio.subprocess.Process) -> str:
    """Pass the engine's own output on to our standard error, keeping the end of it for a load that fails."""
    assert process.stdout
    kept = b""
    while piece := await process.stdout.read(65536):
        sys.stderr.buffer.write(piece)
        sys.stderr.flush()
        kept = (kept + piece)[-OUTPUT_TAIL_BYTES:]
    return kept.decode(errors="replace")


def _last_line(output: str) -> str:
    return next((line.strip()[:300] for line in reversed(output.splitlines()) if line.strip()), "")
