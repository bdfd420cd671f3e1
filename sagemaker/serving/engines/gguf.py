"""Reads what we must know of a GGUF file before llama.cpp opens it: its kind, its context, the size of its cache.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, versions 2 and 3, little-endian.
"""

import struct
from pathlib import Path
from typing import BinaryIO

import msgspec

from serving.engines import BadModel

# value type -> struct code; 8 is a string, 9 an array
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
STRING, ARRAY = 8, 9
MAX_PAIRS = 4096
MAX_STRING = 16 * 2**20
MAX_ARRAY = 4 * 2**20
ENCODERS = ("bert", "nomic-bert", "nomic-bert-moe", "jina-bert-v2", "jina-bert-v3", "neo-bert", "modern-bert")
F16_BYTES = 2


class Array(msgspec.Struct, frozen=True):
    """All we need to know of an array, which may hold a whole vocabulary."""

    length: int


class Header(msgspec.Struct, frozen=True):
    architecture: str
    context: int  # tokens it was trained for; 0 when the file does not say
    vocabulary: int
    width: int  # of the embedding
    pooled: bool  # it says how vectors of tokens become one of the text
    bytes_per_cell: int  # keys and values of one token in all layers, in 16 bits

    @property
    def is_encoder(self) -> bool:
        return self.architecture in ENCODERS


def read(path: Path) -> Header:
    """Raises: BadModel."""
    try:
        with path.open("rb") as file:
            pairs = _pairs(file)
    except OSError as error:
        raise BadModel(f"cannot read {path}: {error.strerror}") from None
    except (struct.error, ValueError, LookupError, OverflowError):
        raise BadModel(f"{path} is not a GGUF model, or is damaged") from None
    kind = pairs.get("general.architecture")
    if not isinstance(kind, str):
        raise BadModel(f"{path} does not name its architecture")

    def number(name: str) -> int:
        value = pairs.get(f"{kind}.{name}", 0)
        return value if isinstance(value, int) else 0

    heads = number("attention.head_count") or 1
    head_size = number("embedding_length") // heads
    keys = number("attention.key_length") or head_size
    values = number("attention.value_length") or head_size
    cell = number("block_count") * (number("attention.head_count_kv") or heads) * (keys + values) * F16_BYTES
    tokens = pairs.get("tokenizer.ggml.tokens")
    return Header(
        architecture=kind,
        context=number("context_length"),
        vocabulary=tokens.length if isinstance(tokens, Array) else 0,
        width=number("embedding_length"),
        pooled=f"{kind}.pooling_type" in pairs,
        bytes_per_cell=0 if kind in ENCODERS else cell,
    )


def _pairs(file: BinaryIO) -> dict[str, object]:
    if file.read(4) != b"GGUF":
        raise ValueError("magic")
    version, _tensors, count = _unpack(file, "IQQ")
    if version not in (2, 3) or not isinstance(count, int) or count > MAX_PAIRS:
        raise ValueError("version or size")
    pairs: dict[str, object] = {}
    for _ in range(count):
        name = _string(file)
        pairs[name] = _value(file, _unpack(file, "I")[0])
    return pairs


def _value(file: BinaryIO, kind: object) -> object:
    if kind == STRING:
        return _string(file)
    if kind == ARRAY:
        inner, length = _unpack(file, "IQ")
        if length > MAX_ARRAY or inner == ARRAY:
            raise ValueError("array")
        if inner == STRING:
            for _ in range(length):
                file.seek(_unpack(file, "Q")[0] % MAX_STRING, 1)
        else:
            file.seek(length * struct.calcsize("<" + SCALARS[inner]), 1)
        return Array(length)
    if kind not in SCALARS:
        raise ValueError("type")
    return _unpack(file, SCALARS[kind])[0]


def _unpack(file: BinaryIO, codes: str) -> tuple[int, ...]:
    layout = struct.Struct("<" + codes)
    return layout.unpack(file.read(layout.size))


def _string(file: BinaryIO) -> str:
    (length,) = _unpack(file, "Q")
    if length > MAX_STRING:
        raise ValueError("string")
    data = file.read(length)
    if len(data) < length:
        raise ValueError("end")
    return data.decode()
