"""Processes never outlive the one that started them."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from local import processes
from local.processes import Process
from tests.local.pids import await_gone

# Starts a process of its own, tells both ids and waits; `deaf` ignores SIGTERM.
FAMILY = """
import os, signal, subprocess, sys, time
if "deaf" in sys.argv: signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen(["sleep", "1000"])
os.write(int(sys.argv[1]), f"{os.getpid()} {child.pid}\\n".encode())
time.sleep(1000)
"""

SUPERVISOR = """
import asyncio, os, sys
from pathlib import Path
from local import processes
CHILD = "import os, time; os.write(%d, b'%%d\\\\n' %% os.getpid()); time.sleep(1000)"
async def main():
    await processes.start("child", [sys.executable, "-c", CHILD], directory=Path.cwd(), env=os.environ,
        log=Path(os.devnull), descriptors=[%d])
    await asyncio.Event().wait()
asyncio.run(main())
"""


async def _family(tmp_path: Path, *arguments: str) -> tuple[Process, list[int]]:
    told, tell = os.pipe()
    command = [sys.executable, "-c", FAMILY, str(tell), *arguments]
    process = await processes.start(
        "family", command, directory=tmp_path, env=os.environ, log=tmp_path / "log", descriptors=[tell]
    )
    os.close(tell)
    with os.fdopen(told) as line:
        return process, [int(word) for word in line.readline().split()]


@pytest.mark.parametrize("manners", ["polite", "deaf"])
def test_stopping_leaves_nobody_behind(tmp_path: Path, manners: str) -> None:
    async def story() -> None:
        process, family = await _family(tmp_path, manners)
        await processes.stop([process], patience_s=0.3 if manners == "deaf" else 5)
        assert not process.running
        await_gone(family)

    asyncio.run(story())


def test_who_no_longer_waits_for_a_process_does_not_make_it_gone(tmp_path: Path) -> None:
    async def story() -> None:
        process, family = await _family(tmp_path)
        waiting = asyncio.create_task(process.end())
        await asyncio.wait({waiting}, timeout=0)
        waiting.cancel()
        await asyncio.wait({waiting})

        assert process.running
        await processes.stop([process], patience_s=5)
        await_gone(family)

    asyncio.run(story())


def test_what_a_dead_process_had_started_ends_with_it(tmp_path: Path) -> None:
    async def story() -> None:
        process, (parent, child) = await _family(tmp_path)
        os.kill(parent, signal.SIGKILL)
        await process.end()
        await_gone([child])
        assert process.ended() == f"was killed by SIGKILL ({tmp_path / 'log'})"

    asyncio.run(story())


def test_how_a_process_ended_is_told_with_its_last_words(tmp_path: Path) -> None:
    async def story() -> None:
        command = [sys.executable, "-c", "import sys; print('first'); print('no room'); sys.exit(3)"]
        log = tmp_path / "log"
        process = await processes.start("p", command, directory=tmp_path, env=os.environ, log=log)
        await process.end()
        assert process.ended() == f"stopped with status 3, saying: no room ({log})"

    asyncio.run(story())


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG")
def test_a_supervisor_that_is_killed_takes_its_processes_along() -> None:
    told, tell = os.pipe()
    supervisor = subprocess.Popen(
        [sys.executable, "-c", SUPERVISOR % (tell, tell)], pass_fds=[tell], cwd=Path(__file__).parents[2]
    )
    os.close(tell)
    with os.fdopen(told) as line:
        child = int(line.readline())

        supervisor.kill()
        supervisor.wait()

    await_gone([child])
