"""uvicorn as the gateway runs it, wherever it serves HTTP by itself.

    python -m chalicelib.http.server --port 8080 [--host 127.0.0.1]

Behind the Lambda Web Adapter (`stream.sh`), in a container, or on a machine of one's own; the local system serves by
`config`, too. Ends with 2 and one sentence on standard error where it cannot begin.
"""

import argparse
import gc
import resource
import socket
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import uvicorn

from chalicelib.http.protocol import BoundedProtocol, Connections

KEEP_ALIVE_S = 75
"""Longer than those keep a connection who stand before us (the adapter 4 s, AWS's balancers 60), so that it is never
we who close one that is just being taken."""

DRAIN_S = 20
"""For what runs when we are told to stop. Orchestrators kill after 30 s."""

BACKLOG = 1_024

# Whoever vanishes without a word (a phone in a tunnel, a balancer that died) is noticed within two minutes.
VANISHED = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 4}

YOUNG = 10_000
"""So many new objects are looked through for garbage in cycles, of which requests leave little. By Python's own 700, a
thousand streams that began at once all stood still together, up to 0.16 s, while everything was looked at."""

SPARE_FILES = 128
"""For what is neither a client's connection nor its request's to an engine."""


def config(
    application: Callable[..., Any], *, connections: Connections, drain_s: int = DRAIN_S, **options: Any
) -> uvicorn.Config:
    """How uvicorn serves it; `options`: uvicorn's own, besides."""
    return uvicorn.Config(
        application,
        http=partial(BoundedProtocol, connections),  # type: ignore[arg-type]
        loop="asyncio",
        ws="none",
        access_log=False,
        log_level="error",  # a line for each nonsense that somebody sends would be theirs to write
        server_header=False,
        proxy_headers=False,  # see `hops`
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=drain_s,
        **options,
    )


def watched(listening: socket.socket) -> socket.socket:
    """The same socket, whose connections notice that their client has vanished."""
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)  # what is accepted inherits it
    for name, value in VANISHED.items():
        if hasattr(socket, name):  # not all of them everywhere
            listening.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return listening


def that_fit(wanted: int) -> int:
    """How many of the wanted connections the process may have files for, each with one of its request to an engine.

    The process's own bound is lifted as far as it may lift it.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = 2 * wanted + SPARE_FILES
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return wanted if soft == resource.RLIM_INFINITY else max(1, min(wanted, (soft - SPARE_FILES) // 2))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m chalicelib.http.server")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--drain-s", type=int, default=DRAIN_S, help="for what runs when it is told to stop")
    options = parser.parse_args()

    from chalicelib import wiring  # after the flags: --help should not take half a second
    from chalicelib.http import bridge
    from chalicelib.settings import BadSettings

    try:
        connections = Connections(most=that_fit(wiring.settings().connections))
        listening = _listen(options.host, options.port)
    except (BadSettings, OSError, OverflowError) as error:
        sys.stderr.write(f"cannot start: {error}\n")
        return 2
    serving = config(bridge.build(), connections=connections, drain_s=options.drain_s)
    gc.freeze()  # what is there now stays as long as we do
    gc.set_threshold(YOUNG)
    uvicorn.Server(serving).run(sockets=[watched(listening)])
    return 0


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # named: else asyncio leaves Nagle on
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(BACKLOG)
    except (OSError, OverflowError):
        listening.close()
        raise
    return listening


if __name__ == "__main__":
    sys.exit(main())
