"""Keeps processes running: starts them, hears when they are ready, and starts again what has ended.

A socket that a process listens on is the supervisor's as well. So its port is never anybody else's, and whoever
connects while it is gone waits until it is back.
"""

import asyncio
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn, TypeVar

from local import layout, processes
from local.processes import Process

LOOK_AROUND_S = 0.5  # how soon a process that was started meanwhile is watched, too
START_DEADLINE_S = 90
SHORT_LIFE_S = 60.0
PAUSES_S = (0.0, 1.0, 2.0, 4.0)
"""Before each start that follows a short life. After one more such life no start will help."""
CONTAINER_PAUSES_S = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
"""The last one again and again: the system can be without a container."""
TOLD_TO_STOP = {0, -signal.SIGTERM}  # the second one where the signal came before the process listened to it

T = TypeVar("T")


class Stopped(Exception):
    """A process that the system cannot be without has ended. The text is one sentence, or two."""


class Part(NamedTuple):
    """A process, as it is started the first time and every time after."""

    name: str
    arguments: tuple[str, ...]  # of the Python that runs us
    env: Mapping[str, str]
    listening: socket.socket | None = None  # handed over as `--fd`
    descriptors: tuple[int, ...] = ()  # inherited besides
    reports: bool = True  # writes a line of JSON to `--ready-fd` when it is ready


class Supervisor:
    """`changed` is called when a process has been started again."""

    def __init__(
        self,
        logs: Path,
        changed: Callable[[], None],
        pauses_s: Sequence[float] = PAUSES_S,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.running: dict[str, Process] = {}
        self._logs = logs
        self._changed = changed
        self._pauses_s = pauses_s
        self._now_s = now_s
        self._ready_s: dict[str, float] = {}  # since when; not of one that has not been
        self._passing: set[str] = set()
        self._watchers: list[asyncio.Task[None]] = []

    async def start(self, part: Part) -> dict[str, str]:
        """What it says when it is ready. Raises Stopped where it ends before."""
        self._ready_s.pop(part.name, None)
        ready = await self._start(part)
        self._ready_s[part.name] = self._now_s()
        return ready

    async def _start(self, part: Part) -> dict[str, str]:
        if not part.reports:
            await self._begin(part, part.arguments, part.descriptors)
            return {}
        told, tell = os.pipe()
        arguments = [*part.arguments, "--ready-fd", str(tell)]
        inherited = [tell, *part.descriptors]
        if part.listening is not None:
            arguments += ["--fd", str(part.listening.fileno())]
            inherited.append(part.listening.fileno())
        try:
            process = await self._begin(part, arguments, inherited)
        except BaseException:
            os.close(told)
            raise
        finally:
            os.close(tell)
        line = await asyncio.get_running_loop().run_in_executor(None, _read_line, told)
        if not line:
            await process.end()
            raise Stopped(f"The {part.name} {process.ended()}.")
        ready: dict[str, str] = json.loads(line)
        return ready

    async def do(self, part: Part) -> dict[str, str]:
        """Start a process that does one thing, and wait until it has done it. What it said. Raises Stopped."""
        self._passing.add(part.name)
        told = await self.start(part)
        process = self.running[part.name]
        if await process.end() != 0:
            raise Stopped(f"The {part.name} {process.ended()}.")
        del self.running[part.name]
        return told

    async def unless_one_ends(self, wanted: Awaitable[T]) -> T:
        """The result of `wanted`. Raises Stopped when a process that was started for good has ended."""
        task = asyncio.ensure_future(wanted)
        try:
            while not task.done():
                needed = {each.exited: each for each in self.running.values() if each.name not in self._passing}
                await asyncio.wait({task, *needed}, timeout=LOOK_AROUND_S, return_when=asyncio.FIRST_COMPLETED)
                for exited, process in needed.items():
                    if exited.done() and not task.done():
                        raise Stopped(f"The {process.name} {process.ended()}.")
            return task.result()
        finally:
            if task.cancel():
                await asyncio.wait({task})

    def keep(self, needed: Sequence[Part], containers: Sequence[Part]) -> None:
        """From now on, start again what ends: containers only where they were not told to."""
        self._watchers = [asyncio.create_task(self._keep(part)) for part in needed]
        self._watchers += [asyncio.create_task(self._keep_until_told(part)) for part in containers]

    async def watch(self) -> NoReturn:
        """Raises Stopped where one that is needed has ended again and again."""
        ended, _ = await asyncio.wait(self._watchers, return_when=asyncio.FIRST_EXCEPTION)
        for each in ended:
            each.result()
        raise AssertionError("what is needed is watched for good")

    async def let_go(self) -> None:
        """Start nothing any more."""
        for watcher in self._watchers:
            watcher.cancel()
        await asyncio.gather(*self._watchers, return_exceptions=True)

    async def _keep(self, part: Part) -> None:
        short_lives = 0
        while True:
            process, short_lives = await self._life(part, short_lives)
            if short_lives > len(self._pauses_s):
                raise Stopped(
                    f"The {part.name} {process.ended()}. It had been started again {len(self._pauses_s)} times, and "
                    f"never lived for {SHORT_LIFE_S:.0f} s."
                )
            await self._start_again(part, process, 0.0 if short_lives == 0 else self._pauses_s[short_lives - 1])

    async def _keep_until_told(self, part: Part) -> None:
        short_lives = 0
        while True:
            process, short_lives = await self._life(part, short_lives)
            if await process.end() in TOLD_TO_STOP:
                _say(f"The {part.name} was told to stop, and stays so until the system is started again.")
                return
            pause = min(max(short_lives, 1), len(CONTAINER_PAUSES_S)) - 1
            await self._start_again(part, process, CONTAINER_PAUSES_S[pause])

    async def _life(self, part: Part, short_lives: int) -> tuple[Process, int]:
        """The process once it has ended, and how many in a row had a short life by then."""
        process = self.running[part.name]
        await process.end()
        ready_s = self._ready_s.get(part.name)
        long = ready_s is not None and self._now_s() - ready_s >= SHORT_LIFE_S
        return process, 0 if long else short_lives + 1

    async def _start_again(self, part: Part, ended: Process, pause_s: float) -> None:
        when = f"in {pause_s:.0f} s" if pause_s else "at once"
        _say(f"The {part.name} {ended.ended()}; it is started again {when}.")
        await asyncio.sleep(pause_s)
        try:
            async with asyncio.timeout(START_DEADLINE_S):
                await self.start(part)
        except (Stopped, OSError):  # OSError: no process can be started now
            return  # it has ended once more, as whoever watches it will find
        except TimeoutError:
            self.running[part.name].signal(signal.SIGKILL)
            return
        self._changed()
        _say(f"The {part.name} runs again.")

    async def _begin(self, part: Part, arguments: Sequence[str], descriptors: Sequence[int]) -> Process:
        log = self._logs / f"{part.name}.log"
        if part.name not in self.running:
            log.unlink(missing_ok=True)  # of an earlier start of the system
        process = await processes.start(
            part.name,
            [sys.executable, *arguments],
            directory=layout.ROOT,
            env=part.env,
            log=log,
            descriptors=descriptors,
        )
        self.running[part.name] = process
        return process


def _read_line(descriptor: int) -> str:
    with os.fdopen(descriptor, encoding="utf-8") as told:
        return told.readline()


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)
