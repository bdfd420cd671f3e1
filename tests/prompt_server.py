"""uvicorn in a thread of a test."""

import asyncio
import threading

import uvicorn


class PromptServer(uvicorn.Server):
    """It says when it is up, and ends as soon as it is told: uvicorn's own looks only ten times in a second."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = threading.Event()

    async def main_loop(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._told = asyncio.Event()
        await self.on_tick(0)
        self.up.set()
        await self._told.wait()

    def stop(self) -> None:
        """From any thread, once it is up."""
        self._loop.call_soon_threadsafe(self._told.set)
