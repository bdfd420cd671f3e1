"""The Nitro security module, as the enclave sees it: `/dev/nsm`, one ioctl, CBOR in and out.

Layout and names follow AWS's aws-nitro-enclaves-nsm-api (src/driver, src/api) and Linux's <linux/nsm.h>.
"""

import ctypes
import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import cbor2

from sealed import cbor
from sealed.refusal import DocumentRefused

DEVICE = Path("/dev/nsm")
REQUEST_MOST_BYTES = 0x1000
RESPONSE_MOST_BYTES = 0x3000
RAW_MESSAGE = 0xC020_0A00
"""_IOWR(0x0A, 0, struct nsm_raw): two iovecs of 16 bytes."""

Ioctl = Callable[[int, int, bytearray], int]
"""`fcntl.ioctl` of a device: (descriptor, request, the message, which the driver may change)."""


class ModuleFailed(Exception):
    """The security module did not do what it was asked. The text is for the log."""


class SecurityModule(Protocol):
    """What vouches for this enclave."""

    def attest(
        self, *, nonce: bytes | None = None, user_data: bytes | None = None, public_key: bytes | None = None
    ) -> bytes:
        """An attestation document that holds these; `nonce` and `user_data` up to 512 bytes, `public_key` 1,024.

        Raises ModuleFailed.
        """
        ...

    def random(self) -> bytes:
        """Some bytes of the module's own entropy. Raises ModuleFailed."""
        ...


class NitroSecurityModule:
    """The real one. Every call is one ioctl; the driver lets one at a time through, so threads may share this."""

    def __init__(self, descriptor: int, ioctl: Ioctl = fcntl.ioctl) -> None:
        self._descriptor = descriptor
        self._ioctl = ioctl

    @classmethod
    def open(cls) -> "NitroSecurityModule":
        """Raises OSError outside of an enclave."""
        return cls(os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC))

    def attest(
        self, *, nonce: bytes | None = None, user_data: bytes | None = None, public_key: bytes | None = None
    ) -> bytes:
        asked = {"Attestation": {"user_data": user_data, "nonce": nonce, "public_key": public_key}}
        return _bytes_of(self._call(asked), "Attestation", "document")

    def random(self) -> bytes:
        return _bytes_of(self._call("GetRandom"), "GetRandom", "random")

    def _call(self, asked: Any) -> Any:
        encoded = cbor2.dumps(asked)
        if len(encoded) > REQUEST_MOST_BYTES:
            raise ModuleFailed(f"A request of {len(encoded)} bytes is too large for the security module.")
        request = ctypes.create_string_buffer(encoded, len(encoded))
        response = ctypes.create_string_buffer(RESPONSE_MOST_BYTES)
        vectors = (ctypes.addressof(request), len(request), ctypes.addressof(response), len(response))
        message = bytearray(b"".join(number.to_bytes(8, "little") for number in vectors))
        try:
            self._ioctl(self._descriptor, RAW_MESSAGE, message)
        except OSError as error:
            raise ModuleFailed(f"The security module failed: {error.strerror}.") from error
        length = int.from_bytes(message[24:32], "little")
        try:
            return cbor.loads(response.raw[:length], most_bytes=RESPONSE_MOST_BYTES)
        except DocumentRefused as error:
            raise ModuleFailed(f"The security module's answer is not CBOR: {error.text}") from error


def _bytes_of(answer: Any, operation: str, field: str) -> bytes:
    match answer:
        case {"Error": str(why)}:
            raise ModuleFailed(f"The security module refused {operation}: {why}.")
        case dict() if isinstance(fields := answer.get(operation), dict) and isinstance(fields.get(field), bytes):
            found: bytes = fields[field]
            return found
        case _:
            raise ModuleFailed(f"The security module's answer to {operation} makes no sense.")
