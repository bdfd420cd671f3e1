"""Ports that are never raced for: whoever is to serve is handed a socket, or a port that only it can take."""

import argparse
import socket

LOOPBACK = "127.0.0.1"
_BACKLOG = 512


def listen(port: int) -> socket.socket:
    """A listening socket on loopback; port 0 takes any free one. Raises OSError where the port is in use."""
    listening = _socket()
    try:
        listening.bind((LOOPBACK, port))
        listening.listen(_BACKLOG)
    except OSError:
        listening.close()
        raise
    return listening


def reserve() -> socket.socket:
    """A free port for a process that binds by itself: bound, so that nobody else is given it; not listened on, so
    that one may. It must be held as long as the port is needed."""
    held = _socket()
    held.bind((LOOPBACK, 0))
    return held


def inherited(descriptor: int) -> socket.socket:
    """The socket that the parent process handed over."""
    return socket.socket(fileno=descriptor)


def port_number(text: str) -> int:
    """A port as a command line takes it. Raises ArgumentTypeError."""
    if not (text.isdigit() and int(text) < 65_536):
        raise argparse.ArgumentTypeError(f"{text!r} is not a port")
    return int(text)


def url(bound: socket.socket) -> str:
    return f"http://{LOOPBACK}:{bound.getsockname()[1]}"


def _socket() -> socket.socket:
    # asyncio sets TCP_NODELAY only where the protocol is named; without it every answer waits 40 ms for an ACK.
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    # Lets a system start again while the last one's connections linger; a port that is listened on stays refused.
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return made
