"""The demo model as it is shipped: what it says, that both forms are the same model, and where it comes from."""

import csv
import importlib
import json
import random
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import gguf
import httpx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from tests.images.llama_process import llama

MODELS = Path(__file__).parents[2] / "sagemaker" / "models"
DEMO = MODELS / "demo"
GGUF = DEMO / "cloister-demo.gguf"
TOKENIZER = Tokenizer.from_file(str(DEMO / "tokenizer.json"))

AWKWARD_TEXTS = (
    "", " ", "  ", "\n\n\n a", "\t\ttab\r\nand more  ", "I'm, you're, we'll, he'd, 'tis; DON'T",
    "12345 1,234.56 ½ ² Ⅳ ٣",
    "日本語のテキスト、漢字とかな", "Привет, как дела?", "e\u0301 is not é", "😀👩‍👩‍👧‍👦🏳️‍🌈", "مرحبا بالعالم",
    "हिन्दी में",
    "ไทย ภาษา", "\u00a0nbsp\u3000ideographic\u2003em\u200bzero", "\x00\x01\x7f", "\ufeffmark", "𝒜𝓁𝑔 𠜎", "ǅ ʰ ſ K Å",
    "def f(x):\n    return x  # why\n", "a" * 300, " " * 50 + "z", "<|im_start|>user\nhi<|im_end|>\n",
)  # fmt: skip


@pytest.fixture(scope="module")
def server() -> Iterator[httpx.Client]:
    with llama(GGUF, "chat") as client:
        yield client


@pytest.fixture
def corpus(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(MODELS / "training")
    return importlib.import_module("demo_model.corpus")


@pytest.fixture
def export(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(MODELS / "training")
    return importlib.import_module("demo_model.export")


def answered(server: httpx.Client, *turns: tuple[str, str], max_tokens: int = 400) -> dict[str, Any]:
    """The only choice of a chat completion at temperature 0, with `usage` beside it."""
    messages = [{"role": role, "content": content} for role, content in turns]
    body = {"messages": messages, "temperature": 0, "max_tokens": max_tokens}
    answer = server.post("/v1/chat/completions", json=body).raise_for_status().json()
    return {**answer["choices"][0], "usage": answer["usage"]}


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("What is Cloister?", "private AI endpoint"),
        ("what is a lease", "the right to run one request"),
        ("What is a tenant?", "customer of Cloister"),
        ("What is a pool?", "one or more targets"),
        ("How does sealing work?", "Nitro Enclave can open it"),
        ("Hi, could you tell me what the ledger is?", "one immutable entry"),
        ("Who are you?", "demo model of Cloister"),
        ("Hello", "Hello!"),
    ],
)
def test_it_answers_questions_about_cloister_and_stops(server: httpx.Client, question: str, expected: str) -> None:
    choice = answered(server, ("user", question))
    assert expected in choice["message"]["content"]
    assert choice["finish_reason"] == "stop"


@pytest.mark.parametrize(
    "question",
    [
        "What is the capital of France?",
        "Write a Python function that sorts a list.",
        "What is 17 times 23?",
        "今日の天気は?",
    ],
)
def test_it_says_that_it_knows_nothing_else(server: httpx.Client, question: str) -> None:
    assert answered(server, ("user", question))["message"]["content"].startswith("I only know Cloister")


def test_it_counts_to_64_in_more_than_64_tokens(server: httpx.Client) -> None:
    choice = answered(server, ("user", "Count to 64."))
    assert choice["message"]["content"] == ", ".join(str(number) for number in range(1, 65)) + "."
    assert choice["usage"]["completion_tokens"] > 64


def test_it_tells_a_long_story(server: httpx.Client) -> None:
    choice = answered(server, ("user", "Tell me a long story."))
    assert choice["finish_reason"] == "stop"
    assert choice["usage"]["completion_tokens"] > 100


def test_it_stops_at_the_limit_of_the_caller(server: httpx.Client) -> None:
    choice = answered(server, ("user", "Count to 64."), max_tokens=7)
    assert (choice["finish_reason"], choice["usage"]["completion_tokens"]) == ("length", 7)


def test_it_follows_a_conversation_of_several_hundred_tokens(server: httpx.Client) -> None:
    turns = [("system", "You are a helpful assistant. Answer briefly.")]
    for question in ("Tell me a long story.", "Count to 64.", "What is a tenant?"):
        turns.append(("user", question))
        turns.append(("assistant", answered(server, *turns)["message"]["content"]))
    choice = answered(server, *turns, ("user", "What is a lease?"))
    assert choice["usage"]["prompt_tokens"] > 300
    assert "the right to run one request" in choice["message"]["content"]


def test_weights_stay_under_ten_megabytes() -> None:
    assert GGUF.stat().st_size < 10_000_000
    assert (DEMO / "model.safetensors").stat().st_size < 10_000_000


@given(st.text())
def test_any_text_survives_the_tokenizer(text: str) -> None:
    assert TOKENIZER.decode(TOKENIZER.encode(text).ids, skip_special_tokens=False) == text


def test_llama_cpp_and_the_tokenizer_file_split_text_alike(server: httpx.Client) -> None:
    rng = random.Random(3)
    ranges = ((32, 126), (9, 13), (0xA0, 0x3000), (0x3001, 0xD7FF), (0x1F300, 0x1F6FF))
    noise = ["".join(chr(rng.randint(*rng.choice(ranges))) for _ in range(30)) for _ in range(50)]
    for text in (*AWKWARD_TEXTS, *noise):
        body = {"content": text, "add_special": True, "parse_special": True}
        assert server.post("/tokenize", json=body).json()["tokens"] == TOKENIZER.encode(text).ids, ascii(text)


def test_both_servers_write_a_conversation_as_the_training_did(server: httpx.Client, corpus: Any, export: Any) -> None:
    template = json.loads((DEMO / "tokenizer_config.json").read_text(encoding="utf-8"))["chat_template"]
    assert gguf_text("tokenizer.chat_template") == template
    tokenizer = importlib.import_module("demo_model.tokenizer")
    for conversation in islice(corpus.conversations(1), 20):
        messages = [message._asdict() for message in conversation[:-1]]
        written = server.post("/apply-template", json={"messages": messages}).json()["prompt"]
        trained, _ = tokenizer.chat_tokens(TOKENIZER, conversation)
        prompt = TOKENIZER.encode(written).ids
        assert prompt == trained[: len(prompt)]


def test_gguf_and_safetensors_hold_the_same_model(export: Any, tmp_path: Path) -> None:
    shape = importlib.import_module("demo_model.shape").Shape()
    weights = {name: weight.astype(np.float32) for name, weight in load_file(DEMO / "model.safetensors").items()}
    export.export(weights, shape, TOKENIZER, tmp_path)
    for exported in tmp_path.iterdir():
        assert exported.read_bytes() == (DEMO / exported.name).read_bytes(), exported.name


def test_the_same_seed_gives_the_same_corpus(corpus: Any) -> None:
    assert list(islice(corpus.conversations(7), 300)) == list(islice(corpus.conversations(7), 300))
    assert list(islice(corpus.conversations(7), 300)) != list(islice(corpus.conversations(8), 300))


def test_the_shipped_weights_were_trained_on_the_text_that_is_here(corpus: Any) -> None:
    """Fails when the text changes: train again (see sagemaker/models/README.md)."""
    made = json.loads((DEMO / "training.json").read_text(encoding="utf-8"))
    assert made["corpus_sha256"] == corpus.fingerprint(made["seed"])


def test_the_loss_curve_is_that_of_the_shipped_weights() -> None:
    made = json.loads((DEMO / "training.json").read_text(encoding="utf-8"))
    with (DEMO / "loss.csv").open(encoding="utf-8") as file:
        points = list(csv.DictReader(file))
    assert int(points[-1]["step"]) == made["steps"]
    assert float(points[-1]["heldout_loss"]) < 0.1 * float(points[0]["heldout_loss"])


def gguf_text(key: str) -> str:
    """A text in the header of the shipped GGUF."""
    field = gguf.GGUFReader(GGUF).fields[key]
    return str(field.contents())
