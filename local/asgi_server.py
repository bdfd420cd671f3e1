"""Serving an ASGI application on a socket that the supervisor has bound: no port is ever raced for."""

import socket
from collections.abc import Callable
from typing import Any

import uvicorn

LOOPBACK = "127.0.0.1"
_BACKLOG = 512


def listen(port: int) -> socket.socket:
    """A listening socket on loopback; port 0 takes any free one. Raises OSError where the port is in use."""
    # asyncio sets TCP_NODELAY only where the protocol is named; without it every answer waits 40 ms for an ACK.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    # Lets a system start again while the last one's connections linger; a port that is listened on stays refused.
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((LOOPBACK, port))
        listening.listen(_BACKLOG)
    except OSError:
        listening.close()
        raise
    return listening


def inherited(descriptor: int) -> socket.socket:
    """The socket that the parent process handed over."""
    return socket.socket(fileno=descriptor)


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._ready()


def serve(application: Any, listening: socket.socket, *, drain_s: int, ready: Callable[[], None]) -> None:
    """Serve until SIGTERM or SIGINT; running requests then have `drain_s` to end. `ready` is called once."""
    config = uvicorn.Config(
        application,
        http="httptools",
        ws="none",
        lifespan="auto",
        access_log=False,
        log_level="warning",
        server_header=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=drain_s,
    )
    _Server(config, ready).run(sockets=[listening])
