"""The way out. An enclave has no network: its loopback leads, over vsock, to the parent's `vsock-proxy`.

For each region KMS's own name is put on an address of the loopback, where this program forwards port 443 to the
parent. TLS is not ended here, so the client still checks KMS's real name, and the parent carries ciphertext. The
instance's metadata service (IMDS), plain HTTP, gives the role's credentials: the parent could use them anyway.
"""

import fcntl
import os
import socket
import struct
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from enclave.configuration import ParentPorts

PARENT_CID = 3  # https://docs.aws.amazon.com/enclaves/latest/user/nitro-enclave-concepts.html#term-socket
HTTPS = 443
IMDS_ADDRESS = ("127.0.0.1", 1338)
CONNECT_S = 2.0
IDLE_S = 120.0
PIECE_BYTES = 65_536
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 0x1

Connect = Callable[[int], socket.socket]
"""A connection to this port of the parent. Raises OSError."""


class Route(NamedTuple):
    here: tuple[str, int]
    parent_port: int


def forward_kms_and_imds(ports: ParentPorts, names: Mapping[str, str], hosts: Path = Path("/etc/hosts")) -> None:
    """From now on KMS (`names`: its host's by region) and IMDS are reached as over a network. Raises OSError.

    To be called before anything looks for credentials.
    """
    bring_loopback_up()
    addresses = {region: f"127.0.1.{number}" for number, region in enumerate(names, start=1)}
    with hosts.open("a") as known:
        known.writelines(f"{addresses[region]} {name}\n" for region, name in names.items())
    os.environ["AWS_EC2_METADATA_SERVICE_ENDPOINT"] = "http://{}:{}".format(*IMDS_ADDRESS)
    forward(Route(IMDS_ADDRESS, ports.imds))
    for region, address in addresses.items():
        forward(Route((address, HTTPS), ports.kms[region]))


def forward(route: Route, connect: Connect | None = None) -> socket.socket:
    """Listen and forward, on threads of its own, until the returned socket is closed. Raises OSError."""
    listener = socket.create_server(route.here)
    threading.Thread(target=_accept, args=(listener, route.parent_port, connect or _to_parent), daemon=True).start()
    return listener


def bring_loopback_up() -> None:
    """As `ip link set lo up`; the kernel then gives it 127.0.0.0/8. Raises OSError."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sH14x", b"lo", 0)
        (flags,) = struct.unpack_from("H", fcntl.ioctl(any_socket, _SIOCGIFFLAGS, request), 16)
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", flags | _IFF_UP))


def _accept(listener: socket.socket, port: int, connect: Connect) -> None:
    with suppress(OSError):  # the socket was closed
        while True:
            near, _ = listener.accept()
            threading.Thread(target=_carry, args=(near, port, connect), daemon=True).start()


def _carry(near: socket.socket, port: int, connect: Connect) -> None:
    with near, suppress(OSError), connect(port) as far:
        back = threading.Thread(target=_pump, args=(far, near), daemon=True)
        back.start()
        _pump(near, far)
        back.join()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    """Until either end closes; the other is told."""
    with suppress(OSError):
        while piece := source.recv(PIECE_BYTES):
            sink.sendall(piece)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def _to_parent(port: int) -> socket.socket:
    far = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
    far.settimeout(CONNECT_S)
    try:
        far.connect((PARENT_CID, port))
    except OSError:
        far.close()
        raise
    far.settimeout(IDLE_S)
    return far
