"""The converted embedding model, as llama.cpp serves it."""

import math
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from local.embedding_model import embedding_model
from tests.images.llama_process import llama

# The first numbers of each vector as `transformers` computes them from the package's own weights.
REFERENCE = {
    "A man is playing a guitar.": (0.0217, -0.0049, -0.0096, -0.0634, -0.1675, 0.0047, 0.0806, -0.0241),
    "Café naïve 日本語 😀": (-0.0045, 0.0101, 0.0831, -0.0236, -0.0273, 0.0392, 0.1612, -0.0611),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("minilm")
    embedding_model(out)
    return out


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[httpx.Client]:
    with llama(folder / "minilm.gguf", "embeddings") as client:
        yield client


def embedded(server: httpx.Client, *texts: str) -> list[list[float]]:
    answer = server.post("/v1/embeddings", json={"input": texts}).raise_for_status().json()
    return [one["embedding"] for one in answer["data"]]


def cosine(one: list[float], other: list[float]) -> float:
    dot = sum(a * b for a, b in zip(one, other, strict=True))
    return dot / math.hypot(*one) / math.hypot(*other)


def test_similar_sentences_lie_closer_than_others(server: httpx.Client) -> None:
    guitar, instrument, shares, stocks = embedded(
        server,
        "A man is playing a guitar.",
        "Someone makes music with an instrument.",
        "The stock market fell sharply today.",
        "Share prices dropped.",
    )
    assert cosine(guitar, instrument) > 0.5 > 0.2 > cosine(guitar, shares)
    assert cosine(shares, stocks) > 0.5 > 0.2 > cosine(instrument, stocks)


@pytest.mark.parametrize("text", REFERENCE)
def test_vectors_are_those_of_the_original_model(server: httpx.Client, text: str) -> None:
    [vector] = embedded(server, text)
    assert len(vector) == 384
    assert math.hypot(*vector) == pytest.approx(1, abs=1e-3)
    assert vector[:8] == pytest.approx(REFERENCE[text], abs=1e-3)


def test_it_is_converted_once(folder: Path) -> None:
    before = (folder / "minilm.gguf").stat()
    embedding_model(folder)
    after = (folder / "minilm.gguf").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_half_a_file_is_converted_again(tmp_path: Path) -> None:
    (tmp_path / "minilm.gguf").write_bytes(b"GGUF")
    whole = embedding_model(tmp_path)
    assert whole.stat().st_size > 40_000_000
    assert sorted(path.name for path in tmp_path.iterdir()) == ["minilm.gguf", "origin.json"]
