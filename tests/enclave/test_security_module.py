"""`/dev/nsm`, played by a driver that reads and writes the program's memory as the kernel's does."""

import ctypes
import errno
import struct
from typing import Any

import cbor2
import pytest

from enclave.security_module import RESPONSE_MOST_BYTES, ModuleFailed, NitroSecurityModule

NSM_IOCTL_RAW = 0xC0200A00  # <linux/nsm.h>: _IOWR(0x0A, 0x0, struct nsm_raw)


class Driver:
    """Answers each request with `answer`, through the addresses that the message names."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer if isinstance(answer, bytes) else cbor2.dumps(answer)
        self.asked: list[Any] = []

    def ioctl(self, descriptor: int, request: int, message: bytearray) -> int:
        assert (descriptor, request, len(message)) == (7, NSM_IOCTL_RAW, 32)
        asked_at, asked_bytes, answer_at, room = struct.unpack("<QQQQ", message)
        assert room == RESPONSE_MOST_BYTES
        self.asked.append(cbor2.loads(ctypes.string_at(asked_at, asked_bytes)))
        ctypes.memmove(answer_at, self.answer, len(self.answer))
        struct.pack_into("<Q", message, 24, len(self.answer))
        return 0

    def module(self) -> NitroSecurityModule:
        return NitroSecurityModule(7, self.ioctl)


def test_a_document_is_asked_for_as_the_module_expects_it() -> None:
    driver = Driver({"Attestation": {"document": b"signed"}})
    assert driver.module().attest(nonce=b"n", user_data=b"u", public_key=b"p") == b"signed"
    assert driver.module().attest(nonce=b"n") == b"signed"
    assert driver.asked == [
        {"Attestation": {"user_data": b"u", "nonce": b"n", "public_key": b"p"}},
        {"Attestation": {"user_data": None, "nonce": b"n", "public_key": None}},
    ]


def test_entropy_is_asked_for_by_its_name_alone() -> None:
    driver = Driver({"GetRandom": {"random": b"r" * 256}})
    assert driver.module().random() == b"r" * 256
    assert driver.asked == ["GetRandom"]


@pytest.mark.parametrize(
    "answer",
    [
        {"Error": "InvalidArgument"},
        {"GetRandom": {"random": b"r"}},
        {"Attestation": {}},
        {"Attestation": {"document": "text"}},
        {"Attestation": b"document"},
        "Attestation",
        b"",
        b"\xff",
    ],
)
def test_an_answer_that_is_no_document_is_a_failure(answer: Any) -> None:
    with pytest.raises(ModuleFailed):
        Driver(answer).module().attest(nonce=b"n")


def test_the_modules_own_word_for_an_error_is_told() -> None:
    with pytest.raises(ModuleFailed, match="InputTooLarge"):
        Driver({"Error": "InputTooLarge"}).module().random()


def test_more_than_the_driver_takes_is_not_sent() -> None:
    driver = Driver({"Attestation": {"document": b"signed"}})
    with pytest.raises(ModuleFailed, match="too large"):
        driver.module().attest(user_data=bytes(4_096))
    assert not driver.asked


def test_a_driver_that_fails_is_a_failure() -> None:
    def fails(*_: Any) -> int:
        raise OSError(errno.EMSGSIZE, "Message too long")

    with pytest.raises(ModuleFailed, match="Message too long"):
        NitroSecurityModule(7, fails).random()
