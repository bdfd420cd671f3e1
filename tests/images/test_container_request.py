"""Reading a request, a model's file and the settings: pure, so by properties."""

import json
import math
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.engines import BadModel, gguf
from serving.refusal import Malformed
from serving.request import Attributes, read, read_attributes
from tests.images.houses import DEMO

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
TAG = st.text("abcdefghijklmnopqrstuvwxyzABCXYZ0123456789-_.", max_size=60)


@given(st.dictionaries(st.text(), JSON, max_size=6), st.booleans())
def test_every_field_reaches_the_engine_as_it_came(fields: dict[str, Any], ascii_only: bool) -> None:
    fields = {name: value for name, value in fields.items() if name not in ("model", "stream") and value is not None}
    call = read(json.dumps(fields, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass"), Attributes())
    assert json.loads(call.body({})) == fields
    assert json.loads(call.body({"cache_prompt": False, "id_slot": None})) == {
        **{name: value for name, value in fields.items() if name != "id_slot"},
        "cache_prompt": False,
    }


@pytest.mark.parametrize("value", ["1e400", "0.1000000000000000055511151231257827", "123456789012345678901234567890"])
def test_a_number_is_not_rounded_on_its_way(value: str) -> None:
    assert value in read(f'{{"x": {value}}}'.encode(), Attributes()).body({}).decode()


def test_a_null_field_is_a_field() -> None:
    assert json.loads(read(b'{"stop": null}', Attributes()).body({"cache_prompt": False})) == {
        "stop": None,
        "cache_prompt": False,
    }


@given(st.binary(max_size=200))
def test_any_bytes_are_a_request_or_malformed(body: bytes) -> None:
    try:
        call = read(body, Attributes())
    except Malformed:
        return
    json.loads(call.body({}))


@given(TAG, st.integers(0, 9), TAG)
def test_attributes_are_read_in_any_order(tenant: str, priority: int, request: str) -> None:
    parts = [f"tenant={tenant}", f"priority={priority}", f"request={request}", "op=completions", "later=x"]
    expected = Attributes(op="completions", tenant=tenant, priority=priority, request=request)
    assert read_attributes(";".join(parts)) == read_attributes("; ".join(reversed(parts))) == expected


@given(st.text(max_size=1100))
def test_any_text_is_attributes_or_malformed(text: str) -> None:
    try:
        found = read_attributes(text)
    except Malformed:
        return
    assert 0 <= found.priority <= 9
    assert len(found.tenant) <= 128


def test_the_demo_models_header_is_read() -> None:
    config = json.loads((DEMO / "config.json").read_text())
    header = gguf.read(DEMO / "cloister-demo.gguf")
    assert (header.architecture, header.is_encoder) == ("llama", False)
    assert header.context == config["max_position_embeddings"]
    assert header.vocabulary == config["vocab_size"]
    cell = config["num_hidden_layers"] * config["num_key_value_heads"] * config["head_dim"] * 2 * 2
    assert header.bytes_per_cell == cell


@given(cut=st.integers(0, 2000), flips=st.lists(st.tuples(st.integers(0, 1999), st.integers(0, 255)), max_size=4))
def test_a_damaged_header_is_a_bad_model_and_never_an_accident(
    tmp_path_factory: pytest.TempPathFactory, cut: int, flips: list[tuple[int, int]]
) -> None:
    with (DEMO / "cloister-demo.gguf").open("rb") as file:
        data = bytearray(file.read(2000))
    for at, value in flips:
        data[at] = value
    damaged = tmp_path_factory.getbasetemp() / "damaged.gguf"
    damaged.write_bytes(data[:cut])
    try:
        header = gguf.read(damaged)
    except BadModel:
        return
    assert math.isfinite(header.bytes_per_cell)


def test_a_file_that_claims_a_giant_costs_nothing(tmp_path: Path) -> None:
    giant = tmp_path / "giant.gguf"
    giant.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 2**60) + b"x")
    with pytest.raises(BadModel):
        gguf.read(giant)
