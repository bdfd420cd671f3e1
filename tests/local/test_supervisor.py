"""What ends is started again, as it was, and not for ever."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from emulators.sockets import listen
from local import processes
from local.supervisor import SHORT_LIFE_S, Part, Stopped, Supervisor
from tests.patience import PATIENCE_S

READY = "import os, sys, time; os.write(int(sys.argv[sys.argv.index('--ready-fd') + 1]), b'{}\\n');"
WAITS = f"print('here', flush=True); {READY} time.sleep(1000)"
ENDS = f"{READY} sys.exit('no room')"
NEVER_READY = "import sys; sys.exit('no disk')"
POLITE = """import signal, time
signal.signal(signal.SIGTERM, lambda *_: exit(0))
print('here', flush=True)
time.sleep(1000)
"""
ECHOES = f"""{READY}
import socket
held = socket.socket(fileno=int(sys.argv[sys.argv.index('--fd') + 1]))
while True:
    client, _ = held.accept()
    client.sendall(client.recv(100))
    client.close()
"""


class Story:
    """A supervisor that does not pause, and whose clock stands still until it is moved."""

    def __init__(self, logs: Path, pauses_s: Sequence[float]) -> None:
        self.now_s = 0.0
        self.logs = logs
        self.changes: asyncio.Queue[None] = asyncio.Queue()
        self.supervisor = Supervisor(logs, lambda: self.changes.put_nowait(None), pauses_s, lambda: self.now_s)

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        os.kill(self.supervisor.running[name].pid, number)


@asynccontextmanager
async def story(logs: Path, *pauses_s: float) -> AsyncIterator[Story]:
    told = Story(logs, pauses_s)
    try:
        async with asyncio.timeout(PATIENCE_S):
            yield told
    finally:
        await told.supervisor.let_go()
        await processes.stop(told.supervisor.running.values(), patience_s=5)


def part(name: str, program: str, **more: Any) -> Part:
    return Part(name, ("-c", program), {"PATH": os.environ["PATH"]}, **more)


def test_what_is_killed_is_started_again_and_its_log_keeps_what_it_said(tmp_path: Path) -> None:
    async def scene() -> None:
        async with story(tmp_path, 0.0, 0.0) as told:
            (tmp_path / "part.log").write_text("of an earlier start\n")
            await told.supervisor.start(kept := part("part", WAITS))
            told.supervisor.keep([kept], [])
            first = told.supervisor.running["part"]
            told.kill("part")
            await told.changes.get()
            assert told.supervisor.running["part"].pid != first.pid
            assert (tmp_path / "part.log").read_text() == "here\nhere\n"

    asyncio.run(scene())


@pytest.mark.parametrize("program", [ENDS, NEVER_READY], ids=["ready before it ended", "never ready"])
def test_what_ends_again_and_again_ends_the_system_and_says_why(tmp_path: Path, program: str) -> None:
    async def scene() -> None:
        async with story(tmp_path, 0.0, 0.0) as told:
            begins = part("part", WAITS)
            await told.supervisor.start(begins)
            told.supervisor.keep([begins._replace(arguments=("-c", program))], [])
            told.kill("part")
            with pytest.raises(Stopped, match=r"no (room|disk).*started again 2 times, and never lived for 60 s"):
                await told.supervisor.watch()

    asyncio.run(scene())


def test_what_cannot_be_started_for_a_while_is_tried_again_like_what_ends(tmp_path: Path) -> None:
    async def scene() -> None:
        logs = tmp_path / "logs"
        logs.mkdir()
        async with story(logs, 0.0, 0.0) as told:
            await told.supervisor.start(kept := part("part", WAITS))
            descriptors = len(list(Path("/dev/fd").iterdir()))
            logs.rename(tmp_path / "away")
            told.supervisor.keep([kept], [])
            told.kill("part")
            with pytest.raises(Stopped, match=r"SIGKILL.*started again 2 times"):
                await told.supervisor.watch()
            assert len(list(Path("/dev/fd").iterdir())) <= descriptors

    asyncio.run(scene())


def test_what_has_lived_for_long_may_end_as_often_as_ever(tmp_path: Path) -> None:
    async def scene() -> None:
        async with story(tmp_path, 0.0) as told:
            await told.supervisor.start(kept := part("part", WAITS))
            told.supervisor.keep([kept], [])
            for _ in range(3):
                told.now_s += SHORT_LIFE_S
                told.kill("part")
                await told.changes.get()
            told.kill("part")  # before which it was ready at this very moment
            await told.changes.get()
            told.kill("part")
            with pytest.raises(Stopped, match="started again 1 times"):
                await told.supervisor.watch()

    asyncio.run(scene())


def test_whoever_connects_while_it_is_away_is_answered_when_it_is_back(tmp_path: Path) -> None:
    async def scene() -> None:
        with listen(0) as held:
            async with story(tmp_path, 0.0) as told:
                await told.supervisor.start(kept := part("part", ECHOES, listening=held))
                told.kill("part")
                await told.supervisor.running["part"].end()
                reader, writer = await asyncio.open_connection(*held.getsockname())
                writer.write(b"is anybody there?")
                told.supervisor.keep([kept], [])
                assert await reader.read() == b"is anybody there?"
                writer.close()

    asyncio.run(scene())


def test_a_container_that_was_told_to_stop_stays_stopped_and_one_that_crashed_does_not(tmp_path: Path) -> None:
    async def scene() -> None:
        async with story(tmp_path) as told:
            containers = [part(name, POLITE, reports=False) for name in ("polite", "crashing")]
            for each in containers:
                await told.supervisor.start(each)
                await said(told.logs / f"{each.name}.log", "here")
            told.supervisor.keep([], containers)
            stopped = told.supervisor.running["polite"]
            told.kill("polite", signal.SIGTERM)
            assert await stopped.end() == 0
            told.kill("crashing")
            await told.changes.get()
            assert told.supervisor.running["crashing"].running
            assert told.supervisor.running["polite"] is stopped

    asyncio.run(scene())


async def said(log: Path, words: str) -> None:
    while words not in log.read_text():
        await asyncio.sleep(0.01)


def test_what_ends_while_the_system_starts_ends_that_start(tmp_path: Path) -> None:
    async def scene() -> None:
        async with story(tmp_path) as told:
            await told.supervisor.start(part("part", WAITS))
            waiting = asyncio.ensure_future(told.supervisor.unless_one_ends(asyncio.Event().wait()))
            told.kill("part")
            with pytest.raises(Stopped, match="The part was killed by SIGKILL"):
                await waiting
            with pytest.raises(Stopped, match="The once stopped with status 1, saying: no disk"):
                await told.supervisor.do(part("once", NEVER_READY))

    asyncio.run(scene())
