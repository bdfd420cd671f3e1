"""How the demo model is made: text, tokenizer, network, training, export. Run it with `python -m demo_model`.

| module | what it holds |
|---|---|
| `facts`, `chatter` | what the model may know and say (the words are in the `.toml` files beside them) |
| `corpus` | endless conversations drawn from them, from one seed |
| `tokenizer` | byte-level BPE and the chat template |
| `shape`, `network` | a Llama, in plain torch |
| `training` | one seed, one loss curve |
| `export` | the same weights as GGUF (llama.cpp) and safetensors (vLLM, Hugging Face) |
"""
