"""Trains the network: one seed, a fixed number of steps, and a loss curve that is kept beside the weights."""

import csv
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional as F

from demo_model.corpus import conversations, passages
from demo_model.network import Llama
from demo_model.shape import Shape
from demo_model.tokenizer import END_OF_TEXT_ID, chat_tokens

TOKENS_PER_STEP = 4096
REPORT_STEPS = 40
ASKED_WEIGHT = 0.05  # questions are noise to predict, but a model that never tried them splits words badly
PASSAGE_SHARE = 12  # one example in so many is plain text


class Plan(NamedTuple):
    """How long and how hard to train. Every `long_every`th step uses windows of the whole context."""

    steps: int
    seed: int
    peak_rate: float = 3e-3
    warmup_steps: int = 40
    window: int = 512
    long_every: int = 6


class Example(NamedTuple):
    ids: list[int]
    weights: list[float]


class Point(NamedTuple):
    """One point of the loss curve; losses are nats per token that the model must say."""

    step: int
    tokens: int
    seconds: int
    training_loss: float
    heldout_loss: float


def examples(tokenizer: Tokenizer, seed: int) -> Iterator[Example]:
    talks, texts = conversations(seed), passages(seed)
    count = 0
    while True:
        count += 1
        if count % PASSAGE_SHARE == 0:
            ids = [*tokenizer.encode(next(texts)).ids, END_OF_TEXT_ID]
            yield Example(ids, [1.0] * len(ids))
        else:
            ids, said = chat_tokens(tokenizer, next(talks))
            yield Example(ids, [1.0 if own else ASKED_WEIGHT for own in said])


def batches(stream: Iterator[Example], rows: int, window: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Rows of whole examples, each beginning at a beginning, because that is where every request begins."""
    while True:
        ids, weights = [], []
        for _ in range(rows):
            row: list[int] = []
            weight: list[float] = []
            while len(row) <= window:
                example = next(stream)
                row += example.ids
                weight += example.weights
            ids.append(row[: window + 1])
            weights.append(weight[: window + 1])
        yield torch.tensor(ids), torch.tensor(weights)


def loss_of(model: Llama, ids: Tensor, weights: Tensor) -> Tensor:
    logits = model(ids[:, :-1])
    each = F.cross_entropy(logits.float().flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
    weight = weights[:, 1:].flatten()
    return (each * weight).sum() / weight.sum()


def train(tokenizer: Tokenizer, shape: Shape, plan: Plan, curve: Path) -> Llama:
    """The trained network; its loss curve is written to `curve` as it goes."""
    torch.manual_seed(plan.seed)
    model = Llama(shape)
    optimizers = _optimizers(model, plan)
    stream = examples(tokenizer, plan.seed)
    short = batches(stream, TOKENS_PER_STEP // plan.window, plan.window)
    long = batches(stream, TOKENS_PER_STEP // shape.context, shape.context)
    # Another seed makes other conversations; what is measured on them was never trained on as it stands.
    heldout = next(batches(examples(tokenizer, plan.seed + 1), 32, plan.window))
    start = time.monotonic()
    with curve.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(Point._fields)
        for step in range(1, plan.steps + 1):
            ids, weights = next(long if step % plan.long_every == 0 else short)
            for optimizer in optimizers:
                for group in optimizer.param_groups:
                    group["lr"] = group["peak"] * _share_of_peak(step, plan)
            # bfloat16 arithmetic is twice as fast on processors that have it; the weights stay float32.
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss = loss_of(model, ids, weights)
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
            if step % REPORT_STEPS == 0 or step == plan.steps:
                with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
                    unseen = loss_of(model, *heldout)
                seconds = round(time.monotonic() - start)
                point = Point(step, step * TOKENS_PER_STEP, seconds, round(loss.item(), 4), round(unseen.item(), 4))
                writer.writerow(point)
                file.flush()
                print(point, flush=True)
    return model


def _optimizers(model: Llama, plan: Plan) -> list[torch.optim.Optimizer]:
    """Muon for the matrices (it needs about half the steps), AdamW for the embedding and the norms."""
    matrices = [weight for name, weight in model.named_parameters() if weight.ndim == 2 and "embed" not in name]
    others = [weight for name, weight in model.named_parameters() if weight.ndim != 2 or "embed" in name]
    return [
        torch.optim.Muon(
            [{"params": matrices, "peak": plan.peak_rate}], weight_decay=0.05, adjust_lr_fn="match_rms_adamw"
        ),
        torch.optim.AdamW([{"params": others, "peak": plan.peak_rate}], betas=(0.9, 0.95), weight_decay=0.0),
    ]


def _share_of_peak(step: int, plan: Plan) -> float:
    if step < plan.warmup_steps:
        return step / plan.warmup_steps
    done = (step - plan.warmup_steps) / max(1, plan.steps - plan.warmup_steps)
    return 0.02 + 0.98 * (1 + math.cos(math.pi * done)) / 2
