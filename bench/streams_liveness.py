"""Asks a gateway whether it lives, and how it is: `python -m bench.streams_liveness PORT`, until standard input ends.

A process of its own, for the client of a thousand streams has no time to tell how long one answer took. Writes how long
the slowest answer of each of PATHS took, in milliseconds.
"""

import socket
import sys
import time
from select import select

EVERY_S = 0.25
PATHS = ("/live", "/health")


def asked_ms(port: int, path: str) -> float:
    """On a connection of its own, as a balancer asks. Raises OSError, where it is not 200."""
    began = time.perf_counter()
    with socket.create_connection(("127.0.0.1", port)) as wire:
        wire.sendall(b"GET %b HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n" % path.encode())
        head = wire.recv(4_096)
        if not head.startswith(b"HTTP/1.1 200"):
            raise OSError(head[:100])
        while wire.recv(4_096):
            pass
    return (time.perf_counter() - began) * 1_000


def main(port: int) -> None:
    slowest = {path: asked_ms(port, path) for path in PATHS}
    print("asking", flush=True)
    while not select([sys.stdin], [], [], EVERY_S)[0]:
        for path in PATHS:
            slowest[path] = max(slowest[path], asked_ms(port, path))
    print(*slowest.values(), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
