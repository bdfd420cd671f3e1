"""Asks a gateway whether it lives: `python -m bench.streams_liveness PORT`, until its standard input ends.

A process of its own, for the client of a thousand streams has no time to tell how long one answer took. Writes how long
the slowest took, in milliseconds.
"""

import socket
import sys
import time
from select import select

EVERY_S = 0.25
WIRE = b"GET /live HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n"


def asked_ms(port: int) -> float:
    """On a connection of its own, as a balancer asks. Raises OSError, where it is not 200."""
    began = time.perf_counter()
    with socket.create_connection(("127.0.0.1", port)) as wire:
        wire.sendall(WIRE)
        head = wire.recv(4_096)
        if not head.startswith(b"HTTP/1.1 200"):
            raise OSError(head[:100])
        while wire.recv(4_096):
            pass
    return (time.perf_counter() - began) * 1_000


def main(port: int) -> None:
    slowest = asked_ms(port)
    print("asking", flush=True)
    while not select([sys.stdin], [], [], EVERY_S)[0]:
        slowest = max(slowest, asked_ms(port))
    print(slowest, flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
