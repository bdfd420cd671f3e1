"""Questions to the enclave wait in a line of their own, and that is bounded."""

import asyncio
import contextlib
from pathlib import Path

import pytest

from local.sealing import PCR0, SealingFiles
from serving.refusal import EnclaveUnavailable
from serving.sealing.enclave import MOST_WAITING, Enclave
from serving.sealing.peer import peer_of
from serving.settings import EnclaveSettings


def test_no_more_questions_wait_than_may(tmp_path: Path) -> None:
    files = SealingFiles(tmp_path)
    settings = EnclaveSettings(f"unix:{files.socket}", files.container, files.root, (f"0={PCR0}",))

    async def crowd() -> None:
        silent = await asyncio.start_unix_server(lambda _reader, _writer: None, files.socket)
        enclave = Enclave(peer_of(settings))
        waiting = [asyncio.create_task(enclave.ask(b"question")) for _ in range(MOST_WAITING)]
        await asyncio.sleep(0)  # each has begun
        with pytest.raises(EnclaveUnavailable):
            await enclave.ask(b"one too many")
        for task in waiting:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        left = asyncio.create_task(enclave.ask(b"there is room again"))
        await asyncio.sleep(0)
        assert not left.done()
        left.cancel()
        silent.close()

    try:
        asyncio.run(crowd())
    finally:
        files.close()
