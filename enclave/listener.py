"""Where containers come in: `vsock:PORT` in an enclave, `unix:PATH` on one machine."""

import socket
from contextlib import suppress
from pathlib import Path

_BACKLOG = 64


class BadAddress(Exception):
    """The text says what an address looks like."""


def listen(address: str) -> socket.socket:
    """A listening socket. Raises BadAddress, OSError."""
    kind, _, where = address.partition(":")
    if kind == "unix" and where:
        return _unix(where)
    if kind == "vsock" and where.isdecimal():
        return _listen(socket.AF_VSOCK, (socket.VMADDR_CID_ANY, int(where)))
    raise BadAddress(f"{address!r} is no address: say vsock:PORT or unix:PATH.")


def _unix(path: str) -> socket.socket:
    with suppress(FileNotFoundError):
        Path(path).unlink()  # of an enclave that was killed
    return _listen(socket.AF_UNIX, path)


def _listen(family: int, address: str | tuple[int, int]) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener
