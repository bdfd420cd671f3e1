"""`python -m demo_model --out ../demo`: text to tokenizer to network to files, from one seed."""

import argparse
import json
import time
from pathlib import Path

import torch

from demo_model.corpus import fingerprint
from demo_model.export import export
from demo_model.network import Llama
from demo_model.shape import Shape
from demo_model.tokenizer import trained
from demo_model.training import TOKENS_PER_STEP, Plan, train


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m demo_model", description="Train the demo model and export it.")
    parser.add_argument("--out", type=Path, required=True, help="folder for weights, tokenizer and loss curve")
    parser.add_argument(
        "--seed", type=int, default=20, help="of text, tokenizer and network (default: the shipped one)"
    )
    parser.add_argument("--steps", type=int, default=1200, help=f"of {TOKENS_PER_STEP} tokens each")
    parser.add_argument("--threads", type=int, default=1, help="of the processor; more gain little")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    asked.out.mkdir(parents=True, exist_ok=True)
    shape = Shape()
    start = time.monotonic()
    tokenizer = trained(asked.seed, shape.vocabulary)
    model = train(tokenizer, shape, Plan(asked.steps, asked.seed), asked.out / "loss.csv")
    weights = {name: weight.detach().float().numpy() for name, weight in model.named_parameters()}
    export(weights, shape, tokenizer, asked.out)
    made = {
        "seed": asked.seed,
        "steps": asked.steps,
        "tokens": asked.steps * TOKENS_PER_STEP,
        "parameters": _size(model),
        "corpus_sha256": fingerprint(asked.seed),
        "torch": torch.__version__,
        "threads": asked.threads,
        "seconds": round(time.monotonic() - start),
    }
    (asked.out / "training.json").write_text(json.dumps(made, indent=2) + "\n", encoding="utf-8")


def _size(model: Llama) -> int:
    return sum(weight.numel() for weight in model.parameters())


if __name__ == "__main__":
    main()
