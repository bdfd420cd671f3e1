"""The trained weights in the two forms that servers read: GGUF for llama.cpp, safetensors for vLLM and Hugging Face.

Both hold the same float16 numbers.
"""

import json
from pathlib import Path

import gguf
import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save
from tokenizers import Tokenizer

from demo_model.shape import Shape
from demo_model.tokenizer import (
    CHAT_TEMPLATE,
    END_OF_TEXT,
    END_OF_TEXT_ID,
    SPECIAL,
    TURN_END,
    TURN_END_ID,
)

NAME = "cloister-demo"
Weights = dict[str, NDArray[np.floating]]


def export(weights: Weights, shape: Shape, tokenizer: Tokenizer, folder: Path) -> None:
    """Writes all files that a server needs into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    halves = {name: weight.astype(np.float16) for name, weight in weights.items()}
    _write_gguf(halves, shape, tokenizer, folder / f"{NAME}.gguf")
    (folder / "model.safetensors").write_bytes(save(halves, metadata={"format": "pt"}))
    tokenizer.save(str(folder / "tokenizer.json"))
    for name, content in _settings(shape).items():
        (folder / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _settings(shape: Shape) -> dict[str, object]:
    ends = [TURN_END_ID, END_OF_TEXT_ID]
    return {
        "config.json": {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "vocab_size": shape.vocabulary,
            "hidden_size": shape.hidden,
            "intermediate_size": shape.intermediate,
            "num_hidden_layers": shape.layers,
            "num_attention_heads": shape.heads,
            "num_key_value_heads": shape.kv_heads,
            "head_dim": shape.head,
            "max_position_embeddings": shape.context,
            "rope_theta": shape.rope_theta,
            "rms_norm_eps": shape.norm_epsilon,
            "hidden_act": "silu",
            "attention_bias": False,
            "mlp_bias": False,
            "tie_word_embeddings": True,
            "bos_token_id": END_OF_TEXT_ID,
            "eos_token_id": ends,
            "pad_token_id": END_OF_TEXT_ID,
            "torch_dtype": "float16",
        },
        "generation_config.json": {
            "bos_token_id": END_OF_TEXT_ID,
            "eos_token_id": ends,
            "pad_token_id": END_OF_TEXT_ID,
            "max_new_tokens": 512,
        },
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": END_OF_TEXT,
            "eos_token": TURN_END,
            "pad_token": END_OF_TEXT,
            "add_bos_token": False,
            "add_eos_token": False,
            "clean_up_tokenization_spaces": False,
            "model_max_length": shape.context,
            "chat_template": CHAT_TEMPLATE,
        },
    }


def _write_gguf(weights: Weights, shape: Shape, tokenizer: Tokenizer, path: Path) -> None:
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name(NAME)
    writer.add_description("A tiny model that answers a few questions about Cloister.")
    writer.add_license("apache-2.0")
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.hidden)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.intermediate)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_key_length(shape.head)
    writer.add_value_length(shape.head)
    writer.add_rope_dimension_count(shape.head)
    writer.add_rope_freq_base(shape.rope_theta)
    writer.add_layer_norm_rms_eps(shape.norm_epsilon)
    writer.add_vocab_size(shape.vocabulary)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    _add_tokenizer(writer, tokenizer)
    for name, weight in sorted(weights.items()):
        if name.endswith("q_proj.weight"):
            weight = _interleaved(weight, shape.heads)
        if name.endswith("k_proj.weight"):
            weight = _interleaved(weight, shape.kv_heads)
        # llama.cpp wants the norms as float32; they are the same numbers all the same.
        writer.add_tensor(_gguf_name(name), weight if weight.ndim == 2 else weight.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_tokenizer(writer: gguf.GGUFWriter, tokenizer: Tokenizer) -> None:
    described = json.loads(tokenizer.to_str())["model"]
    by_id = sorted(described["vocab"], key=described["vocab"].__getitem__)
    kinds = [gguf.TokenType.CONTROL if token in SPECIAL else gguf.TokenType.NORMAL for token in by_id]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(by_id)
    writer.add_token_types(kinds)
    writer.add_token_merges([" ".join(pair) for pair in described["merges"]])
    writer.add_bos_token_id(END_OF_TEXT_ID)
    writer.add_eos_token_id(TURN_END_ID)
    writer.add_pad_token_id(END_OF_TEXT_ID)
    writer.add_add_bos_token(False)
    writer.add_chat_template(CHAT_TEMPLATE)


_GGUF_PARTS = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def _gguf_name(name: str) -> str:
    if not name.startswith("model.layers."):
        return {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight"}[name]
    _, _, layer, part = name.removesuffix(".weight").split(".", 3)
    return f"blk.{layer}.{_GGUF_PARTS[part]}.weight"


def _interleaved(weight: NDArray[np.floating], heads: int) -> NDArray[np.floating]:
    """Rows in llama.cpp's order: it rotates neighbours where Hugging Face rotates the two halves of a head."""
    rows, columns = weight.shape
    return weight.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)
