"""What the documents' CBOR may hold. The bytes are written out, so that no encoder smooths them."""

import pytest

from sealed import cbor
from sealed.refusal import DocumentRefused


def read(hexadecimal: str) -> object:
    return cbor.loads(bytes.fromhex(hexadecimal), most_bytes=1024)


@pytest.mark.parametrize(
    ("encoded", "item"),
    [
        ("8301634162634101", [1, "Abc", b"\1"]),
        ("a201020203", {1: 2, 2: 3}),
        ("9f0102ff", [1, 2]),
        ("bf01020203ff", {1: 2, 2: 3}),
        ("5f41014102ff", b"\1\2"),
        ("f6", None),
        ("1818", 24),
        ("1800", 0),
    ],
)
def test_plain_items_are_read_in_every_length_they_may_have(encoded: str, item: object) -> None:
    assert read(encoded) == item


@pytest.mark.parametrize(
    "encoded",
    [
        "a201020103",
        "bf01020103ff",
        "a20102180103",
        "a20102f93c0003",
        "a20102f503",
        "a2616101 7f6161ff02",
        "a100a201020103",
        "8181a201020103",
        "a2a001a002",
    ],
    ids=[
        "equal",
        "in an indefinite map",
        "longer encoding",
        "1 and 1.0",
        "1 and true",
        "in pieces",
        "in a map",
        "in a list",
        "maps",
    ],
)
def test_a_key_that_stands_twice_is_refused_however_it_is_written(encoded: str) -> None:
    with pytest.raises(DocumentRefused, match="Duplicate"):
        read(encoded)


@pytest.mark.parametrize("encoded", ["0102", "8000", "f6f6", "a0ff"])
def test_bytes_that_follow_are_refused(encoded: str) -> None:
    with pytest.raises(DocumentRefused, match="Bytes follow"):
        read(encoded)


@pytest.mark.parametrize("inside", ["40", "80", "00", "60", "8100", "f6", "a0"])
def test_every_tag_is_refused_whatever_it_is_on(inside: str) -> None:
    for tag in [*range(512), 1000, 1040, 55799, 65535, 2**32 - 1, 2**63, 2**64 - 1]:
        tagged = f"db{tag:016x}{inside}"
        for encoded in (tagged, "81" + tagged, "a1f6" + tagged):
            with pytest.raises(DocumentRefused, match="not plain CBOR"):
                read(encoded)


def test_a_reference_to_what_stands_elsewhere_is_refused() -> None:
    with pytest.raises(DocumentRefused, match="not plain CBOR"):
        read("d81c81d81d00")


@pytest.mark.parametrize("major", [0x5B, 0x7B, 0x9B, 0xBB])
@pytest.mark.parametrize("length", [1, 2**16, 2**32, 2**63 - 1, 2**63, 2**64 - 1])
def test_a_length_that_is_not_there_is_refused_at_once(major: int, length: int) -> None:
    with pytest.raises(DocumentRefused, match="not plain CBOR"):
        cbor.loads(bytes([major]) + length.to_bytes(8, "big"), most_bytes=1024)


@pytest.mark.parametrize("nesting", ["81", "9f", "a100", "bf00", "d9d9f7"])
def test_what_is_nested_too_deeply_is_refused(nesting: str) -> None:
    with pytest.raises(DocumentRefused, match="not plain CBOR"):
        cbor.loads(bytes.fromhex(nesting) * 5 + b"\0", most_bytes=1024)
    with pytest.raises(DocumentRefused, match="not plain CBOR"):
        cbor.loads(bytes.fromhex(nesting) * 100_000, most_bytes=1_000_000)


@pytest.mark.parametrize(
    "encoded", ["", "ff", "1c", "61ff", "bf01ff", "5f6161ff", "5f5f4101ffff", "8401", "f818", "fc"]
)
def test_what_is_not_well_formed_is_refused(encoded: str) -> None:
    with pytest.raises(DocumentRefused, match="not plain CBOR"):
        read(encoded)


def test_what_is_too_large_is_refused_unread() -> None:
    assert cbor.loads(b"\x42ab", most_bytes=3) == b"ab"
    with pytest.raises(DocumentRefused, match="larger than 2 bytes"):
        cbor.loads(b"\x42ab", most_bytes=2)
