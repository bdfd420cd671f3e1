"""`python -m demo_model --out ../demo`: text to tokenizer to network to files, from one seed."""

import argparse
from pathlib import Path

import torch
from demo_model.export import export, weights_of
from demo_model.network import Shape
from demo_model.tokenizer import trained
from demo_model.training import Plan, train


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m demo_model", description="Train the demo model and export it.")
    parser.add_argument("--out", type=Path, required=True, help="folder for the weights, the tokenizer and the loss curve")
    parser.add_argument("--seed", type=int, default=20, help="of text, tokenizer and network (default: that of the shipped files)")
    parser.add_argument("--steps", type=int, default=700, help="of 4096 tokens each")
    parser.add_argument("--threads", type=int, default=2, help="of the processor")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    asked.out.mkdir(parents=True, exist_ok=True)
    shape = Shape()
    tokenizer = trained(asked.seed, shape.vocabulary)
    model = train(tokenizer, shape, Plan(asked.steps, asked.seed), asked.out / "loss.csv")
    export(weights_of(model), shape, tokenizer, asked.out)


if __name__ == "__main__":
    main()
