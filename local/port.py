"""The gateway's port. Imports the standard library alone: a port in use is known before anything is installed."""

import socket

from emulators.sockets import listen


class PortUnusable(Exception):
    """The text is one sentence for the person at the terminal."""


def listen_or_say(port: int) -> socket.socket:
    """A listening socket on it. Raises PortUnusable."""
    try:
        return listen(port)
    except OSError as error:
        another = port + 1 if 1024 <= port < 65_535 else 8001
        raise PortUnusable(
            f'Port {port} cannot be used: {error.strerror}; name another: make run ARGS="--port {another}"'
        ) from None
