"""Serving an ASGI application on a socket that is bound already, and saying when."""

import json
import os
import socket
from typing import Any

import uvicorn

from emulators import sockets


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, ready_fd: int, ready: dict[str, str]) -> None:
        super().__init__(config)
        self._ready_fd = ready_fd
        self._told = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            tell(self._ready_fd, self._told)


def serve(application: Any, listening: socket.socket, *, drain_s: int, ready_fd: int, ready: dict[str, str]) -> None:
    """Serve until SIGTERM or SIGINT; running requests then have `drain_s` to end. `ready_fd`, `ready`: see serve_by."""
    config = uvicorn.Config(
        application,
        http="httptools",
        ws="none",
        access_log=False,
        log_level="warning",
        server_header=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=drain_s,
    )
    serve_by(config, listening, ready_fd=ready_fd, ready=ready)


def serve_by(config: uvicorn.Config, listening: socket.socket, *, ready_fd: int, ready: dict[str, str]) -> None:
    """Serve until SIGTERM or SIGINT.

    As soon as requests are answered, `ready` and the URL are written to `ready_fd` as one line of JSON.
    """
    _Server(config, ready_fd, {"url": sockets.url(listening)} | ready).run(sockets=[listening])


def tell(ready_fd: int, told: dict[str, str]) -> None:
    """What the supervisor waits for: one line of JSON."""
    os.write(ready_fd, json.dumps(told).encode() + b"\n")
