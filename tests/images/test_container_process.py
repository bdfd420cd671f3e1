"""An engine in a process of its own: what it is asked at once, and that it comes back."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from serving.engines.process import SOCKET, Child
from serving.refusal import EngineTimedOut, NoRoom
from tests.patience import PATIENCE_S

ENGINE = """
import asyncio, signal, sys

async def main():
    gate = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, gate.set)

    async def serve(reader, writer):
        if b"/slow" in await reader.readuntil(b"\\r\\n\\r\\n"):
            await gate.wait()
        writer.write(b"HTTP/1.1 200 OK\\r\\ncontent-length: 2\\r\\n\\r\\n{}")
        writer.close()

    async with await asyncio.start_unix_server(serve, sys.argv[1]) as server:
        await server.serve_forever()

asyncio.run(main())
"""


async def status(child: Child, path: str, silence_s: float = PATIENCE_S) -> int:
    async with child.ask("POST", path, b"{}", silence_s) as wire:
        return wire.status


def test_a_call_waits_while_the_engine_is_busy_with_one_whose_caller_has_left() -> None:
    async def ask() -> None:
        child = Child("slow", [sys.executable, "-c", ENGINE, SOCKET], PATIENCE_S, "", most_calls=1)
        await child.start()
        try:
            with pytest.raises(EngineTimedOut):
                await status(child, "/slow", silence_s=0.01)
            next_call = asyncio.create_task(status(child, "/fast"))
            done, _ = await asyncio.wait({next_call}, timeout=0.2)
            assert not done
            assert child.pid is not None
            os.kill(child.pid, signal.SIGUSR1)
            assert await next_call == 200
            assert [await status(child, "/fast") for _ in range(3)] == [200] * 3
        finally:
            await child.close()

    asyncio.run(ask())


def test_who_finds_no_room_in_time_is_told_when_to_come_back_and_not_that_the_engine_is_silent() -> None:
    async def ask() -> None:
        command = [sys.executable, "-c", ENGINE, SOCKET]
        child = Child("slow", command, PATIENCE_S, "", most_calls=1, room_timeout_s=0.01)
        await child.start()
        try:
            with pytest.raises(EngineTimedOut):
                await status(child, "/slow", silence_s=0.01)
            async with asyncio.timeout(PATIENCE_S):
                with pytest.raises(NoRoom) as refused:
                    await status(child, "/fast")
            assert refused.value.retry_after_s == 5
        finally:
            await child.close()

    asyncio.run(ask())


def test_an_engine_comes_back_when_for_a_while_no_process_could_be_started(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    killed: list[int] = []
    killpg = os.killpg

    def kill_group(group: int, number: int) -> None:
        killed.append(group)
        killpg(group, number)

    monkeypatch.setattr(os, "killpg", kill_group)
    program = tmp_path / "engine"
    program.symlink_to(sys.executable)

    async def deaths(number: int) -> None:
        said = ""
        async with asyncio.timeout(PATIENCE_S):
            while said.count("engine_died") < number:
                said += "".join(capfd.readouterr())
                await asyncio.sleep(0.01)

    async def kill_and_ask() -> None:
        child = Child("lost", [str(program), "-c", ENGINE, SOCKET], PATIENCE_S, "")
        await child.start()
        try:
            program.unlink()
            assert child.pid is not None
            os.kill(child.pid, signal.SIGKILL)
            await deaths(2)
            assert killed == [child.pid]  # never once more: the number may be another's by then
            program.symlink_to(sys.executable)
            async with asyncio.timeout(PATIENCE_S):
                while child.fault():
                    await asyncio.sleep(0.01)
            assert await status(child, "/fast") == 200
        finally:
            await child.close()

    asyncio.run(kill_and_ask())
