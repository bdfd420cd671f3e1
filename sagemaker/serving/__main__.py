"""`python -m serving`: read the settings, take the port, load the models, serve until told to stop.

Ends with 0 after SIGTERM or Ctrl-C, and with 2 and one sentence on standard error when it cannot begin.
"""

import asyncio
import os
import signal
import socket
import sys
from types import FrameType

import uvicorn

from serving import journal, settings
from serving.container import Container
from serving.engines import BadModel
from serving.engines.kinds import ENGINES
from serving.protocol import BoundedProtocol
from serving.refusal import Refusal
from serving.routes import build
from serving.settings import BadSettings, Settings

KEEP_ALIVE_S = 75  # longer than the gateway keeps an idle connection, so that it is never us who closes first
CUT_TIMEOUT_S = 3  # for what was cut to say so to its client


class Server(uvicorn.Server):
    """uvicorn, which tells the container as soon as the signal comes, not when the last connection has closed."""

    def __init__(self, config: uvicorn.Config, container: Container) -> None:
        super().__init__(config)
        self._container = container
        self._loop = asyncio.get_running_loop()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        self._loop.call_soon_threadsafe(self._container.stop, self._container.settings.grace_s)


def main() -> int:
    # uvicorn repeats the signal that ended it, for a parent that looks at how we ended: 0 is what we want it to see.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _ignore)
    try:
        wanted = settings.read(sys.argv[1:], os.environ)
        return asyncio.run(_serve(wanted, _listen(wanted)))
    except (BadSettings, BadModel) as error:
        sys.stderr.write(f"cannot start: {error}\n")
        return 2


async def _serve(wanted: Settings, listener: socket.socket) -> int:
    launcher = ENGINES[wanted.engine]
    for _, path in wanted.models:
        launcher.need_mb(path, wanted)  # a missing file is known at once, before anything is started
    container = Container(wanted, launcher)
    container.loading = True
    config = uvicorn.Config(
        build(container),
        http=BoundedProtocol,
        loop="asyncio",
        lifespan="off",
        ws="none",
        access_log=False,
        log_level="error",
        server_header=False,
        date_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=wanted.grace_s + CUT_TIMEOUT_S,
    )
    server = Server(config, container)
    loading = asyncio.create_task(_load(container, server, listener.getsockname()[1]))
    try:
        await server.serve([listener])
        return loading.result() if loading.done() else 0  # told to stop before everything was loaded
    finally:
        loading.cancel()
        await asyncio.wait([loading])
        await container.close()
        journal.event("stopped", instance=wanted.instance)


async def _load(container: Container, server: Server, port: int) -> int:
    """/ping answers 503 `loading` meanwhile. A model that does not load ends the container."""
    wanted = container.settings
    try:
        for name, path in wanted.models:
            await container.models.load(name, str(path))
    except Refusal as error:
        sys.stderr.write(f"cannot start: {error.message}\n")
        server.should_exit = True
        return 2
    container.loading = False
    journal.event("ready", instance=wanted.instance, port=port, models=len(wanted.models))
    return 0


def _listen(wanted: Settings) -> socket.socket:
    """Taken before any model is loaded: a port in use is known in milliseconds. Raises: BadSettings."""
    family = socket.AF_INET6 if ":" in wanted.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # named: else asyncio leaves Nagle on
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((wanted.host, wanted.port))
        listener.listen(1024)
    except OSError as error:
        listener.close()
        raise BadSettings(f"port {wanted.port} on {wanted.host}: {error.strerror}") from None
    except OverflowError:
        listener.close()
        raise BadSettings(f"{wanted.port} is not a port") from None
    listener.setblocking(False)
    return listener


def _ignore(number: int, frame: FrameType | None) -> None:
    """See `main`."""


if __name__ == "__main__":
    sys.exit(main())
